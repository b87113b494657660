//! The same work as image builders do it: builds of Dockerfiles, images in and out, folders into
//! images. Each row of ours is followed by that of `buildah`, when it is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::engine::Engine;
use crate::peers::find;
use crate::samples::{Row, Samples};

/// The base image of the builds.
const BASE: &str = "docker.io/library/busybox:latest";
/// The largest of the base images.
const LARGE: &str = "docker.io/library/python:3.13-slim";
/// How many files the large folder has, in folders of a thousand.
const FILES: usize = 100_000;

/// Ten steps: nothing known, everything known, the last one changed.
pub(crate) fn steps(engine: &Engine) -> Result<Vec<Row>, String> {
    let folder = made(engine.folder().join("steps"))?;
    let write = |first: usize, last: usize| {
        let step = |at: usize| match at {
            0 => format!("RUN echo {first} > /first\n"),
            9 => format!("RUN echo {last} > /last\n"),
            at => format!("RUN echo {at} > /step{at}\n"),
        };
        let text: String = (0..10).map(step).collect();
        written(&folder.join("Dockerfile"), &format!("FROM {BASE}\n{text}"))
    };
    compared(engine, &folder, "build of 10 steps", |builder, rows, label| {
        let run = |at: usize, first: usize| write(first, at).and_then(|()| builder.build(engine, &folder));
        run(0, 0)?;
        let cold = Samples::of(engine.runs(10), |at| run(at, at + 1))?;
        let last = engine.runs(10);
        let cached = Samples::of(engine.runs(20), |_| run(last - 1, last))?;
        let changed = Samples::of(engine.runs(20), |at| run(1000 + at, last))?;
        for (state, samples) in [("cold", cold), ("nothing changed", cached), ("the last changed", changed)] {
            rows.push(Row::time(&label(state), None, &samples));
        }
        Ok(())
    })
}

/// A long chain of steps, as an image builder has it.
pub(crate) fn long(engine: &Engine) -> Result<Vec<Row>, String> {
    const LENGTH: usize = 100;
    let folder = made(engine.folder().join("long"))?;
    compared(engine, &folder, "build of 100 chained steps", |builder, rows, label| {
        let samples = Samples::of(engine.runs(3).min(3), |run| {
            let text: String = (0..LENGTH).map(|at| format!("RUN true {run} {at}\n")).collect();
            written(&folder.join("Dockerfile"), &format!("FROM {BASE}\n{text}"))?;
            builder.build(engine, &folder)
        })?;
        rows.push(Row::time(&label("cold"), None, &samples));
        Ok(())
    })
}

/// A large folder copied into an image: for the first time, unchanged, and with one file changed.
pub(crate) fn folder(engine: &Engine) -> Result<Vec<Row>, String> {
    let folder = made(engine.folder().join("large"))?;
    for at in 0..FILES {
        let (outer, name) = (folder.join(format!("d{}", at / 1000)), format!("f{}", at % 1000));
        if at % 1000 == 0 {
            made(outer.clone())?;
        }
        written(&outer.join(name), &format!("{at}"))?;
    }
    written(&folder.join("Dockerfile"), &format!("FROM {BASE}\nCOPY . /files\n"))?;
    compared(engine, &folder, "COPY of 100,000 files", |builder, rows, label| {
        let build = |_: usize| builder.build(engine, &folder);
        let cold = Samples::of(1, build)?;
        let unchanged = Samples::of(engine.runs(5).min(5), build)?;
        let changed = Samples::of(engine.runs(5).min(5), |at| {
            written(&folder.join("d7/f7"), &format!("changed {} {at}", builder.name())).and_then(|()| build(at))
        })?;
        for (state, samples) in [("cold", cold), ("nothing changed", unchanged), ("one file changed", changed)] {
            rows.push(Row::time(&label(state), None, &samples));
        }
        Ok(())
    })
}

/// A large image taken in, and written out as an archive.
pub(crate) fn image(engine: &Engine) -> Result<Vec<Row>, String> {
    let folder = made(engine.folder().join("image"))?;
    let archive = folder.join("image.tar");
    compared(engine, &folder, "image of 150 MB", |builder, rows, label| {
        let pull = Samples::of(engine.runs(3).min(3), |_| {
            builder.forget(engine)?;
            builder.pull(engine)
        })?;
        let export = Samples::of(engine.runs(3).min(3), |_| {
            let _ = std::fs::remove_file(&archive);
            builder.export(engine, &archive)
        })?;
        for (state, samples) in [("taken in", pull), ("exported", export)] {
            rows.push(Row::time(&label(state), None, &samples));
        }
        Ok(())
    })
}

/// The rows of ours, each followed by that of the other builder.
fn compared(
    engine: &Engine,
    folder: &Path,
    what: &str,
    measure: impl Fn(&Builder, &mut Vec<Row>, &dyn Fn(&str) -> String) -> Result<(), String>,
) -> Result<Vec<Row>, String> {
    let mut ours = Vec::new();
    measure(&Builder::Rondel, &mut ours, &|state| format!("{what}, {state}"))?;
    let mut theirs = Vec::new();
    if let Some(buildah) = Builder::buildah(engine)? {
        measure(&buildah, &mut theirs, &|_| "  the same with buildah".into())?;
        buildah.remove();
    }
    std::fs::remove_dir_all(folder).map_err(|e| format!("cannot remove `{}`: {e}", folder.display()))?;
    let mut theirs = theirs.into_iter();
    Ok(ours.into_iter().flat_map(|row| [Some(row), theirs.next()]).flatten().collect())
}

/// Who builds.
enum Builder {
    Rondel,
    Buildah { program: PathBuf, folder: PathBuf },
}

impl Builder {
    /// With a store of its own that has the base image; none when it is not installed.
    fn buildah(engine: &Engine) -> Result<Option<Self>, String> {
        let Some(program) = find("buildah") else { return Ok(None) };
        let it = Self::Buildah { program, folder: engine.folder().join("buildah") };
        it.run(&["pull", "--quiet", &format!("oci:{}:{BASE}", engine.images.display())])?;
        let images = it.run(&["images", "--quiet", "--no-trunc"])?;
        it.run(&["tag", images.lines().next().unwrap_or_default(), BASE])?;
        Ok(Some(it))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Rondel => "rondel",
            Self::Buildah { .. } => "buildah",
        }
    }

    fn build(&self, engine: &Engine, folder: &Path) -> Result<(), String> {
        match self {
            Self::Rondel => {
                engine.query(&format!("{{ host {{ directory(path: {folder:?}) {{ dockerBuild {{ sync }} }} }} }}"))
            }
            // Without network, and with the one runtime that every machine has: what it does least
            // work with.
            Self::Buildah { .. } => {
                let mut words = vec!["build", "--quiet", "--pull-never", "--layers", "--network=none"];
                let runc = find("runc").map(|path| path.display().to_string());
                words.extend(runc.iter().flat_map(|runc| ["--isolation=oci", "--runtime", runc]));
                let folder = folder.display().to_string();
                words.extend(["--tag", "bench", &folder]);
                self.run(&words)
            }
        }
        .map(drop)
    }

    fn pull(&self, engine: &Engine) -> Result<(), String> {
        match self {
            Self::Rondel => {
                let document = format!("{{ container {{ from(address: {LARGE:?}) {{ rootfs {{ entries }} }} }} }}");
                engine.query(&document)
            }
            Self::Buildah { .. } => self.run(&["pull", "--quiet", &format!("oci:{}:{LARGE}", engine.images.display())]),
        }
        .map(drop)
    }

    fn export(&self, engine: &Engine, to: &Path) -> Result<(), String> {
        match self {
            Self::Rondel => engine.query(&format!(
                "{{ container {{ from(address: {LARGE:?}) {{ withLabel(name: \"a\", value: \"b\") {{ export(path: {to:?}) }} }} }} }}"
            )),
            Self::Buildah { .. } => {
                let images = self.run(&["images", "--quiet", "--no-trunc"])?;
                let image = images.lines().next().unwrap_or_default().to_owned();
                self.run(&["push", "--quiet", &image, &format!("oci-archive:{}", to.display())])
            }
        }
        .map(drop)
    }

    /// Starts with an empty store.
    fn forget(&self, engine: &Engine) -> Result<(), String> {
        match self {
            Self::Rondel => engine.run(&["engine", "reset"]).and_then(|_| engine.query("{ version }")),
            Self::Buildah { .. } => self.run(&["rmi", "--all", "--force"]),
        }
        .map(drop)
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let Self::Buildah { program, folder } = self else { return Ok(String::new()) };
        let output = Command::new(program)
            .arg("--root")
            .arg(folder.join("root"))
            .arg("--runroot")
            .arg(folder.join("run"))
            .args(["--storage-driver", "overlay"])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run `buildah`: {e}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                Err(format!("`buildah {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
            }
        }
    }

    fn remove(&self) {
        let Self::Buildah { folder, .. } = self else { return };
        let _ = self.run(&["rm", "--all"]);
        let _ = self.run(&["rmi", "--all", "--force"]);
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn made(folder: PathBuf) -> Result<PathBuf, String> {
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make `{}`: {e}", folder.display()))?;
    Ok(folder)
}

fn written(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
}
