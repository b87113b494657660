//! How a run ended.

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The command has its result.
    Done,
    /// The command failed, or was killed.
    Aborted,
    /// The user ended the command by a signal, such as that of Ctrl-C.
    Interrupted,
}

impl Ending {
    /// The name in recordings and in events as JSON.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Aborted => "aborted",
            Ending::Interrupted => "interrupted",
        }
    }

    /// The ending with this name. Names that are not known are those of a run without a result.
    pub fn from_name(name: &str) -> Self {
        [Ending::Done, Ending::Interrupted].into_iter().find(|ending| ending.name() == name).unwrap_or(Ending::Aborted)
    }

    /// The word for steps that did not come to their end.
    pub(crate) fn cancelled(self) -> &'static str {
        if self == Ending::Interrupted { "interrupted" } else { "cancelled" }
    }
}
