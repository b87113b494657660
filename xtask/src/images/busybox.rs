//! Busybox from scratch: the static program of the package `busybox-static`, its applets as links,
//! and accounts.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Built, EPOCH, PATH_VARIABLE, Recipe, apt_options, run_command, text_of};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
                      bin:x:2:2:bin:/bin:/bin/false\n\
                      www-data:x:33:33:www-data:/var/www:/bin/false\n\
                      nobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n";
const SHADOW: &str = "root:*:::::::\ndaemon:*:::::::\nbin:*:::::::\nwww-data:*:::::::\nnobody:*:::::::\n";

pub(super) fn recipe() -> Result<Recipe, String> {
    Ok(Recipe {
        name: "busybox",
        text: format!("busybox-static, applet links\n{PASSWD}{GROUP}{SHADOW}2"),
        environment: vec![PATH_VARIABLE.into()],
        command: vec!["sh".into()],
        working_dir: "",
        build: Box::new(build),
    })
}

fn build(scratch: &Path) -> Result<Built, String> {
    let program = find(scratch)?;
    let tree = scratch.join("tree");
    let wrong = |e: std::io::Error| format!("cannot put busybox together in `{}`: {e}", tree.display());
    for folder in ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr/bin", "usr/sbin", "var/www"] {
        fs::create_dir_all(tree.join(folder)).map_err(wrong)?;
    }
    symlink("bin", tree.join("sbin")).map_err(wrong)?;
    let inside = tree.join("bin/busybox");
    fs::copy(&program, &inside).map_err(wrong)?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).map_err(wrong)?;
    // The program is asked where it was found: a process that another thread starts just now may
    // still hold the copy open for writing, and what is open for writing cannot be run.
    for applet in text_of(Command::new(&program).arg("--list"))?.lines().filter(|a| *a != "busybox") {
        symlink("busybox", tree.join("bin").join(applet)).map_err(wrong)?;
    }
    symlink("../../bin/env", tree.join("usr/bin/env")).map_err(wrong)?;
    for (name, text) in [("passwd", PASSWD), ("group", GROUP), ("shadow", SHADOW)] {
        fs::write(tree.join("etc").join(name), text).map_err(wrong)?;
    }
    for (name, mode) in [("tmp", 0o1777), ("root", 0o700), ("etc/shadow", 0o640)] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).map_err(wrong)?;
    }
    let tar = scratch.join("layer.tar");
    let mut pack = Command::new("tar");
    pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=posix"])
        .arg("--pax-option=delete=atime,delete=ctime")
        .arg(format!("--mtime=@{EPOCH}"));
    run_command(pack.arg("-C").arg(&tree).arg("-cf").arg(&tar).arg("."))?;
    let name = "docker.io/library/busybox";
    let references = vec![format!("{name}:latest"), format!("{name}:{}", release(&program)?)];
    Ok(Built { layers: vec![tar], references })
}

/// The machine's own busybox when it is a static one, else that of the package.
fn find(scratch: &Path) -> Result<PathBuf, String> {
    let own = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    if let Some(own) = own.into_iter().find(|p| p.exists() && is_static(p)) {
        return Ok(own);
    }
    let mut download = Command::new("apt-get");
    run_command(download.args(apt_options()).args(["-qq", "download", "busybox-static"]).current_dir(scratch))?;
    let files = fs::read_dir(scratch).map_err(|e| format!("cannot list `{}`: {e}", scratch.display()))?;
    let package = files.filter_map(Result::ok).map(|f| f.path()).find(|p| p.extension().is_some_and(|e| e == "deb"));
    let package = package.ok_or("apt-get downloaded no package `busybox-static`")?;
    let unpacked = scratch.join("unpacked");
    run_command(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked))?;
    let places = ["bin/busybox", "usr/bin/busybox"].map(|p| unpacked.join(p));
    places.into_iter().find(|p| p.exists()).ok_or_else(|| "the package `busybox-static` holds no busybox".into())
}

/// A static ELF program names no interpreter.
fn is_static(program: &Path) -> bool {
    fs::read(program).is_ok_and(|bytes| !bytes.windows(8).take(4096).any(|w| w == b"/lib64/l" || w == b"/lib/ld-"))
}

/// Major and minor version, such as `1.35`.
fn release(program: &Path) -> Result<String, String> {
    let said = text_of(Command::new(program).arg("--help"))?;
    let version = said.split_whitespace().nth(1).unwrap_or_default().trim_start_matches('v');
    let parts: Vec<&str> = version.splitn(3, '.').collect();
    match parts.as_slice() {
        [major, minor, ..] => Ok(format!("{major}.{minor}")),
        _ => Err(format!("busybox tells no version: `{version}`")),
    }
}
