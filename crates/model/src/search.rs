//! A search for text in files, and what it finds.

use serde::{Deserialize, Serialize};

/// The parameters of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Search {
    /// A regular expression, or the text itself.
    pub pattern: String,
    /// Whether the pattern is literal text.
    pub literal: bool,
    /// Whether a match may span lines.
    pub multiline: bool,
    /// Whether `.` matches line ends, too.
    pub dotall: bool,
    /// Whether upper and lower case are the same.
    pub insensitive: bool,
    /// Whether paths in ignore files are skipped.
    pub skip_ignored: bool,
    /// Whether names with a leading dot are skipped.
    pub skip_hidden: bool,
    /// Whether only files are returned, without lines.
    pub files_only: bool,
    /// The most results.
    pub limit: Option<usize>,
    /// Files and directories to search, relative to the directory. Empty is everything.
    pub paths: Vec<String>,
    /// Globs of files to search, in the syntax of ignore files. `!` excludes.
    pub globs: Vec<String>,
}

/// A match with its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The file, relative to the directory.
    pub path: String,
    /// The number of the first line, from one. Zero if only files are returned.
    pub line: u64,
    /// The offset of the line in the file, in bytes.
    pub offset: u64,
    /// The lines with their ends.
    pub lines: String,
    /// The matching parts of the lines.
    pub submatches: Vec<Submatch>,
}

/// A matching part of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submatch {
    /// The text.
    pub text: String,
    /// Its start in the lines, in bytes.
    pub start: u64,
    /// Its end.
    pub end: u64,
}
