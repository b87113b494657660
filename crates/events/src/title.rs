//! Titles of spans: one line for people, bounded in length, without whole digests.

/// The most characters in the title of a span, or in the name of what it waits for.
pub const MAX_TITLE_CHARS: usize = 100;

/// A run of at least this many hexadecimal digits is a digest. The shortest is SHA-1.
const DIGEST_DIGITS: usize = 40;

/// How many digits of a digest are shown.
const SHOWN_DIGITS: usize = 12;

/// `text` as a title: white space and control characters become single spaces, digests are
/// shortened to their first digits, and what exceeds [`MAX_TITLE_CHARS`] is cut off.
pub(crate) fn title(text: &str) -> String {
    let mut title = String::with_capacity(text.len().min(4 * MAX_TITLE_CHARS));
    let (mut chars, mut digits) = (0, 0);
    for c in text.chars() {
        // A run of digits is shortened when it turns out to be a digest.
        if c.is_ascii_hexdigit() {
            digits += 1;
            if digits == DIGEST_DIGITS {
                let shown = title.len() + SHOWN_DIGITS + 1 - DIGEST_DIGITS;
                title.truncate(shown);
                chars -= DIGEST_DIGITS - 1 - SHOWN_DIGITS;
            }
            if digits >= DIGEST_DIGITS {
                continue;
            }
        } else {
            digits = 0;
        }
        let blank = c.is_whitespace() || c.is_control();
        if blank && (title.is_empty() || title.ends_with(' ')) {
            continue;
        }
        // One character more is held, so that a title of exactly the limit is not cut.
        if chars > MAX_TITLE_CHARS + DIGEST_DIGITS {
            break;
        }
        title.push(if blank { ' ' } else { c });
        chars += 1;
    }
    title.truncate(title.trim_end().len());
    if title.chars().count() > MAX_TITLE_CHARS {
        title = title.chars().take(MAX_TITLE_CHARS - 1).chain(['…']).collect();
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_short_lines() {
        let check = |text: &str, want: &str| assert_eq!(title(text), want);
        check("exec make", "exec make");
        check(" exec\tsh -c\n  'a'\u{1b}[31m ", "exec sh -c 'a' [31m");
        check("pull a@sha256:", "pull a@sha256:");
        let digest = "0123456789abcdef".repeat(4);
        check(&format!("pull a@sha256:{digest} now"), "pull a@sha256:0123456789ab now");
        check(&format!("{}/{}", &digest[..40], &digest[..39]), &format!("0123456789ab/{}", &digest[..39]));
        check(&digest.repeat(9), "0123456789ab");
        check(&"x".repeat(100), &"x".repeat(100));
        check(&"語".repeat(101), &format!("{}…", "語".repeat(99)));
        check(&format!("{} {digest}", "x".repeat(80)), &format!("{} 0123456789ab", "x".repeat(80)));
        check(&"x y ".repeat(1000), &format!("{}x y…", "x y ".repeat(24)));
    }
}
