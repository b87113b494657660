//! A search for text in files, and what it finds.

use serde::{Deserialize, Serialize};

/// What is searched for, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Search {
    /// A regular expression, or the text itself.
    pub pattern: String,
    /// The pattern is the text itself.
    pub literal: bool,
    /// A match may span lines.
    pub multiline: bool,
    /// `.` matches the end of a line, too.
    pub dotall: bool,
    /// Upper and lower case are the same.
    pub insensitive: bool,
    /// What ignore files name is left out.
    pub skip_ignored: bool,
    /// What has a name with a dot in front is left out.
    pub skip_hidden: bool,
    /// Only the files are told, not the lines.
    pub files_only: bool,
    /// So many results at most.
    pub limit: Option<usize>,
    /// Files and directories to search, relative to the directory; none is everything.
    pub paths: Vec<String>,
    /// Which files are searched, as in ignore files, where `!` leaves out.
    pub globs: Vec<String>,
}

/// Lines that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The file, relative to the directory.
    pub path: String,
    /// The number of the first line, from one; zero when only files are told.
    pub line: u64,
    /// Where the line starts in the file, in bytes.
    pub offset: u64,
    /// The lines with their ends.
    pub lines: String,
    /// What matched in them.
    pub submatches: Vec<Submatch>,
}

/// A piece of text that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submatch {
    /// The text.
    pub text: String,
    /// Where it starts in the lines, in bytes.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}
