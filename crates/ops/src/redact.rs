//! Redacts plaintext of secrets in streamed output, also where it is split over several writes.
//!
//! Redacted are: the whole plaintext, however short; the plaintext without surrounding white space;
//! and each line of a plaintext with several lines, if the line has at least [`MIN_LINE_BYTES`]
//! bytes without surrounding white space. Shorter lines, such as the braces of JSON, are not secret
//! and occur in every output.

use std::sync::Arc;

use crate::utf8::whole_characters;

/// The replacement of a secret.
pub const MASK: &[u8] = b"***";
/// Shorter lines of a plaintext are not redacted on their own.
pub const MIN_LINE_BYTES: usize = 3;

/// The secrets to redact, shared by all streams of a process.
#[derive(Clone, Default)]
pub struct Secrets(Arc<PatternTable>);

#[derive(Default)]
struct PatternTable {
    patterns: Vec<Vec<u8>>,
    /// By first byte: indices into `patterns`, longest first.
    first: Vec<Vec<usize>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.patterns.len())
    }
}

impl Secrets {
    /// Compiles `plaintexts` for redaction.
    pub fn new<'a>(plaintexts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for plaintext in plaintexts {
            let trimmed = plaintext.trim_ascii();
            if trimmed.is_empty() {
                continue;
            }
            patterns.extend([plaintext.to_vec(), trimmed.to_vec()]);
            let lines = trimmed.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
            patterns.extend(lines.filter(|line| line.len() >= MIN_LINE_BYTES).map(<[u8]>::to_vec));
        }
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        let mut first = vec![Vec::new(); 256];
        for (index, pattern) in patterns.iter().enumerate() {
            first[usize::from(pattern[0])].push(index);
        }
        Self(Arc::new(PatternTable { patterns, first }))
    }

    /// Whether there is nothing to redact.
    pub fn is_empty(&self) -> bool {
        self.0.patterns.is_empty()
    }

    /// A redactor for one stream.
    pub fn redactor(&self) -> Redactor {
        Redactor { secrets: self.clone(), held: Vec::new() }
    }

    /// Redacts the secrets in `text`.
    pub fn redact(&self, text: &str) -> String {
        let mut redactor = self.redactor();
        let mut out = redactor.push(text.as_bytes());
        out.extend(redactor.finish());
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Redacts one stream. A possible start of a secret is held back until more bytes decide.
#[derive(Debug)]
pub struct Redactor {
    secrets: Secrets,
    held: Vec<u8>,
}

/// Redacts one stream of text, whose secrets may change from piece to piece.
#[derive(Debug, Default)]
pub struct TextRedactor {
    held: Vec<u8>,
}

impl TextRedactor {
    /// Takes the next piece and returns the text that is redacted by now.
    pub fn push(&mut self, secrets: &Secrets, piece: &str) -> String {
        self.held.extend_from_slice(piece.as_bytes());
        self.drain(secrets, false)
    }

    /// Ends the stream and returns the rest.
    pub fn finish(mut self, secrets: &Secrets) -> String {
        self.drain(secrets, true)
    }

    /// Whether nothing is held back.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    fn drain(&mut self, secrets: &Secrets, over: bool) -> String {
        let mut redactor = Redactor { secrets: secrets.clone(), held: std::mem::take(&mut self.held) };
        let mut clean = redactor.drain(over);
        if !over {
            // A secret that is not text may begin within a character.
            self.held = clean.split_off(whole_characters(&clean));
            self.held.append(&mut redactor.held);
        }
        String::from_utf8(clean).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }
}

/// The result of matching at one position.
enum PatternMatch {
    Nothing,
    Secret(usize),
    Undecided,
}

impl Redactor {
    /// Takes the next bytes and returns those that are redacted by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.secrets.0.patterns.is_empty() {
            return piece.to_vec();
        }
        self.held.extend_from_slice(piece);
        self.drain(false)
    }

    /// Ends the stream and returns the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.drain(true)
    }

    fn drain(&mut self, over: bool) -> Vec<u8> {
        let mut clean = Vec::with_capacity(self.held.len());
        let mut at = 0;
        while at < self.held.len() {
            match self.secrets.0.look(&self.held[at..], over) {
                PatternMatch::Nothing => {
                    clean.push(self.held[at]);
                    at += 1;
                }
                PatternMatch::Secret(length) => {
                    clean.extend_from_slice(MASK);
                    at += length;
                }
                PatternMatch::Undecided => break,
            }
        }
        self.held.drain(..at);
        clean
    }
}

impl PatternTable {
    /// Matches the longest secret at the start of `rest`, unless a longer one could still follow.
    fn look(&self, rest: &[u8], over: bool) -> PatternMatch {
        let Some(candidates) = rest.first().and_then(|&byte| self.first.get(usize::from(byte))) else {
            return PatternMatch::Nothing;
        };
        for pattern in candidates.iter().map(|&index| &self.patterns[index]) {
            if rest.starts_with(pattern) {
                return PatternMatch::Secret(pattern.len());
            }
            if !over && pattern.starts_with(rest) {
                return PatternMatch::Undecided;
            }
        }
        PatternMatch::Nothing
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redact(secrets: &[&str], pieces: &[&str]) -> String {
        let mut redactor = Secrets::new(secrets.iter().map(|s| s.as_bytes())).redactor();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| redactor.push(piece.as_bytes())).collect();
        out.extend(redactor.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_redacted() {
        let check = |secrets: &[&str], pieces: &[&str], want: &str| assert_eq!(redact(secrets, pieces), want);
        check(&[], &["nothing"], "nothing");
        check(&["token"], &["a tok", "en b"], "a *** b");
        check(&["token"], &["tok"], "tok");
        check(&["token\n"], &["x token y"], "x *** y");
        check(&["  token\n"], &["x  token\ny"], "x***y");
        check(&["abc", "abcdef"], &["abc", "def abcd"], "*** ***d");
        check(&["aab"], &["aaab"], "a***");
        check(&["42", "\n"], &["pin=4", "2\n"], "pin=***\n");
        check(&["7"], &["6 7 8"], "6 *** 8");
        check(&["alpha\nbravo\nfoo\n"], &["foo\n", "alp", "ha"], "***\n***");
        check(&["first line\nsecond line"], &["said: second line!"], "said: ***!");
        check(&["first line\nsecond line"], &["first line\nsec", "ond line"], "***");
        check(&["{\n  \"password\": \"hunter22\"\n}"], &["} {", "\"password\": \"hunter22\""], "} {***");
    }

    #[test]
    fn what_cannot_be_a_secret_is_not_held_back() {
        let mut redactor = Secrets::new([b"token".as_slice()]).redactor();
        assert_eq!(redactor.push(b"line\n"), b"line\n");
        assert_eq!(redactor.push(b"a to"), b"a ");
        assert_eq!(redactor.push(b"p"), b"top");
    }

    #[test]
    fn secrets_may_be_added_within_a_text() {
        let (none, one) = (Secrets::default(), Secrets::new([b"token".as_slice()]));
        let two = Secrets::new([b"token".as_slice(), b"tower\xc3\x28"]);
        let mut text = TextRedactor::default();
        assert_eq!(text.push(&none, "a token to"), "a token to");
        assert_eq!(text.push(&one, "ken tok"), "ken ");
        assert!(!text.is_idle());
        assert_eq!(text.push(&two, "en to"), "*** ");
        assert_eq!(text.push(&two, "wn"), "town");
        assert!(text.is_idle());
        assert_eq!(text.push(&one, "é tok"), "é ");
        assert_eq!(text.push(&none, "é"), "toké");
        assert_eq!(text.push(&one, "to"), "");
        assert_eq!(text.finish(&one), "to");
        let within = Secrets::new([b"\xa9x".as_slice()]);
        let mut text = TextRedactor::default();
        assert_eq!(text.push(&within, "é"), "");
        assert_eq!(text.push(&within, "y"), "éy");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            text in "[abc \n]{0,60}",
            secrets in proptest::collection::vec("[abc\n ]{3,8}", 1..4),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let all: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let whole = redact(&all, &[&text]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            prop_assert_eq!(&whole, &redact(&all, &pieces));
            for secret in &secrets {
                let trimmed = secret.trim_ascii();
                prop_assert!(trimmed.is_empty() || !whole.contains(trimmed), "{:?} in {:?}", trimmed, whole);
            }
        }
    }
}
