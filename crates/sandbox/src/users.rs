//! Users of a container: looks up a user in `/etc/passwd` and `/etc/group` of the container.

use rondel_fault::{Fault, Result};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The ids of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user's number.
    pub(crate) user: u32,
    /// The primary group's number.
    pub(crate) group: u32,
    /// Numbers of the supplementary groups. The primary group is the first of them: a program that
    /// sets another primary group would otherwise leave it, and so escape what a file forbids to
    /// that group.
    pub(crate) groups: Vec<u32>,
    /// The home directory.
    pub(crate) home: String,
}

struct Account<'a> {
    name: &'a str,
    user: u32,
    group: u32,
    home: &'a str,
}

/// Looks up `written` (`name`, `name:group`, `uid`, `uid:gid`, or empty for root) in the content of
/// `/etc/passwd` and `/etc/group`.
///
/// # Errors
/// When a name is not in the file, or a number is no valid id.
pub(crate) fn find(written: &str, passwd: &str, group: &str) -> Result<Identity> {
    let (user_text, group_text) = match written.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (written, None),
    };
    let user_text = if user_text.is_empty() { "0" } else { user_text };
    let account = match number(user_text) {
        // A name may consist of digits. The name takes precedence.
        Some(user) => accounts(passwd)
            .find(|account| account.name == user_text)
            .or_else(|| accounts(passwd).find(|account| account.user == user)),
        None => accounts(passwd).find(|account| account.name == user_text),
    };
    let user = match (&account, number(user_text)) {
        (Some(account), _) => account.user,
        (None, Some(user)) => user,
        (None, None) => return Err(unknown("user", user_text, PASSWD, written)),
    };
    let (primary, further) = match group_text.filter(|text| !text.is_empty()) {
        Some(text) => (find_group(text, group, written)?, Vec::new()),
        None => {
            let primary = account.as_ref().map_or(0, |account| account.group);
            (primary, account.as_ref().map_or_else(Vec::new, |account| memberships(group, account.name, primary)))
        }
    };
    let home = account.as_ref().map(|account| account.home).filter(|home| !home.is_empty());
    let home = home.unwrap_or(if user == 0 { "/root" } else { "/" }).to_owned();
    let groups = [vec![primary], further].concat();
    Ok(Identity { user, group: primary, groups, home })
}

fn find_group(text: &str, group: &str, written: &str) -> Result<u32> {
    let by_name = groups(group).find(|(name, ..)| *name == text).map(|(_, number, _)| number);
    by_name.or_else(|| number(text)).ok_or_else(|| unknown("group", text, GROUP, written))
}

fn unknown(what: &str, name: &str, file: &str, written: &str) -> Fault {
    let fault = Fault::user(format!("unable to find {what} `{name}`: it is not in `{file}` of the container"));
    if name == written { fault } else { fault.context(format!("cannot run as `{written}`")) }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The greatest number means "unchanged" to the kernel.
    if digits { text.parse().ok().filter(|number| *number != u32::MAX) } else { None }
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, user, group) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Account { name, user: number(user)?, group: number(group)?, home: fields.nth(1).unwrap_or("") })
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, number(id)?, fields.next().unwrap_or("")))
    })
}

fn memberships(group: &str, name: &str, primary: u32) -> Vec<u32> {
    let mut found: Vec<u32> = groups(group)
        .filter(|(_, id, members)| *id != primary && members.split(',').any(|member| member.trim() == name))
        .map(|(_, id, _)| id)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\n7:x:1007:7::/seven:\nnoise\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlog:x:4:web,root\nmail:x:8:web\n";

    #[test]
    fn users_are_found_in_every_form() {
        let cases: &[(&str, u32, u32, &[u32], &str)] = &[
            ("", 0, 0, &[0, 4], "/root"),
            ("root", 0, 0, &[0, 4], "/root"),
            ("web", 33, 34, &[34, 4, 8], "/var/www"),
            ("33", 33, 34, &[34, 4, 8], "/var/www"),
            ("web:mail", 33, 8, &[8], "/var/www"),
            ("web:", 33, 34, &[34, 4, 8], "/var/www"),
            (":mail", 0, 8, &[8], "/root"),
            ("7", 1007, 7, &[7], "/seven"),
            ("1234", 1234, 0, &[0], "/"),
            ("1234:5678", 1234, 5678, &[5678], "/"),
        ];
        for (written, user, group, groups, home) in cases {
            let expected = Identity { user: *user, group: *group, groups: groups.to_vec(), home: (*home).into() };
            assert_eq!(find(written, PASSWD, GROUP).ok(), Some(expected), "`{written}`");
        }
        let bare = find("0", "", "").ok();
        assert_eq!(bare, Some(Identity { user: 0, group: 0, groups: vec![0], home: "/root".into() }));
    }

    #[test]
    fn the_unknown_are_named_with_their_file() {
        let cases = [
            ("nobody", "unable to find user `nobody`: it is not in `/etc/passwd` of the container"),
            (
                "web:staff",
                "cannot run as `web:staff`: unable to find group `staff`: it is not in `/etc/group` of the container",
            ),
            ("4294967295", "unable to find user `4294967295`: it is not in `/etc/passwd` of the container"),
            ("-1", "unable to find user `-1`: it is not in `/etc/passwd` of the container"),
        ];
        for (written, message) in cases {
            assert_eq!(find(written, PASSWD, GROUP).map_err(|fault| fault.to_string()), Err(message.to_owned()));
        }
    }
}
