//! Colours of text that is no progress.

use crate::progress_mode::ErrorStream;

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether text is painted.
    pub(crate) colour: bool,
}

impl Style {
    /// The style of standard error.
    pub(crate) fn stderr() -> Self {
        Self { colour: ErrorStream::new().color }
    }

    /// What failed.
    pub(crate) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A location.
    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// What is named or advised.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What is there for orientation only.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting() {
        assert_eq!(Style { colour: true }.red("x"), "\x1b[1;31mx\x1b[0m");
        assert_eq!(Style { colour: true }.dim(""), "");
        assert_eq!(Style { colour: false }.bold("x"), "x");
    }
}
