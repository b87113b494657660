//! Measures what a container costs: runs of `true` from a static busybox, with a fresh overlay each, in microseconds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rondel_ports::CancellationToken;
use rondel_ports::process::{ProcessSpec, ProcessStdin, Processes};
use rondel_sandbox::{Sandbox, SandboxOptions};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

const RUNS: usize = 200;
const WARM_UP: usize = 10;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let lower = home.path().join("lower");
    for directory in ["bin", "etc", "proc", "sys", "dev"] {
        std::fs::create_dir_all(lower.join(directory)).unwrap();
    }
    for file in ["hosts", "hostname", "resolv.conf"] {
        std::fs::write(lower.join("etc").join(file), "").unwrap();
    }
    let path = std::env::var_os("PATH").unwrap();
    let busybox = std::env::split_paths(&path).map(|directory| directory.join("busybox")).find(|file| file.exists());
    std::fs::copy(busybox.expect("a static `busybox` in `PATH`"), lower.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", lower.join("bin/true")).unwrap();
    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let own_network = std::sync::Arc::new(OwnedFd::from(std::fs::File::open("/proc/self/ns/net").unwrap()));
    for (title, network, no_init) in [
        ("new network namespace, init", None, false),
        ("given network namespace, no init", Some(own_network.clone()), true),
        ("given network namespace, init", Some(own_network), false),
    ] {
        let mut times: Vec<u128> = (0..WARM_UP + RUNS)
            .map(|run| {
                let upper = home.path().join(format!("{no_init}{}{run}", network.is_some()));
                for name in ["upper", "work"] {
                    std::fs::create_dir_all(upper.join(name)).unwrap();
                }
                let start = Instant::now();
                let mut spec = spec(overlay(&lower, &upper));
                (spec.network, spec.no_init) = (network.clone(), no_init);
                let exit = runtime.block_on(sandbox.run(spec, CancellationToken::new())).unwrap();
                assert_eq!(exit.code, 0);
                start.elapsed().as_micros()
            })
            .skip(WARM_UP)
            .collect();
        times.sort_unstable();
        println!("{title:<34} p50 {:>6} µs   p95 {:>6} µs   {RUNS} runs", times[RUNS / 2], times[RUNS * 95 / 100]);
    }
}

fn overlay(lower: &Path, upper: &Path) -> OwnedFd {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in
        [("lowerdir", lower.to_owned()), ("upperdir", upper.join("upper")), ("workdir", upper.join("work"))]
    {
        fsconfig_set_string(context.as_fd(), key, value).unwrap();
    }
    // Without it the kernel writes the whole disk out when the overlay goes.
    fsconfig_set_flag(context.as_fd(), "volatile").unwrap();
    fsconfig_create(context.as_fd()).unwrap();
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

fn spec(root: OwnedFd) -> ProcessSpec {
    ProcessSpec {
        root,
        mounts: Vec::new(),
        args: vec!["true".into()],
        env: vec![("PATH".into(), "/bin".into())],
        workdir: "/".into(),
        user: String::new(),
        hostname: "box".into(),
        insecure: false,
        no_init: false,
        network: None,
        resolv_conf: Some("nameserver 127.0.0.1\n".into()),
        hosts: Vec::new(),
        stdin: ProcessStdin::Empty,
        control: None,
        stdout: Box::new(|_| {}),
        stderr: Box::new(|_| {}),
    }
}
