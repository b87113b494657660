//! Pid 1 of a container. The command is its only child already, process 2 of the namespace: this program passes signals on to
//! it, reaps what is orphaned, and ends as the command ends.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

/// The command: the first process that pid 1 made.
const COMMAND: i64 = 2;
const BLOCK: i64 = 0;
const WNOHANG: i64 = 1;
const ECHILD: i64 = -10;
const SIGUSR1: i64 = 10;
const SIGCHLD: i64 = 17;
const SIGTTIN: i64 = 21;
const SIGTTOU: i64 = 22;
const PR_SET_NAME: i64 = 15;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const RT_SIGPROCMASK: i64 = 14;
    pub const RT_SIGTIMEDWAIT: i64 = 128;
    pub const WAIT4: i64 = 61;
    pub const KILL: i64 = 62;
    pub const PRCTL: i64 = 157;
    pub const EXIT_GROUP: i64 = 231;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const RT_SIGPROCMASK: i64 = 135;
    pub const RT_SIGTIMEDWAIT: i64 = 137;
    pub const WAIT4: i64 = 260;
    pub const KILL: i64 = 129;
    pub const PRCTL: i64 = 167;
    pub const EXIT_GROUP: i64 = 94;
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", main = sym main);

#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "bl {main}", main = sym main);

extern "C" fn main() -> ! {
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

fn end(code: i32) -> ! {
    loop {
        call(number::EXIT_GROUP, i64::from(code), 0, 0, 0);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn call(number: i64, a: i64, b: i64, c: i64, d: i64) -> i64 {
    let result;
    // SAFETY: every pointer handed over points at a live local or a constant, and the kernel keeps none of them.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, out("rcx") _, out("r11") _);
    }
    result
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn call(number: i64, a: i64, b: i64, c: i64, d: i64) -> i64 {
    let result;
    // SAFETY: every pointer handed over points at a live local or a constant, and the kernel keeps none of them.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d);
    }
    result
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    end(255)
}
