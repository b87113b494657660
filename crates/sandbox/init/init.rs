//! The program that the engine executes in a container, on bare system calls. It has two uses.
//!
//! With the argument `SCORE` alone it is pid 1 of a container. The command is its only child
//! already, process 2 of the namespace: this program passes signals on to it, reaps what is
//! orphaned, and ends as the command ends.
//!
//! With more arguments it executes a command: `SCORE REPORT COUNT CANDIDATE… ARGUMENT…`. It tries
//! the `COUNT` candidates as `execvp` does, with the arguments and its own environment. When none
//! runs it writes three numbers of four bytes to the descriptor `REPORT`: what failed, the index of
//! the candidate, the error number. The descriptor is closed when the command runs.
//!
//! `SCORE` is what it and its command are worth to the kernel when one has to be killed for want of
//! memory. An ordinary user's engine cannot set that for a process that still has the engine's
//! memory.
//!
//! Commands are started from here, and not by the engine, because the kernel resolves the
//! interpreter of a script or program while the process still runs what it ran before:
//! `/proc/self/exe` is this program then, and never the engine.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

/// The command: the first process that pid 1 made.
const COMMAND: i64 = 2;
const BLOCK: i64 = 0;
const WNOHANG: i64 = 1;
const ENOENT: i64 = -2;
const ECHILD: i64 = -10;
const EACCES: i64 = -13;
const ENODEV: i64 = -19;
const ENOTDIR: i64 = -20;
const ELOOP: i64 = -40;
const ETIMEDOUT: i64 = -110;
const ESTALE: i64 = -116;
const SIGUSR1: i64 = 10;
const SIGCHLD: i64 = 17;
const SIGTTIN: i64 = 21;
const SIGTTOU: i64 = 22;
const PR_SET_NAME: i64 = 15;
const F_SETFD: i64 = 2;
const FD_CLOEXEC: i64 = 1;
const AT_FDCWD: i64 = -100;
const O_WRONLY: u64 = 1;
const O_CLOEXEC: u64 = 0o2_000_000;
const O_PATH: u64 = 0o10_000_000;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
/// How a command ends that did not run; the engine reads the report instead.
const NOT_EXECUTED: i32 = 127;
/// A candidate did not run.
const PROGRAM: i32 = 1;
/// A candidate is there, and what interprets it is not.
const INTERPRETER: i32 = 2;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: i64 = 1;
    pub const CLOSE: i64 = 3;
    pub const RT_SIGPROCMASK: i64 = 14;
    pub const EXECVE: i64 = 59;
    pub const FCNTL: i64 = 72;
    pub const RT_SIGTIMEDWAIT: i64 = 128;
    pub const WAIT4: i64 = 61;
    pub const KILL: i64 = 62;
    pub const PRCTL: i64 = 157;
    pub const EXIT_GROUP: i64 = 231;
    pub const OPENAT2: i64 = 437;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const FCNTL: i64 = 25;
    pub const CLOSE: i64 = 57;
    pub const WRITE: i64 = 64;
    pub const RT_SIGPROCMASK: i64 = 135;
    pub const RT_SIGTIMEDWAIT: i64 = 137;
    pub const EXECVE: i64 = 221;
    pub const WAIT4: i64 = 260;
    pub const KILL: i64 = 129;
    pub const PRCTL: i64 = 167;
    pub const EXIT_GROUP: i64 = 94;
    pub const OPENAT2: i64 = 437;
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", main = sym main);

#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {main}", main = sym main);

/// A string of the kernel, which ends with a zero byte.
type Text = *const u8;

/// `stack` is as the kernel leaves it: the number of arguments, the arguments, a null, the
/// environment, a null.
extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel made the stack so.
    let (count, arguments) = unsafe { (*stack, stack.add(1).cast::<Text>()) };
    if count > 1 {
        // SAFETY: the first argument is there.
        set_score(unsafe { *arguments.add(1) });
    }
    if count > 2 {
        // SAFETY: behind the arguments and their null is the environment.
        let environment = unsafe { arguments.add(count.wrapping_add(1)) };
        execute(count, arguments, environment);
        end(NOT_EXECUTED)
    }
    init()
}

fn init() -> ! {
    let every_signal = u64::MAX;
    let set = &raw const every_signal as i64;
    call(number::PRCTL, PR_SET_NAME, c".init".as_ptr() as i64, 0, 0);
    call(number::RT_SIGPROCMASK, BLOCK, set, 0, 8);
    // The command waits for this: nothing of pid 1 but this program is to be seen when it starts.
    call(number::KILL, COMMAND, SIGUSR1, 0, 0);
    loop {
        reap();
        let signal = call(number::RT_SIGTIMEDWAIT, set, 0, 0, 8);
        if signal > 0 && signal != SIGCHLD && signal != SIGTTIN && signal != SIGTTOU {
            call(number::KILL, COMMAND, signal, 0, 0);
        }
    }
}

/// Collects every child that has ended; ends when the command is one of them.
fn reap() {
    loop {
        let mut status = 0_i32;
        let pid = call(number::WAIT4, -1, &raw mut status as i64, WNOHANG, 0);
        if pid == COMMAND {
            let signal = status & 0x7f;
            end(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal });
        }
        if pid == ECHILD {
            end(255);
        }
        if pid <= 0 {
            return;
        }
    }
}

/// Executes the command, or reports why not. A process in a container may run this with arguments
/// of its own.
fn execute(count: usize, arguments: *const Text, environment: *const Text) {
    // SAFETY: only arguments below `count` are asked for.
    let argument = |index: usize| unsafe { *arguments.add(index) };
    if count < 5 {
        return;
    }
    let (Some(report), Some(candidates)) = (decimal(argument(2)), decimal(argument(3))) else { return };
    if candidates >= count - 4 || call(number::FCNTL, report as i64, F_SETFD, FD_CLOEXEC, 0) < 0 {
        return;
    }
    // SAFETY: there are more than `candidates` arguments from the fourth on, and a null ends them.
    let command = unsafe { arguments.add(4 + candidates) };
    let mut outcome = [PROGRAM, 0, -ENOENT as i32];
    let mut index = 0;
    while index < candidates {
        match attempt(argument(4 + index), command, environment) {
            Tried::Absent => {}
            Tried::Failed { what, error, is_last } => {
                // What may not be executed counts for more than an interpreter that is missing.
                if what == PROGRAM || outcome[2] == -ENOENT as i32 {
                    outcome = [what, index as i32, error];
                }
                if is_last {
                    break;
                }
            }
        }
        index += 1;
    }
    call(number::WRITE, report as i64, outcome.as_ptr() as i64, size_of_val(&outcome) as i64, 0);
}

/// Why a candidate did not run.
enum Tried {
    /// There is none.
    Absent,
    /// It is there.
    Failed { what: i32, error: i32, is_last: bool },
}

fn attempt(candidate: Text, command: *const Text, environment: *const Text) -> Tried {
    let program = |error: i64, is_last| Tried::Failed { what: PROGRAM, error: -error as i32, is_last };
    // The kernel prepares a whole new process image before it looks.
    match look(candidate) {
        ENOENT | ENOTDIR => return Tried::Absent,
        ELOOP => return program(ELOOP, true),
        _ => {}
    }
    match call(number::EXECVE, candidate as i64, command as i64, environment as i64, 0) {
        ENOENT if look(candidate) >= 0 => Tried::Failed { what: INTERPRETER, error: -ENOENT as i32, is_last: false },
        ENOENT | ENOTDIR | ESTALE | ENODEV | ETIMEDOUT => Tried::Absent,
        EACCES => program(EACCES, false),
        other => program(other, true),
    }
}

/// A failure does not matter: the command runs all the same.
fn set_score(digits: Text) {
    let Some((_, length)) = digits_of(digits) else { return };
    let file = open(c"/proc/self/oom_score_adj".as_ptr().cast(), O_WRONLY);
    if file >= 0 {
        call(number::WRITE, file, digits as i64, length as i64, 0);
        call(number::CLOSE, file, 0, 0, 0);
    }
}

/// Opens a file. Links of `/proc` to what this process has are not followed: they would lead to
/// this program.
fn open(path: Text, flags: u64) -> i64 {
    // The kernel's `open_how`: flags, mode, how paths are resolved.
    let how = [flags | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS];
    call(number::OPENAT2, AT_FDCWD, path as i64, how.as_ptr() as i64, size_of_val(&how) as i64)
}

/// Whether a file is there.
fn look(path: Text) -> i64 {
    let file = open(path, O_PATH);
    if file >= 0 {
        call(number::CLOSE, file, 0, 0, 0);
    }
    file
}

/// A number as the engine writes it.
fn decimal(text: Text) -> Option<usize> {
    digits_of(text).map(|(value, _)| value)
}

/// A number and how many digits it has.
fn digits_of(text: Text) -> Option<(usize, usize)> {
    let (mut value, mut length) = (0_usize, 0_usize);
    loop {
        // SAFETY: the text ends with a zero byte, at which this returns.
        let byte = unsafe { *text.add(length) };
        match byte {
            0 => return if length == 0 { None } else { Some((value, length)) },
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add((byte - b'0') as usize)?,
            _ => return None,
        }
        length += 1;
    }
}

fn end(code: i32) -> ! {
    loop {
        call(number::EXIT_GROUP, i64::from(code), 0, 0, 0);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn call(number: i64, a: i64, b: i64, c: i64, d: i64) -> i64 {
    let result;
    // SAFETY: every pointer handed over points at a live local, a constant or what the kernel put
    // on the stack, and the kernel keeps none of them.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, out("rcx") _, out("r11") _);
    }
    result
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn call(number: i64, a: i64, b: i64, c: i64, d: i64) -> i64 {
    let result;
    // SAFETY: every pointer handed over points at a live local, a constant or what the kernel put
    // on the stack, and the kernel keeps none of them.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d);
    }
    result
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    end(255)
}
