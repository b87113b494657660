//! Finds the user name and password for a server in the text of a `~/.netrc` file. The caller reads
//! the file, on the client's machine.

/// The user name and password for the server `host`, which may have a port: those of the first
/// entry with its name, with or without the port, or of a `default` entry. An entry without a
/// password means that there are no credentials.
pub(crate) fn find(text: &str, host: &str) -> Option<(String, String)> {
    let alone = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let entry = entries(text).into_iter().find(|entry| match &entry.machine {
        Some(machine) => machine == host || machine == alone,
        None => true,
    })?;
    (!entry.password.is_empty()).then_some((entry.login, entry.password))
}

/// The entry of one server, or the default entry.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    machine: Option<String>,
    login: String,
    password: String,
}

fn entries(text: &str) -> Vec<Entry> {
    let mut words = Words { rest: text };
    let mut found: Vec<Entry> = Vec::new();
    while let Some(word) = words.next_word() {
        match &*word {
            "machine" => match words.next_word() {
                Some(machine) => found.push(Entry { machine: Some(machine), ..Entry::default() }),
                None => break,
            },
            "default" => found.push(Entry::default()),
            "login" | "password" => {
                let (Some(value), Some(entry)) = (words.next_word(), found.last_mut()) else { continue };
                let field = if word == "login" { &mut entry.login } else { &mut entry.password };
                *field = value;
            }
            "macdef" => words.skip_macro(),
            _ => {}
        }
    }
    found
}

struct Words<'t> {
    rest: &'t str,
}

impl Words<'_> {
    /// The next word, or quoted text. `None` at the end, and at a quote that is never closed.
    fn next_word(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return (!word.is_empty()).then(|| word.to_owned());
        };
        let mut word = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Some(word);
                }
                '\\' => word.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                c => word.push(c),
            }
        }
        self.rest = "";
        None
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.find("\n\n").map_or("", |end| &self.rest[end..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        let check = |text: &str, want: &[(Option<&str>, &str, &str)]| {
            let entry = |(machine, login, password): &(Option<&str>, &str, &str)| Entry {
                machine: machine.map(ToOwned::to_owned),
                login: (*login).to_owned(),
                password: (*password).to_owned(),
            };
            assert_eq!(entries(text), want.iter().map(entry).collect::<Vec<_>>(), "{text}");
        };
        check("", &[]);
        check("machine h login me password pw", &[(Some("h"), "me", "pw")]);
        check(
            "machine a login x password 1\nmachine b\n\tlogin y\n  password 2\n",
            &[(Some("a"), "x", "1"), (Some("b"), "y", "2")],
        );
        check("default login me password pw", &[(None, "me", "pw")]);
        check(r#"machine "h" login "me too" password "a \"b\" \\ c""#, &[(Some("h"), "me too", r#"a "b" \ c"#)]);
        check("machine h password pw account x login me", &[(Some("h"), "me", "pw")]);
        check(
            "machine h login x password 1\nmacdef init\nmachine w login y password 2\n\nmachine r login z password 3",
            &[(Some("h"), "x", "1"), (Some("r"), "z", "3")],
        );
        check("machine h login me password \"never closed", &[(Some("h"), "me", "")]);
        check("login guest machine", &[]);
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let check = |text: &str, host: &str, want: Option<&str>| {
            assert_eq!(find(text, host).map(|(_, password)| password).as_deref(), want, "{text} {host}");
        };
        let file = "machine a:81 login x password 1 machine a login x password 2 default login x password 3";
        check(file, "a:81", Some("1"));
        check(file, "a", Some("2"));
        check(file, "a:82", Some("2"));
        check(file, "b", Some("3"));
        check("default login x password 1 machine a login x password 2", "a", Some("1"));
        check("machine a login x machine a login x password 2", "a", None);
        check("machine a login x password 1", "b", None);
        check("machine ::1 login x password 1", "[::1]", None);
    }
}
