//! Finding a command's program: the candidate files in `PATH`, and the error when none of them
//! runs.

use std::ffi::CString;
use std::io;

use rondel_fault::{Code, Fault, Result};

use crate::sealed_program::NotExecuted;
use crate::tree::ContainerPaths;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SHEBANG_BYTES: u64 = 256;

/// A string for the kernel.
///
/// # Errors
/// When it has a zero byte. `what` names the string in the error.
pub(crate) fn c_string(text: impl Into<Vec<u8>>, what: &str) -> Result<CString> {
    CString::new(text).map_err(|error| Fault::user(format!("{what} has a zero byte at {}", error.nul_position())))
}

/// The variables of a process, as `execve` takes them.
///
/// # Errors
/// When a variable has a zero byte.
pub(crate) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Vec<CString>> {
    let variable =
        |(name, value): (String, String)| c_string(format!("{name}={value}"), &format!("the variable `{name}`"));
    variables.into_iter().map(variable).collect()
}

/// The files to try, in order: the program itself when it is a path, else one per entry of `PATH`.
///
/// # Errors
/// When a string has a zero byte.
pub(crate) fn candidates(program: &str, env: &[(String, String)]) -> Result<Vec<CString>> {
    if program.is_empty() {
        return Ok(Vec::new());
    }
    let itself = c_string(program, "the program")?;
    if program.contains('/') {
        return Ok(vec![itself]);
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let join = |directory: &str| {
        c_string(format!("{}/{program}", if directory.is_empty() { "." } else { directory }), "`PATH`")
    };
    path.split(':').map(join).collect()
}

/// The error of a program that did not run, with its missing interpreter.
pub(crate) fn explain(
    failure: NotExecuted,
    candidates: &[CString],
    program: &str,
    workdir: &str,
    tree: &mut ContainerPaths,
) -> Fault {
    let tried = candidates.get(failure.index);
    if !failure.interpreter_missing {
        return refusal(tried, program, &io::Error::from_raw_os_error(failure.error));
    }
    let tried = tried.map_or_else(|| program.to_owned(), |path| path.to_string_lossy().into_owned());
    let path = if tried.starts_with('/') { tried.clone() } else { format!("{workdir}/{tried}") };
    let reason = match interpreter(tree, &path) {
        Some(interpreter) => format!("its interpreter `{interpreter}` does not exist in the container"),
        None => "the loader or interpreter that it asks for does not exist in the container".to_owned(),
    };
    Fault::user(format!("exec: \"{tried}\": {reason}")).with_code(Code::ExecNotStarted)
}

/// The error of executing the sealed program. It has the arguments and variables of the command and
/// a few more, so these may be too long.
pub(crate) fn not_started(candidates: &[CString], program: &str, error: io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::E2BIG) => refusal(candidates.first(), program, &error),
        _ => Fault::environment("cannot start the program that executes the command").caused_by(error),
    }
}

/// The error for a program that the kernel refused to execute.
pub(crate) fn refusal(tried: Option<&CString>, program: &str, error: &io::Error) -> Fault {
    let tried = tried.map_or_else(|| program.to_owned(), |path| path.to_string_lossy().into_owned());
    let fault = match error.raw_os_error() {
        Some(libc::ENOENT) if !program.contains('/') => {
            Fault::user(format!("exec: \"{program}\": executable file not found in $PATH"))
        }
        Some(libc::ENOENT | libc::ENOTDIR) => Fault::user(format!("exec: \"{tried}\": no such file or directory")),
        Some(libc::EACCES) => Fault::user(format!("exec: \"{tried}\": permission denied")),
        Some(libc::ENOEXEC) => Fault::user(format!("exec: \"{tried}\": exec format error"))
            .with_hint("the file is neither a program for this machine nor a script that starts with `#!`"),
        Some(libc::ELOOP) => Fault::user(format!("exec: \"{tried}\": too many levels of symbolic links"))
            .with_hint("magic links below `/proc`, to what a process has open or runs, are not followed"),
        Some(libc::E2BIG) => Fault::user(format!("exec: \"{tried}\": argument list too long")),
        _ => Fault::environment(format!("exec: \"{tried}\": {error}")),
    };
    fault.with_code(Code::ExecNotStarted)
}

/// The interpreter in the first line of a script.
fn interpreter(tree: &mut ContainerPaths, path: &str) -> Option<String> {
    let start = tree.read(path, SHEBANG_BYTES).ok()??;
    let line = String::from_utf8_lossy(start.strip_prefix(b"#!")?).into_owned();
    // A carriage return stays part of the name: it is the mistake in such a script.
    let name = line.split(['\n', ' ', '\t']).find(|word| !word.is_empty())?;
    Some(name.escape_debug().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_the_path() {
        let env = |path: &str| vec![("PATH".to_owned(), path.to_owned())];
        type Case<'a> = (&'a str, Vec<(String, String)>, &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            ("ls", env("/bin:/usr/bin"), &["/bin/ls", "/usr/bin/ls"]),
            ("ls", env("/bin::/x"), &["/bin/ls", "./ls", "/x/ls"]),
            ("./ls", env("/bin"), &["./ls"]),
            ("/ls", vec![], &["/ls"]),
            ("", env("/bin"), &[]),
        ];
        for (program, env, expected) in cases {
            let found: Vec<String> =
                candidates(program, env).unwrap().into_iter().map(|path| path.into_string().unwrap()).collect();
            assert_eq!(found, *expected);
        }
        assert_eq!(candidates("ls", &[]).unwrap().len(), 6);
        assert_eq!(
            candidates("l\0s", &[]).map_err(|fault| fault.to_string()),
            Err("the program has a zero byte at 1".into())
        );
    }
}
