//! The sealed program: a small program in a sealed file in memory, which executes the command and
//! reports when it cannot.
//!
//! The kernel resolves the interpreter of a script (`#!`) or of a program (`PT_INTERP`) while the
//! process still has the image of the program that it ran before, so a path such as
//! `/proc/self/exe` leads to that program. It must not be the engine. Each container has a file of
//! its own, because root of a container owns the file and may change its mode and attributes: that
//! harms itself only.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rondel_fault::{Attempt, Fault, Result};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::child::Strings;

static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// Its name, as processes see it.
const NAME: &CStr = c"/.init";
/// Every user of a container may read and execute it.
const MODE: u32 = 0o555;
/// `F_SEAL_EXEC` of Linux 6.3: the executable bits cannot be changed.
const SEAL_EXEC: SealFlags = SealFlags::from_bits_retain(0x20);

/// The sealed program of one container, and the pipe on which it reports.
pub(crate) struct SealedProgram {
    program: OwnedFd,
    writer: OwnedFd,
}

/// The engine's end of the pipe.
pub(crate) struct ReportPipe(File);

/// The content of the report pipe so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartReport {
    /// No report yet.
    Nothing,
    /// The command runs.
    Running,
    /// No candidate ran.
    NotExecuted(NotExecuted),
}

/// Why a command did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotExecuted {
    /// Whether the candidate exists and its interpreter does not.
    pub(crate) interpreter_missing: bool,
    /// The index of the candidate.
    pub(crate) index: usize,
    /// The error number.
    pub(crate) error: i32,
}

impl SealedProgram {
    /// Makes a new sealed file with the program, and a new pipe.
    ///
    /// # Errors
    /// When the kernel refuses either.
    pub(crate) fn new() -> Result<(Self, ReportPipe)> {
        let pipe = || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
            Ok::<_, Errno>((reader, writer))
        };
        let (reader, writer) = pipe().attempt(|| "make a pipe for the start of the command".into())?;
        Ok((Self { program: sealed()?, writer }, ReportPipe(reader.into())))
    }

    /// The file of the program.
    pub(crate) fn program(&self) -> RawFd {
        self.program.as_raw_fd()
    }

    /// The end of the pipe that the program needs.
    pub(crate) fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// The arguments that make it pid 1 of a container. `score` is the `oom_score_adj`.
    pub(crate) fn init_arguments(score: &CStr) -> Strings {
        Strings::new(vec![NAME.to_owned(), score.to_owned()])
    }

    /// The arguments with which it executes the first of `candidates` that runs, with `args`.
    pub(crate) fn arguments(&self, score: &CStr, candidates: &[CString], args: Vec<CString>) -> Strings {
        let mut all =
            vec![NAME.to_owned(), score.to_owned(), decimal(self.writer.as_raw_fd()), decimal(candidates.len())];
        all.extend_from_slice(candidates);
        all.extend(args);
        Strings::new(all)
    }
}

impl ReportPipe {
    /// Reads the report.
    pub(crate) fn read(&mut self) -> StartReport {
        let mut record = [0; 12];
        match self.0.read(&mut record) {
            Ok(0) => StartReport::Running,
            Ok(_) => {
                let number = |at: usize| {
                    record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes)
                };
                let index = usize::try_from(number(4)).unwrap_or(usize::MAX);
                StartReport::NotExecuted(NotExecuted { interpreter_missing: number(0) == 2, index, error: number(8) })
            }
            Err(_) => StartReport::Nothing,
        }
    }
}

impl AsFd for ReportPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn decimal(number: impl ToString) -> CString {
    // Digits have no zero byte.
    CString::new(number.to_string()).unwrap_or_default()
}

/// Makes the sealed file. Other processes that start at this moment may have a copy of the
/// descriptor, which does not matter: a file in memory that was never opened by a path does not
/// count as open for writing, so it can be executed.
fn sealed() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag and make every such file executable.
    let file = match memfd_create(".init", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(".init", flags),
        other => other,
    };
    let file = file.map_err(|error| {
        let fault = Fault::environment("cannot make a program in memory").caused_by(error);
        if error == Errno::ACCESS {
            return fault.with_hint("the setting `vm.memfd_noexec` of this machine must not be 2");
        }
        fault
    });
    let mut file = File::from(file?);
    file.write_all(PROGRAM).attempt(|| "write the init program to memory".into())?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(MODE)).attempt(|| "make the init program executable".into())?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    match fcntl_add_seals(&file, seals | SEAL_EXEC) {
        Err(Errno::INVAL) => fcntl_add_seals(&file, seals),
        other => other,
    }
    .attempt(|| "seal the init program in memory".into())?;
    Ok(file.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_program_cannot_be_written() {
        let program = sealed().unwrap();
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        let mut again = rustix::fs::open(&path, OFlags::RDWR, Mode::empty()).map(File::from);
        if let Ok(file) = &mut again {
            assert_eq!(file.write_all(b"x").map_err(|error| error.kind()), Err(std::io::ErrorKind::PermissionDenied));
        }
        assert!(rustix::fs::ftruncate(&program, 0).is_err());
        assert_eq!(std::fs::read(path).unwrap(), PROGRAM);
    }

    #[test]
    fn two_containers_have_two_files() {
        let inode = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_ino;
        assert_ne!(inode(&sealed().unwrap()), inode(&sealed().unwrap()));
    }

    #[test]
    fn reports_are_read() {
        let (sealed, mut report) = SealedProgram::new().unwrap();
        assert_eq!(report.read(), StartReport::Nothing);
        let record: Vec<u8> = [2_i32, 3, libc::ENOENT].iter().flat_map(|number| number.to_ne_bytes()).collect();
        rustix::io::write(&sealed.writer, &record).unwrap();
        let expected = NotExecuted { interpreter_missing: true, index: 3, error: libc::ENOENT };
        assert_eq!(report.read(), StartReport::NotExecuted(expected));
        drop(sealed);
        assert_eq!(report.read(), StartReport::Running);
    }
}
