//! Exit codes of the program. `docs/guide.md` lists them, and so does [`HELP`].

/// A usage error: the command line is wrong. Nothing was run.
pub(crate) const USAGE: u8 = 2;
/// Standard output has no reader: the code of a program that SIGPIPE ended.
pub(crate) const CLOSED_OUTPUT: u8 = 128 + 13;
/// Ctrl-C: the code of a program that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 128 + 2;
/// The code of a program that SIGTERM ended.
pub(crate) const TERMINATED: u8 = 128 + 15;

/// The text behind `rondel --help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    success
  1    failure; of a failed process in a container, and of the program of `rondel run`, its own code
  2    the command line is wrong
  130  interrupted (Ctrl-C)
  141  standard output has no reader
  143  terminated (SIGTERM)";
