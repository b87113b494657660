//! Flags of instructions: `--name=value` before the first other word.

/// The flags of an instruction that were not read yet.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(String, Option<String>)>);

impl Flags {
    /// Takes the last value of `name`.
    pub(crate) fn value(&mut self, name: &str) -> Option<String> {
        self.values(name).pop()
    }

    /// Takes every value of `name`.
    pub(crate) fn values(&mut self, name: &str) -> Vec<String> {
        let taken: Vec<_> = self.0.extract_if(.., |(known, _)| known == name).collect();
        taken.into_iter().map(|(_, value)| value.unwrap_or_default()).collect()
    }

    /// Takes `name`, which stands alone or is true or false.
    pub(crate) fn truth(&mut self, name: &str) -> Result<Option<bool>, String> {
        let last = self.0.extract_if(.., |(known, _)| known == name).last();
        match last.map(|(_, value)| value.map(|value| value.to_ascii_lowercase())) {
            None => Ok(None),
            Some(None) => Ok(Some(true)),
            Some(Some(value)) => match &*value {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                other => Err(format!("`--{name}` is true or false, not `{other}`")),
            },
        }
    }

    /// A flag that was not read.
    pub(crate) fn rest(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| &**name)
    }
}

/// The flags at the start of `text`, and the rest. Quotes in values are removed.
pub(crate) fn take(text: &str, escape: char) -> (Flags, String) {
    let mut flags = Flags::default();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, after) = word(rest, escape);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        let flag = &word[2..];
        flags.0.push(match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        });
    }
    (flags, rest.to_owned())
}

/// The first word without quotes and escapes, and what follows it.
fn word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, &text[at..]),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        let (mut flags, rest) = take("--from=a  --exclude=x --exclude='y z' --link --parents=false b --c", '\\');
        assert_eq!(flags.value("from").as_deref(), Some("a"));
        assert_eq!(flags.values("exclude"), ["x", "y z"]);
        assert_eq!(
            (flags.truth("link"), flags.truth("parents"), flags.truth("x")),
            (Ok(Some(true)), Ok(Some(false)), Ok(None))
        );
        assert_eq!((flags.rest(), &*rest), (None, "b --c"));
        let (flags, rest) = take("--odd -- --x", '\\');
        assert_eq!((flags.rest(), &*rest), (Some("odd"), "--x"));
    }
}
