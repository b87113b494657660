//! The text of an error, from its data alone.

use rondel_fault::{Cause, FailedProcess, Fault, Frame, Kind, Relation};

use super::excerpt::{clean_lines, excerpt, is_hidden};
use crate::style::Style;

/// The most characters of a command line where it stands for a process.
const MAX_COMMAND_CHARS: usize = 80;
/// The most calls that are shown of one exception; of more, the first and the last ones.
const MAX_FRAMES: usize = 10;
/// How many of those calls are the first ones.
const FIRST_FRAMES: usize = 3;
/// The most errors of one request that are shown.
const MAX_ERRORS: usize = 10;
/// The fewest columns for a line of source code.
const MIN_EXCERPT: usize = 30;

/// How an error is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The columns of the terminal. `None` if the text goes elsewhere: then no line is cut.
    pub(crate) width: Option<usize>,
    /// Whether it has colours.
    pub(crate) style: Style,
    /// Whether it shows calls in files of libraries and SDKs.
    pub(crate) verbose: bool,
    /// Whether the run was recorded, with the whole output of its processes.
    pub(crate) is_recorded: bool,
}

/// The report of an error and of its siblings: lines, the last one with a line end.
pub(crate) fn render(fault: &Fault, options: &Options) -> String {
    let mut text = render_one(fault, options);
    for sibling in fault.siblings().iter().take(MAX_ERRORS - 1) {
        text.push('\n');
        text.push_str(&render_one(sibling, options));
    }
    match (fault.siblings().len() + 1).saturating_sub(MAX_ERRORS) {
        0 => {}
        1 => text.push_str("\n… 1 more error\n"),
        more => text.push_str(&format!("\n… {more} more errors\n")),
    }
    text
}

fn render_one(fault: &Fault, options: &Options) -> String {
    let mut report = Report { lines: Vec::new(), options };
    match fault.causes() {
        [] => {
            let label = options.style.red("Error:");
            report.push_text(&format!("{label} "), &fault.full_message());
        }
        causes => report.push_causes(causes),
    }
    let mut hints: Vec<String> = Vec::new();
    hints.extend(fault.causes().last().and_then(|cause| cause.exec.as_ref()).and_then(signal_hint));
    hints.extend(fault.hints().iter().cloned());
    for hint in hints {
        report.push_text(&format!("{} ", options.style.bold("hint:")), &hint);
    }
    if fault.kind() == Kind::Bug {
        report.lines.push("This is a bug in rondel; please report it.".to_owned());
    }
    report.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

struct Report<'a> {
    lines: Vec<String>,
    options: &'a Options,
}

impl Report<'_> {
    /// What was asked for, then one part for each cause.
    fn push_causes(&mut self, causes: &[Cause]) {
        let style = self.options.style;
        let title = causes.first().map(title).unwrap_or_default();
        self.lines.push(format!("{} {}", style.red("✘"), style.bold(&title)));
        for (at, cause) in causes.iter().enumerate() {
            let is_last = at + 1 == causes.len();
            if at > 0 {
                self.push_heading(cause);
            } else if cause.is_attempt() && !is_last {
                continue;
            }
            self.push_frames(cause);
            if let Some(exec) = &cause.exec {
                self.push_output(exec);
            }
            self.push_message(cause, at > 0 && cause.is_attempt() && !is_last);
        }
    }

    /// How a cause belongs to the one before.
    fn push_heading(&mut self, cause: &Cause) {
        let style = self.options.style;
        let relation = match cause.relation {
            Relation::Cause => "caused by",
            Relation::Context => "while handling",
            Relation::Member => "one of them",
        };
        match (cause.call.as_str(), &cause.exec) {
            ("", Some(exec)) if !exec.cmd.is_empty() => self.lines.push(format!("  {}", style.dim(&command(exec)))),
            ("", _) if cause.is_attempt() => {}
            ("", _) => self.lines.extend([String::new(), style.bold(relation)]),
            (call, _) => self.lines.extend([String::new(), style.bold(&format!("{relation} {}", one_line(call)))]),
        }
    }

    fn push_frames(&mut self, cause: &Cause) {
        let shown = |frame: &&Frame| self.options.verbose || frame.is_own();
        let frames: Vec<&Frame> = cause.frames.iter().filter(shown).collect();
        let marked = frames.iter().rposition(|frame| frame.is_own());
        let cut = if frames.len() > MAX_FRAMES && !self.options.verbose {
            FIRST_FRAMES..frames.len() - (MAX_FRAMES - FIRST_FRAMES)
        } else {
            0..0
        };
        for (at, frame) in frames.iter().enumerate() {
            if at == cut.start && !cut.is_empty() {
                self.lines.push(self.options.style.dim(&format!("  … {} more calls", cut.len())));
            }
            if !cut.contains(&at) {
                self.push_frame(frame, &cause.origin, marked == Some(at));
            }
        }
    }

    fn push_frame(&mut self, frame: &Frame, origin: &str, marked: bool) {
        let style = self.options.style;
        let mut place = frame.file.clone();
        if !origin.is_empty() && frame.is_own() {
            place = format!("{origin}:{place}");
        }
        if frame.line > 0 {
            place.push_str(&format!(":{}", frame.line));
        }
        let function = match frame.function.as_str() {
            "" => String::new(),
            name => format!(" in {}", one_line(name)),
        };
        self.lines.push(format!("  {}{function}", style.cyan(&one_line(&place))));
        if frame.source.trim().is_empty() {
            return;
        }
        let number = frame.line.to_string();
        let gutter = number.len() + 7;
        let room = self.options.width.map(|width| width.saturating_sub(gutter).max(MIN_EXCERPT));
        let column = |column: u32| usize::try_from(column).unwrap_or(0);
        let columns = (column(frame.column), column(frame.end_column.max(frame.column.saturating_add(1))));
        let (text, marker) = excerpt(&frame.source, columns, room);
        self.lines.push(format!("    {} {text}", style.dim(&format!("{number} |"))));
        if let Some(marker) = marker.filter(|_| marked) {
            let bar = style.dim(&format!("{:width$} |", "", width = number.len()));
            let (blank, carets) = marker.split_at(marker.len() - marker.trim_start().len());
            self.lines.push(format!("    {bar} {blank}{}", style.red(carets)));
        }
    }

    fn push_output(&mut self, exec: &FailedProcess) {
        let style = self.options.style;
        if exec.output.omitted_lines > 0 {
            let lines = if exec.output.omitted_lines == 1 { "line" } else { "lines" };
            let all = if self.options.is_recorded { "; all of it: rondel trace logs" } else { "" };
            self.lines.push(style.dim(&format!("    … {} more {lines} before{all}", exec.output.omitted_lines)));
        }
        for text in clean_lines(&exec.output.text, style.colour) {
            self.lines.push(format!("    {} {text}", style.dim("|")).trim_end().to_owned());
        }
    }

    fn push_message(&mut self, cause: &Cause, indented: bool) {
        let label = match (cause.type_name.as_str(), cause.message.trim().is_empty()) {
            ("", true) => return,
            ("", false) if indented => "  ".to_owned(),
            ("", false) => String::new(),
            (name, true) => self.options.style.red(&one_line(name)),
            (name, false) => format!("{} ", self.options.style.red(&format!("{}:", one_line(name)))),
        };
        self.push_text(&label, &cause.message);
        for note in &cause.notes {
            self.push_text("", note);
        }
    }

    /// Lines of text, the first one after `label`.
    fn push_text(&mut self, label: &str, text: &str) {
        let lines = clean_lines(text.trim_end(), false);
        let first = lines.first().map_or("", String::as_str);
        self.lines.push(format!("{label}{first}").trim_end().to_owned());
        self.lines.extend(lines.into_iter().skip(1));
    }
}

/// What the first cause says failed.
fn title(cause: &Cause) -> String {
    match (&*cause.call, &cause.exec) {
        ("", Some(exec)) if !exec.cmd.is_empty() => format!("{} failed", command(exec)),
        ("", _) if cause.is_attempt() => one_line(cause.message.lines().next().unwrap_or_default()),
        ("", _) => "the code of a module failed".to_owned(),
        (call, _) => format!("{} failed", one_line(call)),
    }
}

/// A process, in one line.
fn command(exec: &FailedProcess) -> String {
    let mut words = one_line(&exec.cmd.join(" ")).split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > MAX_COMMAND_CHARS {
        words = words.chars().take(MAX_COMMAND_CHARS - 1).chain(['…']).collect();
    }
    format!("exec {words}")
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).filter(|c| !is_hidden(*c)).collect()
}

/// Says which signal ended a process, where its exit code tells.
fn signal_hint(exec: &FailedProcess) -> Option<String> {
    let signal = exec.exit_code.checked_sub(128)?;
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return None,
    };
    Some(format!("exit code {} is that of a process that {name} ended", exec.exit_code))
}

#[cfg(test)]
mod tests {
    use rondel_fault::OutputTail;

    use super::*;

    const PIPE: Options = Options { width: None, style: Style { colour: false }, verbose: false, is_recorded: true };
    const TERMINAL: Options = Options { width: Some(60), style: Style { colour: true }, ..PIPE };

    fn check(fault: &Fault, options: &Options, want: &[&str]) {
        let got = render(fault, options);
        assert_eq!(got.lines().collect::<Vec<_>>(), want);
        assert!(got.ends_with('\n'));
    }

    fn frame(file: &str, line: u32, function: &str, source: &str, columns: (u32, u32)) -> Frame {
        let (column, end_column) = columns;
        Frame { file: file.into(), line, column, end_column, function: function.into(), source: source.into() }
    }

    fn raised(call: &str, type_name: &str, message: &str, frames: &[Frame]) -> Cause {
        Cause {
            call: call.into(),
            type_name: type_name.into(),
            message: message.into(),
            frames: frames.into(),
            ..Cause::default()
        }
    }

    fn process(cmd: &str, exit_code: i32, output: &str, before: u64) -> Cause {
        let cmd: Vec<String> = cmd.split(' ').map(str::to_owned).collect();
        let message = format!("process \"{}\" did not complete successfully: exit code: {exit_code}", cmd.join(" "));
        Cause::process(message, FailedProcess { cmd, exit_code, output: OutputTail::new(output, before) })
    }

    fn key_error() -> Fault {
        let library = frame("/opt/venv/lib/x.py", 7, "call", "func()", (0, 0));
        let outer = frame("src/ci/main.py", 12, "Ci.build", "        return self.pick(kind)", (16, 31));
        let inner = frame("src/ci/main.py", 41, "Ci.pick", "        return self.images[kind]", (16, 33));
        let cause = raised("ci build", "KeyError", "'release'", &[library, outer, inner]);
        Fault::user("FunctionError: 'release'").with_causes(vec![cause])
    }

    #[test]
    fn an_exception() {
        let want = [
            "✘ ci build failed",
            "  src/ci/main.py:12 in Ci.build",
            "    12 |         return self.pick(kind)",
            "  src/ci/main.py:41 in Ci.pick",
            "    41 |         return self.images[kind]",
            "       |                ^^^^^^^^^^^^^^^^^",
            "KeyError: 'release'",
        ];
        check(&key_error(), &PIPE, &want);
        let all = render(&key_error(), &Options { verbose: true, ..PIPE });
        assert!(all.starts_with("✘ ci build failed\n  /opt/venv/lib/x.py:7 in call\n    7 | func()\n"), "{all}");
        let want = [
            "\x1b[1;31m✘\x1b[0m \x1b[1mci build failed\x1b[0m",
            "  \x1b[36msrc/ci/main.py:12\x1b[0m in Ci.build",
            "    \x1b[2m12 |\x1b[0m         return self.pick(kind)",
            "  \x1b[36msrc/ci/main.py:41\x1b[0m in Ci.pick",
            "    \x1b[2m41 |\x1b[0m         return self.images[kind]",
            "    \x1b[2m   |\x1b[0m                \x1b[1;31m^^^^^^^^^^^^^^^^^\x1b[0m",
            "\x1b[1;31mKeyError:\x1b[0m 'release'",
        ];
        check(&key_error(), &TERMINAL, &want);
    }

    #[test]
    fn a_chain_of_causes() {
        let place = |line, source: &str| frame("main.py", line, "Ci.go", source, (0, 0));
        let mut context = raised("", "ValueError", "bad\nworse", &[place(3, "int(x)")]);
        context.relation = Relation::Context;
        context.notes = vec!["a note".into()];
        let git = Cause { origin: "github.com/a/tools@v1".into(), ..raised("tools run", "", "", &[place(8, "run()")]) };
        let causes = vec![
            raised("ci go", "RuntimeError", "no build", &[place(5, "raise RuntimeError('no build')")]),
            context,
            git,
            Cause::attempt("start the service db"),
            process("sh -c x", 9, "out\nerr", 0),
        ];
        let fault = Fault::user("x").with_causes(causes).with_hint("look there").with_hint("or here");
        let want = [
            "✘ ci go failed",
            "  main.py:5 in Ci.go",
            "    5 | raise RuntimeError('no build')",
            "RuntimeError: no build",
            "",
            "while handling",
            "  main.py:3 in Ci.go",
            "    3 | int(x)",
            "ValueError: bad",
            "worse",
            "a note",
            "",
            "caused by tools run",
            "  github.com/a/tools@v1:main.py:8 in Ci.go",
            "    8 | run()",
            "  start the service db",
            "  exec sh -c x",
            "    | out",
            "    | err",
            "process \"sh -c x\" did not complete successfully: exit code: 9",
            "hint: look there",
            "hint: or here",
        ];
        check(&fault, &PIPE, &want);
    }

    #[test]
    fn a_process() {
        let fault = Fault::user("x").with_causes(vec![process("make all", 137, "a\x1b[31mb\r\n\n10%\r20%", 262)]);
        let message = "process \"make all\" did not complete successfully: exit code: 137";
        let hint = "exit code 137 is that of a process that SIGKILL ended";
        let want = [
            "✘ exec make all failed",
            "    … 262 more lines before; all of it: rondel trace logs",
            "    | ab",
            "    |",
            "    | 20%",
            message,
            &format!("hint: {hint}"),
        ];
        check(&fault, &PIPE, &want);
        let coloured = render(&fault, &TERMINAL);
        assert!(coloured.contains("a\x1b[31mb\x1b[0m\n"), "{coloured:?}");
        let long = process(&format!("sh -c {}", "word ".repeat(40)), 1, "", 0);
        let title = render(&Fault::user("x").with_causes(vec![long]), &PIPE);
        assert_eq!(title.lines().next().map(|line| line.chars().count()), Some("✘ exec  failed".len() - 2 + 80));
    }

    #[test]
    fn output_that_is_not_recorded_is_not_pointed_to() {
        let fault = Fault::user("x").with_causes(vec![process("a", 1, "end", 7)]);
        let text = render(&fault, &Options { is_recorded: false, ..PIPE });
        assert_eq!(text.lines().nth(1), Some("    … 7 more lines before"));
    }

    #[test]
    fn errors_of_several_fields() {
        let siblings = |count: usize| (0..count).map(|n| Fault::user(format!("b{n}"))).collect::<Vec<_>>();
        let fault = key_error().with_siblings(vec![Fault::user("no").with_hint("look")]);
        let text = render(&fault, &PIPE);
        assert!(text.ends_with("KeyError: 'release'\n\nError: no\nhint: look\n"), "{text}");
        let many = render(&Fault::user("a").with_siblings(siblings(11)), &PIPE);
        assert!(many.ends_with("\n\nError: b8\n\n… 2 more errors\n"), "{many}");
    }

    #[test]
    fn one_sentence() {
        let fault = Fault::user("find it: no such\nmodule").with_hint("name it with `-m`");
        check(&fault, &PIPE, &["Error: find it: no such", "module", "hint: name it with `-m`"]);
        check(&Fault::user("no"), &TERMINAL, &["\x1b[1;31mError:\x1b[0m no"]);
        check(&Fault::cancelled("x"), &PIPE, &["Error: x"]);
        check(&Fault::bug("x"), &PIPE, &["Error: x", "This is a bug in rondel; please report it."]);
        let hidden = Fault::user("a\x1b[2Jb\x1b]0;t\x07c");
        check(&hidden, &PIPE, &["Error: abc"]);
    }

    #[test]
    fn an_attempt_is_the_title() {
        let causes = vec![Cause::attempt("load module `x`"), Cause::attempt("call `types`"), process("a", 1, "", 0)];
        let want = [
            "✘ load module `x`",
            "  call `types`",
            "  exec a",
            "process \"a\" did not complete successfully: exit code: 1",
        ];
        check(&Fault::user("x").with_causes(causes), &PIPE, &want);
    }

    #[test]
    fn an_error_of_an_sdk_without_places() {
        let exec = FailedProcess { output: OutputTail::new("panic: here", 0), ..FailedProcess::default() };
        let cause = Cause { exec: Some(exec), ..raised("ci go", "", "no luck", &[]) };
        check(
            &Fault::user("no luck").with_causes(vec![cause]),
            &PIPE,
            &["✘ ci go failed", "    | panic: here", "no luck"],
        );
    }

    #[test]
    fn many_calls_are_cut() {
        let frames: Vec<Frame> = (1..=30).map(|line| frame("main.py", line, "f", "", (0, 0))).collect();
        let fault = Fault::user("x").with_causes(vec![raised("ci f", "RecursionError", "too deep", &frames)]);
        let text = render(&fault, &PIPE);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3..6], ["  main.py:3 in f", "  … 20 more calls", "  main.py:24 in f"]);
        assert_eq!(lines.len(), 13);
    }
}
