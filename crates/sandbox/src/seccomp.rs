//! Compiles the seccomp filter: the table of system calls as a BPF program. It is a binary search
//! over ranges of numbers, so it is short (the kernel runs it once per call number when it is
//! installed) and fast.

use std::collections::BTreeMap;

use libc::{c_long, sock_filter};

use crate::seccomp_table::{LAST_KNOWN, SyscallRule, allowed, conditional};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const MISS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The default profile, compiled.
pub(crate) fn compile() -> Vec<sock_filter> {
    let mut program = vec![
        plain(LOAD, OFFSET_ARCHITECTURE),
        branch(IF_EQUAL, ARCHITECTURE, 1, 0),
        plain(RETURN, MISS),
        plain(LOAD, OFFSET_NUMBER),
    ];
    program.extend(search(&ranges()));
    program
}

/// The start and the rule of each range of numbers, ascending. Adjacent ranges have different
/// rules.
fn ranges() -> Vec<(u32, SyscallRule)> {
    let mut rules: BTreeMap<c_long, SyscallRule> = allowed().map(|number| (number, SyscallRule::Allowed)).collect();
    rules.extend(conditional());
    let mut ranges: Vec<(u32, SyscallRule)> = Vec::new();
    for number in 0..=LAST_KNOWN + 1 {
        let rule = if number > LAST_KNOWN {
            SyscallRule::Missing
        } else {
            rules.get(&number).copied().unwrap_or(SyscallRule::Refused)
        };
        if ranges.last().is_none_or(|(_, last)| *last != rule) {
            ranges.push((number as u32, rule));
        }
    }
    ranges
}

fn search(ranges: &[(u32, SyscallRule)]) -> Vec<sock_filter> {
    if let [(_, rule)] = ranges {
        return verdict(*rule);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let below = search(low);
    let mut code = Vec::new();
    let Some((start, _)) = high.first() else { return below };
    match u8::try_from(below.len()) {
        Ok(length) => code.push(branch(IF_AT_LEAST, *start, length, 0)),
        Err(_) => code.extend([branch(IF_AT_LEAST, *start, 0, 1), plain(JUMP, below.len() as u32)]),
    }
    code.extend(below);
    code.extend(search(high));
    code
}

fn verdict(rule: SyscallRule) -> Vec<sock_filter> {
    let first = plain(LOAD, OFFSET_FIRST_ARGUMENT);
    match rule {
        SyscallRule::Allowed => vec![plain(RETURN, ALLOW)],
        SyscallRule::Refused => vec![plain(RETURN, REFUSE)],
        SyscallRule::Missing => vec![plain(RETURN, MISS)],
        SyscallRule::FirstArgumentHasNone(bits) => {
            vec![first, branch(IF_ANY_BIT, bits, 1, 0), plain(RETURN, ALLOW), plain(RETURN, REFUSE)]
        }
        SyscallRule::FirstArgumentIsNoneOf(values) => by_value(values, REFUSE, ALLOW),
        SyscallRule::FirstArgumentIsOneOf(values) => by_value(values, ALLOW, REFUSE),
    }
}

/// Decides by whether the first argument is one of `values`.
fn by_value(values: &[u32], listed: u32, other: u32) -> Vec<sock_filter> {
    let mut code = vec![plain(LOAD, OFFSET_FIRST_ARGUMENT)];
    for value in values {
        code.extend([branch(IF_EQUAL, *value, 0, 1), plain(RETURN, listed)]);
    }
    code.push(plain(RETURN, other));
    code
}

fn plain(code: u16, k: u32) -> sock_filter {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict that the kernel would return.
    fn judge(program: &[sock_filter], architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |taken: bool| if taken { jt as usize } else { jf as usize };
            match code {
                LOAD => accumulator = [number, architecture, 0, 0, argument][k as usize / 4],
                RETURN => return k,
                JUMP => at += k as usize,
                IF_EQUAL => at += jump(accumulator == k),
                IF_AT_LEAST => at += jump(accumulator >= k),
                IF_ANY_BIT => at += jump(accumulator & k != 0),
                other => panic!("instruction {other}"),
            }
        }
    }

    #[test]
    fn every_number_gets_its_rule() {
        let program = compile();
        assert!(program.len() < 600, "{} instructions", program.len());
        let table: Vec<c_long> = allowed().collect();
        for number in 0..=600 {
            if conditional().iter().any(|(call, _)| *call == number) {
                continue;
            }
            let expected = match number {
                _ if table.contains(&number) => ALLOW,
                _ if number > LAST_KNOWN => MISS,
                _ => REFUSE,
            };
            assert_eq!(judge(&program, ARCHITECTURE, number as u32, 0), expected, "call {number}");
        }
        assert_eq!(judge(&program, ARCHITECTURE, u32::MAX, 0), MISS);
        assert_eq!(judge(&program, 0x4000_0003, 1, 0), MISS, "another architecture");
    }

    #[test]
    fn conditions_look_at_the_argument() {
        let program = compile();
        let cases = [
            (libc::SYS_clone, libc::CLONE_VM as u32 | 17, ALLOW),
            (libc::SYS_clone, libc::CLONE_NEWUSER as u32 | 17, REFUSE),
            (libc::SYS_clone, libc::CLONE_NEWCGROUP as u32, REFUSE),
            (libc::SYS_clone3, 0, MISS),
            (libc::SYS_socket, libc::AF_INET as u32, ALLOW),
            (libc::SYS_socket, libc::AF_VSOCK as u32, REFUSE),
            (libc::SYS_socket, libc::AF_ALG as u32, REFUSE),
            (libc::SYS_socket, 39, ALLOW),
            (libc::SYS_socket, 41, ALLOW),
            (libc::SYS_personality, 0, ALLOW),
            (libc::SYS_personality, 0xffff_ffff, ALLOW),
            (libc::SYS_personality, 0x40000, REFUSE),
            (libc::SYS_mount, 0, REFUSE),
            (libc::SYS_unshare, 0, REFUSE),
            (libc::SYS_keyctl, 0, REFUSE),
            (libc::SYS_bpf, 0, REFUSE),
            (libc::SYS_io_uring_setup, 0, REFUSE),
        ];
        for (number, argument, expected) in cases {
            assert_eq!(
                judge(&program, ARCHITECTURE, number as u32, argument),
                expected,
                "call {number} with {argument:#x}"
            );
        }
    }
}
