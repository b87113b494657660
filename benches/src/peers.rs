//! The same work with the container runtimes that are installed here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::engine::Engine;
use crate::samples::{Row, Samples};

/// One row for each of `runc` and `crun` that works here.
pub(crate) fn rows(engine: &Engine) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let bundle = engine.folder().join("bundle");
    for runtime in ["runc", "crun"] {
        let Some(program) = find(runtime) else { continue };
        if !bundle.exists() {
            prepare(&bundle, &engine.images, &program)?;
        }
        let run = |at: usize| {
            let mut command = Command::new(&program);
            command.args(["run", &format!("rondel-bench-{}-{at}", std::process::id())]).current_dir(&bundle);
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            match status {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(format!("`{runtime}` failed: {status}")),
                Err(e) => Err(format!("cannot run `{runtime}`: {e}")),
            }
        };
        match run(0).and_then(|()| Samples::of(engine.runs(100), |at| run(at + 1))) {
            Ok(samples) => rows.push(Row::time(&format!("  the same with {runtime}, without commit"), None, &samples)),
            Err(message) => eprintln!("{message}; left out"),
        }
    }
    Ok(rows)
}

/// Where the program `name` is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').map(|folder| Path::new(folder).join(name)).find(|p| p.exists())
}

/// A bundle with the busybox base image as its root.
fn prepare(bundle: &Path, images: &Path, runtime: &Path) -> Result<(), String> {
    let root = bundle.join("rootfs");
    std::fs::create_dir_all(&root).map_err(|e| format!("cannot make `{}`: {e}", root.display()))?;
    let blob = |digest: &Value| {
        images.join("blobs/sha256").join(digest.as_str().unwrap_or_default().trim_start_matches("sha256:"))
    };
    let read = |path: PathBuf| -> Result<Value, String> {
        let text = std::fs::read(&path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
        serde_json::from_slice(&text).map_err(|e| format!("`{}` is no JSON: {e}", path.display()))
    };
    let index = read(images.join("index.json"))?;
    let named = |entry: &&Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"]
            .as_str()
            .is_some_and(|n| n.ends_with("busybox:latest"))
    };
    let entry = index["manifests"].as_array().into_iter().flatten().find(named).ok_or("there is no busybox image")?;
    let manifest = read(blob(&entry["digest"]))?;
    let layer = blob(&manifest["layers"][0]["digest"]);
    let status = |command: &mut Command| command.status().map_err(|e| format!("cannot run a program: {e}"));
    status(Command::new("tar").arg("-xf").arg(&layer).arg("-C").arg(&root))?;
    status(Command::new(runtime).arg("spec").current_dir(bundle))?;
    let path = bundle.join("config.json");
    let mut config = read(path.clone())?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["true"]);
    std::fs::write(&path, config.to_string()).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
}
