//! An ordinary user's engine, played by `examples/network_probe.rs` on a machine of the tests' own.
//!
//! User, id ranges and `/dev/net/tun` exist in a mount namespace of the test only. The machine
//! needs root.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::namespace;
use crate::test_machine::{MACHINE, Machine, WORLD, name_server, on_machine, server, wait_until};
use std::os::fd::AsFd;

const USER: u32 = 12_345;
const SET_UP: &str = "set -e
mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200
mount --bind $PROBE $FOLDER/network_probe
mount --bind $FOLDER/passwd /etc/passwd && mount --bind $FOLDER/subid /etc/subuid && mount --bind $FOLDER/subid /etc/subgid
exec setpriv --reuid $ID --regid $ID --clear-groups --inh-caps=-all env PATH=$FOLDER/bin $FOLDER/network_probe \"$@\"";

/// What the user's machine offers.
#[derive(Clone, Copy)]
struct Offer {
    programs: &'static [&'static str],
    ranges: bool,
}

const MAPPERS: [&str; 2] = ["newuidmap", "newgidmap"];

fn folder(machine: &Machine, offer: Offer) -> PathBuf {
    let folder = machine.folder.path().to_owned();
    std::fs::write(folder.join("passwd"), format!("root:x:0:0::/root:/bin/sh\nprobe:x:{USER}:{USER}::/tmp:/bin/sh\n"))
        .unwrap();
    std::fs::write(folder.join("subid"), if offer.ranges { "probe:700000:65536\n" } else { "" }).unwrap();
    std::fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.77\noptions ndots:2\n").unwrap();
    // A place for the probe. A copy could not be run while a process that another test starts has
    // inherited the writer's handle.
    std::fs::write(folder.join("network_probe"), "").unwrap();
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in offer.programs.iter().chain(&MAPPERS) {
        let found = ["/usr/bin", "/bin", "/usr/local/bin"]
            .iter()
            .map(|place| Path::new(place).join(program))
            .find(|path| path.exists());
        symlink(found.unwrap_or_else(|| panic!("`{program}` is not installed")), bin.join(program)).unwrap();
    }
    symlink("/usr/bin/env", bin.join("env")).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(folder.join("state")).unwrap();
    chown(folder.join("state"), Some(USER), Some(USER)).unwrap();
    folder
}

fn start(folder: &Path, words: &[&str]) -> Child {
    let probe = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/network_probe");
    assert!(probe.exists(), "`cargo test -p rondel-network` builds the example");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SET_UP, "probe"]).args(words);
    command.env("FOLDER", folder).env("PROBE", probe).env("ID", USER.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

fn check_reach(offer: Offer, expected: &[&str]) {
    on_machine(|machine| {
        name_server("127.0.0.77");
        let outside = namespace::inside(machine.world.as_fd(), || server(WORLD)).unwrap().to_string();
        let folder = folder(machine, offer);
        let (state, resolv_conf) = (folder.join("state"), folder.join("resolv.conf"));
        let here = server(MACHINE).unwrap().to_string();
        let child = start(&folder, &["reach", state.to_str().unwrap(), resolv_conf.to_str().unwrap(), &outside, &here]);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        assert_eq!(lines, expected, "{said}");
        assert!(output.status.success());
        assert!(!state.join("network-helper").exists());
    });
}

const CONNECTED: [&str; 9] = [
    "user: 0",
    "address: Some(10.87.0.2)",
    "resolv.conf: Some(\"nameserver 10.87.0.1\\noptions ndots:2\\n\")",
    "note: None",
    "listener: 127.0.0.1",
    "server: 198.51.100.1",
    "names: 19 bytes, answer true",
    "mtu 1400: true",
    "machine: false",
];

#[test]
fn a_user_gets_out_through_each_helper() {
    assert_eq!(MACHINE.to_string(), "198.51.100.1");
    for program in [&["slirp4netns"], &["pasta"]] {
        for (ranges, first) in [(true, "mapped range: true"), (false, "mapped range: false")] {
            let expected: Vec<_> = std::iter::once(first).chain(CONNECTED).collect();
            check_reach(Offer { programs: program, ranges }, &expected);
        }
    }
}

#[test]
fn a_user_without_helpers_gets_loopback_and_a_note() {
    check_reach(
        Offer { programs: &[], ranges: true },
        &[
            "mapped range: true",
            "user: 0",
            "address: None",
            "resolv.conf: None",
            "note: Some(\"containers have no network; install `slirp4netns` or `passt`, then restart the engine\")",
            "listener: 127.0.0.1",
        ],
    );
}

#[test]
fn the_status_is_passed_on() {
    on_machine(|machine| {
        let folder = folder(machine, Offer { programs: &[], ranges: true });
        let output = start(&folder, &["exit", "7"]).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

#[test]
fn signals_are_passed_on() {
    on_machine(|machine| {
        let folder = folder(machine, Offer { programs: &[], ranges: false });
        let mut child = start(&folder, &["wait"]);
        assert_eq!(first_line(&mut child), "waiting\n");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        // Waiting closes the input, whose end would end it as well.
        let input = child.stdin.take();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        drop(input);
    });
}

#[test]
fn a_killed_engine_takes_its_helper_along() {
    for program in [&["slirp4netns"], &["pasta"]] {
        on_machine(|machine| {
            let folder = folder(machine, Offer { programs: program, ranges: true });
            let (state, resolv_conf) = (folder.join("state"), folder.join("resolv.conf"));
            let words = ["hold", state.to_str().unwrap(), resolv_conf.to_str().unwrap()];
            let mut child = start(&folder, &words);
            assert_eq!(first_line(&mut child), "waiting\n");
            let record = std::fs::read_to_string(state.join("network-helper")).unwrap();
            let helper = PathBuf::from(format!("/proc/{}", record.split_whitespace().next().unwrap()));
            assert!(helper.exists());
            child.kill().unwrap();
            child.wait().unwrap();
            let mut rest = Vec::new();
            child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
            wait_until("the helper ends", || !helper.exists());

            let mut next = start(&folder, &words);
            assert_eq!(first_line(&mut next), "waiting\n", "the next run starts over what was left");
            drop(next.stdin.take());
            assert!(next.wait().unwrap().success());
        });
    }
}
