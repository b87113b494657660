//! Images of a Debian release, put together by mmdebstrap.

use std::path::Path;
use std::process::Command;

use super::{Built, EPOCH, PATH_VARIABLE, Recipe, apt_options, is_root, run_command, text_of};

/// What a slim image does without.
pub(super) const SLIM: &str = "rm -rf \"$1\"/usr/share/doc/* \"$1\"/usr/share/man/* \"$1\"/usr/share/locale/* \
                    \"$1\"/usr/share/info/* \"$1\"/var/cache/apt/*.bin \"$1\"/var/log/*.log \"$1\"/var/log/apt/*";
/// `python` and `pip` by their usual names, and packages may be installed beside those of the
/// system.
const PYTHON: &str = "ln -s /usr/bin/python3 \"$1\"/usr/local/bin/python; \
                      ln -s /usr/bin/pip3 \"$1\"/usr/local/bin/pip; \
                      rm -f \"$1\"/usr/lib/python3*/EXTERNALLY-MANAGED";

/// `debian:bookworm-slim`.
pub(super) fn slim() -> Recipe {
    let references = &["docker.io/library/debian:bookworm-slim"];
    recipe("debian", "bookworm", &["ca-certificates"], &[SLIM], references, "bash", Check::None)
}

const PYTHON_PACKAGES: &[&str] = &["python3-minimal", "python3-pip", "python3-venv", "ca-certificates"];

/// `python:3.13-slim`, on trixie.
pub(super) fn python() -> Recipe {
    let references = &["docker.io/library/python:3.13-slim", "docker.io/library/python:3.13-slim-trixie"];
    recipe("python", "trixie", PYTHON_PACKAGES, &[SLIM, PYTHON], references, "python3", Check::Python("python3.13"))
}

/// `python:3.11-slim`, on bookworm: for projects that say how old their Python may be.
pub(super) fn older_python() -> Recipe {
    let references = &["docker.io/library/python:3.11-slim", "docker.io/library/python:3.11-slim-bookworm"];
    let check = Check::Python("python3.11");
    recipe("python-3.11", "bookworm", PYTHON_PACKAGES, &[SLIM, PYTHON], references, "python3", check)
}

/// A database and its client of Debian bookworm, for `scripts/services`. Its name says what it is,
/// and is no project's own.
pub(super) fn redis() -> Recipe {
    let packages = &["redis-server", "redis-tools"];
    let references = &["localhost/debian-redis:bookworm"];
    recipe("redis", "bookworm", packages, &[SLIM], references, "bash", Check::None)
}

/// `debian:bullseye-slim`, for `scripts/release --check`: its C library is older than that of most
/// machines that build.
pub(super) fn older() -> Recipe {
    let references = &["docker.io/library/debian:bullseye-slim"];
    recipe("debian-11", "bullseye", &["ca-certificates"], &[SLIM], references, "bash", Check::None)
}

/// What must be inside for the names to be true.
#[derive(Clone, Copy)]
enum Check {
    None,
    Python(&'static str),
}

fn recipe(
    name: &'static str,
    suite: &'static str,
    packages: &'static [&'static str],
    hooks: &'static [&'static str],
    references: &'static [&'static str],
    command: &str,
    check: Check,
) -> Recipe {
    Recipe {
        name,
        text: format!("mmdebstrap {suite} {}\n{hooks:?} {references:?} 1", packages.join(",")),
        environment: vec![PATH_VARIABLE.into(), "LANG=C.UTF-8".into()],
        command: vec![command.into()],
        working_dir: "",
        build: Box::new(move |scratch| {
            let tar = scratch.join("layer.tar");
            strap(scratch, suite, packages, hooks, &tar)?;
            if let Check::Python(program) = check {
                let listed = text_of(Command::new("tar").arg("-tf").arg(&tar))?;
                if !listed.lines().any(|l| l.trim_start_matches("./") == format!("usr/bin/{program}")) {
                    return Err(format!("Debian {suite} has no `{program}` any more; adapt the recipe `{name}`"));
                }
            }
            Ok(Built { layers: vec![tar], references: references.iter().map(|r| (*r).to_owned()).collect() })
        }),
    }
}

/// Makes the root file system of a Debian suite with `packages`.
pub(super) fn strap(scratch: &Path, suite: &str, packages: &[&str], hooks: &[&str], tar: &Path) -> Result<(), String> {
    let mirror = mirror()?;
    let mut build = Command::new("mmdebstrap");
    build
        .env("TMPDIR", scratch)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .arg(format!("--mode={}", if is_root() { "root" } else { "unshare" }))
        .args(["--quiet", "--variant=apt"])
        .arg(format!("--include={}", packages.join(",")))
        .arg("--aptopt=APT::Install-Recommends \"false\"");
    for option in apt_options().into_iter().filter(|o| *o != "-o").chain(own_options()?.iter().map(String::as_str)) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        build.arg(format!("--aptopt={name} \"{value}\""));
    }
    for path in ["doc", "man", "locale", "info"] {
        build.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
    }
    for hook in hooks {
        build.arg(format!("--customize-hook={hook}"));
    }
    run_command(build.arg(suite).arg(tar).arg(format!("deb {mirror} {suite} main")))
}

/// Where this machine gets its own Debian packages from.
fn mirror() -> Result<String, String> {
    let format = "$(ORIGIN) $(COMPONENT) $(RELEASE) $(REPO_URI)";
    let listed = text_of(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let plain = |suite: &str| !suite.contains(['-', '/']);
    let found = listed.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["Debian", "main", suite, uri] if plain(suite) => Some((*uri).to_owned()),
        _ => None,
    });
    found.ok_or_else(|| {
        "this machine's apt knows no Debian mirror (or `apt-get update` never ran), so no base images can be made; \
         with an image registry in reach they are not needed"
            .into()
    })
}

/// How this machine's apt reaches its mirror: proxies and certificates.
fn own_options() -> Result<Vec<String>, String> {
    let dump = text_of(Command::new("apt-config").args(["dump", "Acquire"]))?;
    let wanted = ["acquire::http", "acquire::https"];
    let options = dump.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        let value = value.trim_end_matches(';').trim_matches('"');
        let lower = name.to_lowercase();
        let useful = wanted.iter().any(|w| lower.starts_with(w)) && !value.is_empty() && value != "0";
        useful.then(|| format!("{name}={value}"))
    });
    Ok(options.collect())
}
