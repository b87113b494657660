//! Expansion of `$NAME` and `${NAME}` with the environment of a container.

use rondel_fault::{Fault, Result};
use rondel_model::Container;

/// The longest result of an expansion, in bytes. Variables that are built from one another could
/// double with every step.
const MAX_EXPANDED: usize = 16 << 20;

/// Replaces every `$NAME` and `${NAME}` in `text` by the container's variable. An unset variable
/// expands to nothing. A `$` without a name stays.
///
/// # Errors
/// When `text` names a variable that is volatile or whose value is a secret, or becomes longer than
/// [`MAX_EXPANDED`].
pub(crate) fn expand(container: &Container, text: &str) -> Result<String> {
    expand_with(text, MAX_EXPANDED, |name| {
        if container.secret_env.get(name).is_some() {
            // Clients match on this text; see behaviour ARG-011.
            return Err(Fault::user(format!("expand cannot be used with secret env variable \"{name}\"")));
        }
        if container.volatile_env.get(name).is_some() {
            // The value is in no key, so it must not become part of a path or of arguments.
            return Err(Fault::user(format!("expand cannot be used with volatile env variable \"{name}\"")));
        }
        Ok(container.variable(name).unwrap_or_default().to_owned())
    })
}

fn expand_with(text: &str, max: usize, mut value: impl FnMut(&str) -> Result<String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let push = |out: &mut String, text: &str| match out.len() + text.len() > max {
        true => Err(Fault::user(format!("the expanded text is longer than {max} bytes"))),
        false => {
            out.push_str(text);
            Ok(())
        }
    };
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(braced) = after.strip_prefix('{') {
            let Some(end) = braced.find('}') else {
                rest = braced;
                continue;
            };
            if end > 0 {
                push(&mut out, &value(&braced[..end])?)?;
            }
            rest = &braced[end + 1..];
            continue;
        }
        match name_length(after) {
            0 => out.push('$'),
            length => push(&mut out, &value(&after[..length])?)?,
        }
        rest = &after[name_length(after)..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The length of the name at the start of `text`. The special parameters of a shell are names of
/// one character.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9') => 1,
        _ => bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count(),
    }
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;
    use rondel_model::table::entries;
    use rondel_model::{Platform, SecretRef};

    use super::*;

    fn container() -> Container {
        let mut container = Container::scratch(Platform::native())
            .configure(|c| c.env = Some(entries::table(["A=foo", "PATH=/bin", "EMPTY="])));
        let secret =
            SecretRef { key: Digest::of_bytes(b"x"), name: "s".into(), uri: "".into(), from_nested_client: false };
        container.secret_env.set("TOKEN", secret);
        container.volatile_env.set("RUN_ID", "7".into());
        container
    }

    #[test]
    fn names_are_replaced() {
        let check = |text: &str, want: &str| assert_eq!(expand(&container(), text).expect("expands"), want, "{text}");
        check("${A}/bin:$PATH", "foo/bin:/bin");
        check("$UNKNOWN-$EMPTY.", "-.");
        check("100$ and $", "100$ and $");
        check("$A_B ${A}_B", " foo_B");
        check("${} ${A", " A");
        check("ünï$A", "ünïfoo");
        check("plain", "plain");
    }

    #[test]
    fn the_length_is_bounded() {
        let twice = |max| expand_with("$A$A", max, |_| Ok("12345".into())).map_err(|fault| fault.to_string());
        assert_eq!(twice(10), Ok("1234512345".into()));
        assert_eq!(twice(9), Err("the expanded text is longer than 9 bytes".into()));
    }

    #[test]
    fn volatile_variables_are_refused() {
        let error = expand(&container(), "x/$RUN_ID").expect_err("is refused");
        assert_eq!(error.to_string(), "expand cannot be used with volatile env variable \"RUN_ID\"");
    }

    #[test]
    fn secrets_are_refused() {
        let error = expand(&container(), "x ${TOKEN}").expect_err("is refused");
        assert_eq!(error.to_string(), "expand cannot be used with secret env variable \"TOKEN\"");
    }
}
