//! What led to an error: function calls, exceptions of programs and failed processes, each with
//! where it happened.
//!
//! The chain travels from the program that fails, through the engine and every module on the way,
//! to the client that asked. So it has one written form, that of its JSON. See
//! docs/protocol.md#causes.

use serde::{Deserialize, Serialize};

use crate::exec_failure::ExecFailure;

/// The name of the chain in the values of an API `Error` and in the `extensions` of GraphQL.
pub const CAUSES: &str = "rondel.causes";

/// The most links of a chain that are kept. Those in the middle of a longer one are dropped.
pub const MAX_CAUSES: usize = 32;

/// One link of the chain that led to an error. The first link is what was asked for, the last one
/// is the root cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cause {
    /// How the link before follows from this one.
    #[serde(skip_serializing_if = "Relation::is_cause")]
    pub relation: Relation,
    /// The function call that failed, such as `ci build`. Empty unless the link begins one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub call: String,
    /// The module source of the frames if they are not of the user's machine: a Git reference
    /// without a path. Empty for files of the context directory that the user works in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// The type of an exception, such as `KeyError`. Empty for anything else.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// What was attempted or what went wrong. Empty when the next link says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Remarks that the program added to its exception.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where the exception was raised. The outermost call is first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
    /// The process that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<FailedProcess>,
}

/// How the link before follows from this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Relation {
    /// This link caused it.
    #[default]
    Cause,
    /// It was raised while this one was handled.
    Context,
    /// This link is one of several that it groups.
    Member,
}

impl Relation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_cause(&self) -> bool {
        *self == Self::Cause
    }
}

/// A place in source code, and the call that was there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Frame {
    /// The path of a file of the module, relative to its context directory. An absolute path is a
    /// file of the runtime: of a library, or of the SDK.
    pub file: String,
    /// The line, from one. Zero when the whole file is meant.
    pub line: u32,
    /// The first character, from one. Zero when the whole line is meant.
    #[serde(skip_serializing_if = "is_zero")]
    pub column: u32,
    /// The character after the last one. Zero when it is not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub end_column: u32,
    /// The function with the names around it, such as `Ci.build`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// The text of the line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Frame {
    /// Whether the file belongs to the module.
    pub fn is_own(&self) -> bool {
        !self.file.is_empty() && !self.file.starts_with('/')
    }
}

/// A process that ended with an unexpected exit code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FailedProcess {
    /// The command line.
    pub cmd: Vec<String>,
    /// The exit code; 128 + signal for a process that a signal ended.
    pub exit_code: i32,
    /// The end of what it wrote.
    #[serde(skip_serializing_if = "OutputTail::is_empty")]
    pub output: OutputTail,
}

/// The last lines of a process's output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OutputTail {
    /// The lines, without a line end at the end. Both streams are in the order in which they were
    /// written.
    pub text: String,
    /// How many lines were written before them.
    #[serde(skip_serializing_if = "is_none_left_out")]
    pub omitted_lines: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none_left_out(lines: &u64) -> bool {
    *lines == 0
}

impl OutputTail {
    /// The most lines of a tail.
    pub const MAX_LINES: usize = 50;
    /// The most bytes of a tail.
    pub const MAX_BYTES: usize = 64 << 10;

    /// The last lines of `text`, before which `lines_before` lines were written.
    pub fn new(text: &str, lines_before: u64) -> Self {
        let text = text.trim_end();
        let mut from = text.len().saturating_sub(Self::MAX_BYTES);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        let (cut, kept) = text.split_at(from);
        let lines: Vec<&str> = kept.lines().collect();
        let skipped = lines.len().saturating_sub(Self::MAX_LINES);
        let omitted = u64::try_from(skipped + cut.matches('\n').count()).unwrap_or(u64::MAX);
        Self { text: lines[skipped..].join("\n"), omitted_lines: lines_before.saturating_add(omitted) }
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.omitted_lines == 0
    }
}

impl Cause {
    /// What was attempted.
    pub fn attempt(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// The failure of a process.
    pub fn process(message: impl Into<String>, exec: FailedProcess) -> Self {
        Self { message: message.into(), exec: Some(exec), ..Self::default() }
    }

    /// The failure of a process of which both streams are known, but not their order.
    pub fn of_streams(message: impl Into<String>, failure: &ExecFailure) -> Self {
        let given = [("stdout", &failure.stdout), ("stderr", &failure.stderr)];
        let streams: Vec<_> = given.into_iter().filter(|(_, text)| !text.trim().is_empty()).collect();
        let labelled = |(name, text): &(&str, &String)| format!("{name}:\n{}", text.trim_end());
        let text = match streams.as_slice() {
            [(_, text)] => text.trim_end().to_owned(),
            several => several.iter().map(labelled).collect::<Vec<_>>().join("\n"),
        };
        let output = OutputTail::new(&text, 0);
        let exec = FailedProcess { cmd: failure.cmd.clone(), exit_code: failure.exit_code, output };
        Self::process(message, exec)
    }

    /// Whether it only says what was attempted.
    pub fn is_attempt(&self) -> bool {
        self.call.is_empty() && self.type_name.is_empty() && self.frames.is_empty() && self.exec.is_none()
    }
}

impl Cause {
    /// The link with every text replaced that a program wrote.
    pub(crate) fn map_texts(&self, map: &dyn Fn(&str) -> String) -> Self {
        let exec = self.exec.as_ref().map(|exec| FailedProcess {
            cmd: exec.cmd.iter().map(|arg| map(arg)).collect(),
            exit_code: exec.exit_code,
            output: OutputTail { text: map(&exec.output.text), ..exec.output.clone() },
        });
        let frame = |frame: &Frame| Frame { source: map(&frame.source), ..frame.clone() };
        Self {
            call: map(&self.call),
            message: map(&self.message),
            notes: self.notes.iter().map(|note| map(note)).collect(),
            frames: self.frames.iter().map(frame).collect(),
            exec,
            ..self.clone()
        }
    }
}

/// Drops links from the middle of a chain that is too long.
pub(crate) fn bound(mut causes: Vec<Cause>) -> Vec<Cause> {
    if causes.len() > MAX_CAUSES {
        let half = MAX_CAUSES / 2;
        causes.drain(half..causes.len() - half);
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_written_form() {
        let written = json!({
            "call": "ci build",
            "type": "KeyError",
            "message": "'release'",
            "frames": [{
                "file": "src/ci/main.py", "line": 41, "column": 16, "endColumn": 33,
                "function": "Ci.build", "source": "        return self.images[kind]",
            }],
        });
        let cause: Cause = serde_json::from_value(written.clone()).expect("reads");
        assert_eq!((cause.type_name.as_str(), cause.frames[0].end_column), ("KeyError", 33));
        assert!(cause.frames[0].is_own() && cause.relation == Relation::Cause);
        assert_eq!(serde_json::to_value(&cause).expect("writes"), written);
        let process = json!({
            "message": "m",
            "exec": {"cmd": ["a"], "exitCode": 9, "output": {"text": "x", "omittedLines": 2}},
        });
        let cause: Cause = serde_json::from_value(process.clone()).expect("reads");
        assert_eq!(serde_json::to_value(&cause).expect("writes"), process);
    }

    #[test]
    fn tails() {
        let check = |text: &str, before: u64, want: (&str, u64)| {
            let tail = OutputTail::new(text, before);
            assert_eq!((tail.text.as_str(), tail.omitted_lines), want);
        };
        check("", 0, ("", 0));
        check("a\nb\n\n", 0, ("a\nb", 0));
        check("\n a\n", 3, ("\n a", 3));
        let text: String = (0..60).map(|n| format!("{n}\n")).collect();
        let want: Vec<String> = (10..60).map(|n| n.to_string()).collect();
        check(&text, 5, (&want.join("\n"), 15));
        let long = OutputTail::new(&format!("a\nb\n{}", "é".repeat(OutputTail::MAX_BYTES)), 0);
        assert!(long.text.len() <= OutputTail::MAX_BYTES && long.omitted_lines == 2);
    }

    #[test]
    fn streams_without_an_order() {
        let check = |stdout: &str, stderr: &str, want: &str| {
            let failure = ExecFailure { cmd: vec![], exit_code: 1, stdout: stdout.into(), stderr: stderr.into() };
            let exec = Cause::of_streams("m", &failure).exec.expect("a process");
            assert_eq!(exec.output.text, want);
        };
        check("out\n", "", "out");
        check("", " \nerr", " \nerr");
        check("out\n", "err\n", "stdout:\nout\nstderr:\nerr");
        check("", "", "");
    }
}
