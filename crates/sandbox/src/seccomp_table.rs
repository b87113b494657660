//! The seccomp profile as data: the default profile that container engines publish, for a container
//! without `CAP_SYS_ADMIN` and similar capabilities. Calls that are not listed fail with `EPERM`. A
//! test compares this table with the published profile in `data/default_profile.tsv`: change both.

use libc::c_long;

/// The rule for one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyscallRule {
    /// It is allowed.
    Allowed,
    /// It fails with `EPERM`.
    Refused,
    /// It fails with `ENOSYS`, so that programs fall back to an older call.
    Missing,
    /// It is allowed if its first argument has none of these bits, else refused.
    FirstArgumentHasNone(u32),
    /// It is allowed if its first argument is none of these, else refused.
    FirstArgumentIsNoneOf(&'static [u32]),
    /// It is allowed if its first argument is one of these, else refused.
    FirstArgumentIsOneOf(&'static [u32]),
}

/// The last system call that the published profile covers. Later ones fail with `ENOSYS`, so that
/// programs fall back.
pub(crate) const LAST_KNOWN: c_long = 466;

#[cfg(target_arch = "x86_64")]
const IO_PGETEVENTS: c_long = 333;
#[cfg(target_arch = "aarch64")]
const IO_PGETEVENTS: c_long = 292;

/// Calls that the `libc` crate has no constant for. From 424 on, numbers are the same on every
/// architecture.
const UNNAMED: &[(&str, c_long)] = &[
    ("SYS_io_pgetevents", IO_PGETEVENTS),
    ("SYS_cachestat", 451),
    ("SYS_fchmodat2", 452),
    ("SYS_map_shadow_stack", 453),
    ("SYS_futex_wake", 454),
    ("SYS_futex_wait", 455),
    ("SYS_futex_requeue", 456),
    ("SYS_statmount", 457),
    ("SYS_listmount", 458),
    ("SYS_mseal", 462),
    ("SYS_setxattrat", 463),
    ("SYS_getxattrat", 464),
    ("SYS_listxattrat", 465),
    ("SYS_removexattrat", 466),
];

/// Socket families that a container may not use: `AF_ALG`, the kernel's cryptography, which had
/// many vulnerabilities, and `AF_VSOCK`, which would reach other virtual machines past the
/// container's network.
const REFUSED_FAMILIES: &[u32] = &[libc::AF_ALG as u32, libc::AF_VSOCK as u32];

/// Every `CLONE_NEW…` flag: namespaces need `CAP_SYS_ADMIN`.
const NAMESPACE_FLAGS: u32 = 0x7E02_0000;

/// Calls with another rule than always allowed or refused.
pub(crate) fn conditional() -> Vec<(c_long, SyscallRule)> {
    vec![
        (libc::SYS_clone, SyscallRule::FirstArgumentHasNone(NAMESPACE_FLAGS)),
        (libc::SYS_clone3, SyscallRule::Missing),
        (libc::SYS_personality, SyscallRule::FirstArgumentIsOneOf(&[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff])),
        (libc::SYS_socket, SyscallRule::FirstArgumentIsNoneOf(REFUSED_FAMILIES)),
    ]
}

/// Calls that are always allowed.
pub(crate) fn allowed() -> impl Iterator<Item = c_long> {
    named().map(|(_, number)| number)
}

fn named() -> impl Iterator<Item = (&'static str, c_long)> {
    COMMON.iter().chain(OF_ARCHITECTURE).chain(UNNAMED_OF_ARCHITECTURE).chain(UNNAMED).copied()
}

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

#[rustfmt::skip]
const COMMON: &[(&str, c_long)] = calls![
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_chroot SYS_clock_adjtime
    SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup
    SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit
    SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fanotify_mark SYS_fchdir SYS_fchmod
    SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr
    SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_getcpu SYS_getcwd SYS_getdents64
    SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid
    SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit SYS_get_robust_list SYS_getrusage SYS_getsid
    SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch
    SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel SYS_ioctl SYS_io_destroy SYS_io_getevents
    SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek
    SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock
    SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive
    SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall
    SYS_munmap SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open SYS_pidfd_send_signal
    SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2
    SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64
    SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg
    SYS_remap_file_pages SYS_removexattr SYS_renameat SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_get_priority_max
    SYS_sched_get_priority_min SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr
    SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop SYS_semtimedop
    SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer
    SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setrlimit SYS_set_robust_list
    SYS_setsid SYS_setsockopt SYS_set_tid_address SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget
    SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync
    SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete SYS_timer_getoverrun
    SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill
    SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
];

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OF_ARCHITECTURE: &[(&str, c_long)] = calls![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_get_thread_area
    SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe SYS_poll
    SYS_readlink SYS_rename SYS_rmdir SYS_select SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink
    SYS_utime SYS_utimes SYS_vfork
];

#[cfg(target_arch = "x86_64")]
const UNNAMED_OF_ARCHITECTURE: &[(&str, c_long)] = &[("SYS_uretprobe", 335)];

#[cfg(not(target_arch = "x86_64"))]
const OF_ARCHITECTURE: &[(&str, c_long)] = &[];
#[cfg(not(target_arch = "x86_64"))]
const UNNAMED_OF_ARCHITECTURE: &[(&str, c_long)] = &[];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PUBLISHED: &str = include_str!("../data/default_profile.tsv");

    fn number(text: &str) -> u32 {
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u32::from_str_radix(digits, 16));
        parsed.unwrap_or_else(|_| panic!("`{text}` is no number"))
    }

    /// The rules of this table by the names of their calls, in the words of the published list.
    fn ours() -> BTreeMap<&'static str, String> {
        let mut rules: BTreeMap<_, _> =
            named().map(|(name, _)| (&name["SYS_".len()..], "allowed".to_owned())).collect();
        let names = [
            (libc::SYS_clone, "clone"),
            (libc::SYS_clone3, "clone3"),
            (libc::SYS_personality, "personality"),
            (libc::SYS_socket, "socket"),
        ];
        for (call, rule) in conditional() {
            let name = names.iter().find(|(number, _)| *number == call).map(|(_, name)| *name);
            rules.insert(name.expect("a call with a condition has a name above"), format!("{rule:?}"));
        }
        rules
    }

    /// A rule of the published list as this table writes it. `None` if the call is refused.
    fn rule(written: &str) -> Option<String> {
        let (kind, arguments) = written.split_once(' ').unwrap_or((written, ""));
        let numbers: Vec<u32> =
            if kind == "needs" { Vec::new() } else { arguments.split_whitespace().map(number).collect() };
        match kind {
            "allowed" => Some("allowed".into()),
            "needs" => None,
            "missing" => Some(format!("{:?}", SyscallRule::Missing)),
            "no-bits" => Some(format!("{:?}", SyscallRule::FirstArgumentHasNone(numbers[0]))),
            "none-of" => Some(format!("{:?}", SyscallRule::FirstArgumentIsNoneOf(numbers.leak()))),
            "one-of" => Some(format!("{:?}", SyscallRule::FirstArgumentIsOneOf(numbers.leak()))),
            other => panic!("unknown rule `{other}`"),
        }
    }

    #[test]
    fn the_table_is_the_published_profile() {
        let mut ours = ours();
        for line in PUBLISHED.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, architecture, written] = *fields else { panic!("`{line}` has not three columns") };
            if architecture == "any" || architecture == std::env::consts::ARCH {
                assert_eq!(ours.remove(name), rule(written), "`{name}`");
            }
        }
        assert_eq!(ours, BTreeMap::new(), "calls that the published profile refuses");
    }
}
