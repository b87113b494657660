//! The Python SDK: the official library from the package index, unmodified, and a script of three lines.
//!
//! Dependencies are installed by one process whose inputs are the declarations of dependencies alone, so that an
//! edit of the module's code runs nothing again. The code comes last. Bindings of other modules are one generated
//! file, `dagger_gen.py`, which the library imports when it is there.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_fault::{Fault, Result};
use rondel_model::exec::{Expect, Sharing, Stdin};
use rondel_model::image::ImageRef;
use rondel_model::op::{CopyOp, Edit, ExecOutput, Filter, ImageOp, Place};
use rondel_model::{AbsPath, Container, ExecOp, Fs, FsOp, ImageConfig, Mount, MountSource, Platform};
use rondel_ops::{AtRegistry, OpCx, Ops};

use crate::python_project::{Files, Install, Project};
use crate::{Sdk, Source, bindings};

/// Where the module's context lies in the runtime.
const CODE: &str = "/src";
/// Where what the engine adds lies.
const OWN: &str = "/opt/rondel";
const PYTHON: &str = "/opt/venv/bin/python";
const RUNTIME: &str =
    "import sys\n\nfrom dagger.mod.cli import app\n\nif __name__ == \"__main__\":\n    sys.exit(app())\n";

const PIP: &str = r#"set -e
python3 -m venv /opt/venv
set -- -r /opt/rondel/requirements.txt
if [ -f /opt/rondel/constraints.txt ]; then set -- "$@" -c /opt/rondel/constraints.txt; fi
/opt/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input "$@"
"#;
const UV: &str = r"set -e
python3 -m venv /opt/uv
/opt/uv/bin/python -m pip install --quiet --disable-pip-version-check --no-input uv
cd /opt/rondel/project
/opt/uv/bin/uv lock --quiet --python python3
/opt/uv/bin/uv sync --quiet --frozen --no-dev --no-install-project --compile-bytecode --python python3
rm -rf /opt/uv
";

/// The Python SDK.
pub struct Python;

impl Sdk for Python {
    fn version(&self) -> &'static str {
        "python/1"
    }

    fn runtime<'a>(&'a self, ops: &'a Arc<Ops>, cx: &'a OpCx, source: &'a Source) -> BoxFuture<'a, Result<Container>> {
        Box::pin(async move {
            let files = read_files(ops, cx, source).await?;
            let project = Project::read(&files, &source.name, source.view)?;
            let doing = || format!("prepare the base image of module `{}`", source.name);
            let base = image(ops, cx, &project.base_image).await.map_err(|e| e.context(doing()))?;
            Ok(runtime(&base, &project, source))
        })
    }
}

async fn read_files(ops: &Arc<Ops>, cx: &OpCx, source: &Source) -> Result<Files> {
    let read = async |name: &str| -> Result<Option<String>> {
        let path = source.context.place.path.join_inside(&source.source).join(name);
        let place = Place { fs: source.context.place.fs.clone(), path };
        if ops.stat(cx, &place, true).await?.is_none() {
            return Ok(None);
        }
        let bytes = ops.read(cx, &place).await?;
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| Fault::user(format!("`{name}` of module `{}` is not UTF-8 text", source.name)))
    };
    Ok(Files {
        pyproject: read("pyproject.toml").await?,
        uv_lock: read("uv.lock").await?,
        requirements_lock: read("requirements.lock").await?,
        python_version: read(".python-version").await?,
    })
}

async fn image(ops: &Arc<Ops>, cx: &OpCx, name: &str) -> Result<Container> {
    let platform = Platform::native();
    let reference: ImageRef =
        name.parse().map_err(|e: rondel_model::image::InvalidReference| Fault::user(e.to_string()))?;
    let found = ops.resolve_image(cx, &AtRegistry::named(&reference), &platform, false).await?;
    let config: serde_json::Value = serde_json::from_str(found.config.get())
        .map_err(|e| Fault::user(format!("cannot read the configuration of image `{name}`")).caused_by(e))?;
    let config: ImageConfig = match config.get("config") {
        Some(config) if !config.is_null() => serde_json::from_value(config.clone())
            .map_err(|e| Fault::user(format!("cannot read the configuration of image `{name}`")).caused_by(e))?,
        _ => ImageConfig::default(),
    };
    let mut base = Container::scratch(found.platform.clone());
    let op = ImageOp { reference: found.reference, platform: found.platform, service: None };
    base.rootfs = Fs::from(op);
    base.config = Arc::new(config);
    Ok(base)
}

/// The chain from the base image to the runtime.
fn runtime(base: &Container, project: &Project, source: &Source) -> Container {
    let installed = install(base, &project.install);
    let own = |fs: Fs, path: &str, text: &str| write(fs, &format!("{OWN}/{path}"), text);
    let mut fs = write(installed, "/runtime", RUNTIME);
    if !source.dependencies.is_empty() {
        fs = own(fs, "bindings/dagger_gen.py", &bindings::python(&source.dependencies));
    }
    if let Some(main) = &project.main_object {
        let folder = "bindings/rondel_module-0.dist-info";
        fs = own(fs, &format!("{folder}/METADATA"), "Metadata-Version: 2.1\nName: rondel-module\nVersion: 0\n");
        fs = own(fs, &format!("{folder}/entry_points.txt"), &format!("[dagger.mod]\nmain_object = {main}\n"));
    }
    let copy = CopyOp {
        base: fs,
        source: source.context.place.clone(),
        source_is_file: false,
        source_name: None,
        target: AbsPath::new(CODE),
        target_is_dir: true,
        filter: Filter::default(),
        owner: None,
        permissions: None,
    };
    let code = AbsPath::new(CODE).join_inside(&source.source);
    let mut container = base.clone();
    container.rootfs = Fs::from(copy);
    container.configure(|config| configure(config, project, source, &code))
}

fn configure(config: &mut ImageConfig, project: &Project, source: &Source, code: &AbsPath) {
    config.entrypoint = Some(vec![PYTHON.into(), "/runtime".into()]);
    config.cmd = None;
    config.user = String::new();
    config.working_dir = "/scratch".into();
    let path = format!("{OWN}/bindings:{code}/src:{code}");
    let main = main_object(&source.name);
    set_env(config, "PATH", |old| {
        format!("/opt/venv/bin:{}", old.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
    });
    let variables = [
        ("VIRTUAL_ENV", "/opt/venv"),
        ("PYTHONPATH", &*path),
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("DAGGER_MODULE", &*source.name),
        ("DAGGER_DEFAULT_PYTHON_PACKAGE", &*project.package),
        ("DAGGER_MAIN_OBJECT", &*main),
    ];
    for (name, value) in variables {
        set_env(config, name, |_| value.to_owned());
    }
}

/// The main class that the library looks for: words of the module's name, each with a capital.
fn main_object(module: &str) -> String {
    let mut name = String::new();
    let mut starts = true;
    for c in module.chars() {
        if !c.is_ascii_alphanumeric() {
            starts = true;
            continue;
        }
        name.push(if starts { c.to_ascii_uppercase() } else { c });
        starts = c.is_ascii_digit();
    }
    name
}

fn set_env(config: &mut ImageConfig, name: &str, value: impl FnOnce(Option<&str>) -> String) {
    let env = config.env.get_or_insert_default();
    let at = env.iter().position(|entry| entry.split_once('=').is_some_and(|(known, _)| known == name));
    let old = at.and_then(|at| env[at].split_once('=').map(|(_, value)| value.to_owned()));
    let entry = format!("{name}={}", value(old.as_deref()));
    match at {
        Some(at) => env[at] = entry,
        None => env.push(entry),
    }
}

// IDENTITY: the only inputs are the base image and the declarations of dependencies.
fn install(base: &Container, install: &Install) -> Fs {
    let own = |fs: Fs, path: &str, text: &str| write(fs, &format!("{OWN}/{path}"), text);
    let fs = base.rootfs.clone();
    let (fs, script, caches) = match install {
        Install::Pip { requirements, constraints } => {
            let fs = own(fs, "requirements.txt", requirements);
            let fs = constraints.iter().fold(fs, |fs, text| own(fs, "constraints.txt", text));
            (fs, PIP, vec![cache("modpython-pip", "/var/cache/pip")])
        }
        Install::Uv { pyproject, lock } => {
            let fs = own(fs, "project/pyproject.toml", pyproject);
            let fs = lock.iter().fold(fs, |fs, text| own(fs, "project/uv.lock", text));
            let caches = vec![cache("modpython-pip", "/var/cache/pip"), cache("modpython-uv", "/var/cache/uv")];
            (fs, UV, caches)
        }
    };
    let mut env: Vec<(String, String)> = base.env().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let variables = [
        ("PIP_CACHE_DIR", "/var/cache/pip"),
        ("UV_CACHE_DIR", "/var/cache/uv"),
        ("UV_LINK_MODE", "copy"),
        ("UV_PYTHON_DOWNLOADS", "never"),
        ("UV_PROJECT_ENVIRONMENT", "/opt/venv"),
        ("UV_NATIVE_TLS", "true"),
        ("PIP_ROOT_USER_ACTION", "ignore"),
    ];
    env.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let exec = ExecOp {
        rootfs: fs,
        mounts: caches,
        args: vec!["sh".into(), "-c".into(), script.into()],
        env,
        secret_env: Vec::new(),
        volatile_env: Vec::new(),
        workdir: AbsPath::root(),
        user: String::new(),
        stdin: Stdin::Empty,
        redirect_stdout: None,
        redirect_stderr: None,
        expect: Expect::Success,
        scope: None,
        insecure: false,
        no_init: false,
        offline: false,
        scrub: Vec::new(),
        platform: base.platform.clone(),
        services: Vec::new(),
        salt: None,
    };
    Fs::new(FsOp::Exec { exec: Arc::new(exec), output: ExecOutput::Rootfs })
}

fn cache(volume: &str, target: &str) -> Mount {
    let (sharing, owner, read_only) = (Sharing::Shared, None, false);
    let source = MountSource::Cache { volume: volume.into(), source: None, sharing, owner, read_only };
    Mount { target: AbsPath::new(target), source }
}

fn write(base: Fs, path: &str, text: &str) -> Fs {
    let edit =
        Edit::WriteFile { path: AbsPath::new(path), contents: text.as_bytes().into(), permissions: 0o644, owner: None };
    Fs::new(FsOp::Edit { base, edit })
}

#[cfg(test)]
mod tests {
    use rondel_model::Directory;

    use super::*;

    fn source(content: &str) -> Source {
        let fs = write(Fs::scratch(), "/src/m/main.py", content);
        Source {
            name: "my-module".into(),
            context: Directory::root(fs, Platform::native()),
            root: "m".into(),
            source: "m".into(),
            view: rondel_version::ENGINE,
            dependencies: Vec::new(),
        }
    }

    fn of(files: &Files, content: &str) -> Container {
        let source = source(content);
        let project = Project::read(files, &source.name, source.view).expect("reads");
        runtime(&Container::scratch(Platform::native()), &project, &source)
    }

    fn installed(container: &Container) -> rondel_digest::Digest {
        let mut fs = container.rootfs.clone();
        loop {
            let next = match fs.op() {
                FsOp::Copy(op) => op.base.clone(),
                FsOp::Edit { base, .. } => base.clone(),
                FsOp::Exec { .. } => return fs.digest(),
                other => panic!("unexpected: {other:?}"),
            };
            fs = next;
        }
    }

    #[test]
    fn an_edit_of_the_code_installs_nothing_again() {
        let files = |text: &str| Files { pyproject: Some(text.into()), ..Files::default() };
        let one = of(&files("[project]\nversion = '1'"), "a");
        let two = of(&files("[project]\nversion = '2'\n[tool.ruff]\nx = 1"), "b");
        assert_ne!(one.rootfs.digest(), two.rootfs.digest());
        assert_eq!(installed(&one), installed(&two));
        assert_ne!(installed(&one), installed(&of(&files("[project]\ndependencies = ['httpx']"), "a")));
    }

    #[test]
    fn the_entrypoint_finds_the_code() {
        let container = of(&Files::default(), "a");
        let env: std::collections::HashMap<_, _> = container.env().collect();
        assert_eq!(env.get("PYTHONPATH"), Some(&"/opt/rondel/bindings:/src/m/src:/src/m"));
        assert_eq!((env.get("DAGGER_MAIN_OBJECT"), env.get("DAGGER_MODULE")), (Some(&"MyModule"), Some(&"my-module")));
        assert_eq!(env.get("DAGGER_DEFAULT_PYTHON_PACKAGE"), Some(&"my_module"));
        assert_eq!(
            container.config.entrypoint.as_deref(),
            Some(["/opt/venv/bin/python".to_owned(), "/runtime".to_owned()].as_slice())
        );
    }
}
