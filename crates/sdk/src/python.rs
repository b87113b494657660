//! The Python SDK: installs the unmodified official library from the package index, and adds a
//! script that runs it and reports exceptions.
//!
//! One process installs the dependencies. Its inputs are the declarations of dependencies alone, so
//! that an edit of the module's code does not run it again. The code is added last. The library
//! contains only the newest API, so generated bindings of the API in the module's view replace its
//! own: the library imports `dagger_gen.py` if it exists. The bindings of the core API are compiled
//! by a separate process, once per view and image.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_events::Emitter;
use rondel_fault::{Fault, Kind, Result};
use rondel_model::op::{ExecOutput, Filter, TreePath};
use rondel_model::{AbsPath, Container, ExecOp, ExecTitle, Fs, FsOp, ImageConfig, Mount};
use rondel_ops::{OpContext, Ops};
use rondel_typescan::SourceTypes;

use crate::bindings;
use crate::python_project::{Install, LockFile, Project, ProjectFiles, local_sources};
use crate::python_starter;
use crate::python_types;
use crate::runtime_parts::{cache, copy, image, read_file, write};
use crate::sdk::{GeneratedFiles, Sdk, SdkSource};

/// The folder of the module's context directory in the runtime.
const CODE: &str = "/src";
/// The folder of the files that the engine adds.
const OWN: &str = "/opt/rondel";
const PYTHON: &str = "/opt/venv/bin/python";
/// The entrypoint. It imports [`ERRORS`] when something fails.
const RUNTIME: &str = include_str!("python/runtime.py");
/// The module `rondel_errors`.
const ERRORS: &str = include_str!("python/errors.py");

/// The folder of the generated bindings.
const BINDINGS: &str = "/opt/rondel/bindings";

const PIP: &str = r#"set -e
python3 -m venv /opt/venv
/opt/venv/bin/python -m pip install --progress-bar off --disable-pip-version-check --no-input -r /opt/rondel/requirements.txt
"#;
/// Installs uv for the commands that follow.
const WITH_UV: &str = r"set -e
python3 -m venv /opt/uv
/opt/uv/bin/python -m pip install --quiet --disable-pip-version-check --no-input uv
";
const SYNC: &str = r"/opt/uv/bin/uv lock --python python3
/opt/uv/bin/uv sync --frozen --no-dev --no-install-project --compile-bytecode --python python3
rm -rf /opt/uv
";
/// Versions in `requirements.lock` are preferred where they fit. The result is written to the same
/// file.
const COMPILE: &str = r"python3 -m venv --without-pip /opt/venv
/opt/uv/bin/uv pip compile --quiet --python /opt/venv/bin/python --output-file requirements.lock pyproject.toml
/opt/uv/bin/uv pip install --python /opt/venv/bin/python --compile-bytecode --no-deps -r requirements.lock
rm -rf /opt/uv
";
/// The library's own bindings become an alias of the generated ones, so that every import gives the
/// same types.
const REPLACE_BINDINGS: &str = r#"gen=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dagger/client/gen.py
printf '%s\n' 'from dagger_gen import *' 'from dagger_gen import __all__' > "$gen"
/opt/venv/bin/python -m compileall -q "$gen"
"#;
const COMPILE_BINDINGS: [&str; 7] =
    ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", BINDINGS];
/// The script that installs dependencies. It is a file, so that messages about a failure can name
/// it.
const INSTALL: &str = "/opt/rondel/install-dependencies";

/// How many packages of the same repository are followed from a project.
const MAX_LOCAL: usize = 100;

/// The Python SDK.
pub struct Python;

impl Sdk for Python {
    fn version(&self) -> &'static str {
        "python/4"
    }

    fn types<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<SourceTypes>> {
        Box::pin(async move {
            let files = read_files(ops, cx, source).await?;
            let project = Project::read(&files, &source.name)?;
            python_types::types(ops, cx, source, &project, main_object(&source.name)).await
        })
    }

    fn registers_types(&self) -> bool {
        true
    }

    fn runtime<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<Container>> {
        Box::pin(async move {
            let files = read_files(ops, cx, source).await?;
            let project = Project::read(&files, &source.name)?;
            let doing = || format!("prepare the base image of module `{}`", source.name);
            let base = first_image(ops, cx, &project.base_images).await.map_err(|e| e.context(doing()))?;
            Ok(runtime(&base, &project, source))
        })
    }

    fn codegen<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<GeneratedFiles>> {
        Box::pin(async move {
            let code = source.context.place.path.join_inside(&source.source);
            let place = TreePath { fs: source.context.place.fs.clone(), path: code };
            let found = match ops.stat(cx, &place, true).await? {
                Some(_) => ops.glob(cx, &place, "**/*.py").await?,
                None => Vec::new(),
            };
            // The library that other tools put beside the code is no code of the module.
            let has_code = found.iter().any(|file| !file.name.starts_with("sdk/") && !file.name.starts_with(".venv/"));
            let pyproject = read_file(ops, cx, source, &AbsPath::new(&source.source).join("pyproject.toml")).await?;
            python_starter::files(&source.name, &main_object(&source.name), pyproject, has_code)
        })
    }
}

async fn read_files(ops: &Arc<Ops>, cx: &OpContext, source: &SdkSource) -> Result<ProjectFiles> {
    let code = AbsPath::new(&source.source);
    let mut files = ProjectFiles {
        pyproject: read_file(ops, cx, source, &code.join("pyproject.toml")).await?,
        uv_lock: read_file(ops, cx, source, &code.join("uv.lock")).await?,
        requirements_lock: read_file(ops, cx, source, &code.join("requirements.lock")).await?,
        python_version: read_file(ops, cx, source, &code.join(".python-version")).await?,
        local: Vec::new(),
    };
    let mut pending = local_sources(files.pyproject.as_deref().unwrap_or_default(), &code);
    while let Some(path) = pending.pop() {
        if files.local.contains(&path) || files.local.len() == MAX_LOCAL {
            continue;
        }
        if let Some(text) = read_file(ops, cx, source, &path.join("pyproject.toml")).await? {
            pending.extend(local_sources(&text, &path));
        }
        files.local.push(path);
    }
    files.local.sort();
    Ok(files)
}

/// The first of the images `names` that exists.
async fn first_image(ops: &Arc<Ops>, cx: &OpContext, names: &[String]) -> Result<Container> {
    let mut failure: Option<Fault> = None;
    // An image that is not found is no failure as long as there is another one.
    let quiet = cx.reporting(&Emitter::nowhere());
    let cx = if names.len() > 1 { &quiet } else { cx };
    for name in names {
        match image(ops, cx, name).await {
            Ok(base) => return Ok(base),
            Err(fault) if fault.kind() == Kind::Cancelled => return Err(fault),
            // The first failure is reported: it is about the image that the project asks for.
            Err(fault) => _ = failure.get_or_insert(fault),
        }
    }
    let failure = failure.unwrap_or_else(|| Fault::bug("a Python project has no base image"));
    match names {
        [_, others @ ..] if !others.is_empty() => {
            Err(failure.with_hint(format!("not found either: {}", others.join(", "))))
        }
        _ => Err(failure),
    }
}

/// The chain of operations from the base image to the runtime.
fn runtime(base: &Container, project: &Project, source: &SdkSource) -> Container {
    let installed = install(base, &project.install, source);
    let own = |fs: Fs, path: &str, text: &str| write(fs, &format!("{OWN}/{path}"), text);
    let fs = copy(write(installed, "/runtime", RUNTIME), core_bindings(base, source), BINDINGS);
    let all = bindings::python_all(&source.core, &source.schema, source.view);
    let fs = own(fs, "bindings/rondel_errors.py", ERRORS);
    let mut fs = own(fs, &format!("bindings/{}.py", bindings::ALL), &all);
    if let Some(main) = &project.main_object {
        let folder = "bindings/rondel_module-0.dist-info";
        fs = own(fs, &format!("{folder}/METADATA"), "Metadata-Version: 2.1\nName: rondel-module\nVersion: 0\n");
        fs = own(fs, &format!("{folder}/entry_points.txt"), &format!("[dagger.mod]\nmain_object = {main}\n"));
    }
    let code = AbsPath::new(CODE).join_inside(&source.source);
    let mut container = base.clone();
    container.rootfs = copy(fs, source.context.place.clone(), CODE);
    container.configure(|config| configure(config, project, source, &code))
}

/// The folder with the compiled bindings of the core API, for the Python of `base`.
// IDENTITY: the only inputs are the base image and the bindings, so that modules of one view share
// the result.
fn core_bindings(base: &Container, source: &SdkSource) -> TreePath {
    let text = bindings::python_core(&source.core, source.view);
    let written = write(base.rootfs.clone(), &format!("{BINDINGS}/{}.py", bindings::CORE), &text);
    let title = ExecTitle { text: "compile the bindings of the API for Python".into(), internal: true };
    let fs = exec(base, written, &COMPILE_BINDINGS, Vec::new(), title);
    TreePath { fs, path: AbsPath::new(BINDINGS) }
}

fn configure(config: &mut ImageConfig, project: &Project, source: &SdkSource, code: &AbsPath) {
    config.entrypoint = Some(vec![PYTHON.into(), "/runtime".into()]);
    config.cmd = None;
    config.user = String::new();
    config.working_dir = "/scratch".into();
    let path = format!("{BINDINGS}:{code}/src:{code}");
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

/// The main class that the library looks for: the words of the module's name, each capitalized.
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
    let old = config.env.as_ref().and_then(|env| env.get(name)).and_then(|entry| entry.split_once('='));
    let new = value(old.map(|(_, value)| value));
    config.set_env(name, &new);
}

// IDENTITY: the only inputs are the base image, the declarations of dependencies, and packages of
// the same repository.
fn install(base: &Container, install: &Install, source: &SdkSource) -> Fs {
    let own = |fs: Fs, path: &str, text: &str| write(fs, &format!("{OWN}/{path}"), text);
    let fs = base.rootfs.clone();
    let pip = cache("modpython-pip", "/var/cache/pip");
    let (fs, script, caches) = match install {
        Install::Pip { requirements } => {
            (own(fs, "requirements.txt", requirements), format!("{PIP}{REPLACE_BINDINGS}"), vec![pip])
        }
        Install::Uv { pyproject, lock, local } => {
            // Packages are named by paths relative to the project, so the project file is where the
            // code will be.
            let (fs, folder) = match local.is_empty() {
                true => (fs, AbsPath::new(OWN).join("project")),
                false => (copy(fs, picked(source, local), CODE), AbsPath::new(CODE).join_inside(&source.source)),
            };
            let add = |fs: Fs, name: &str, text: &str| write(fs, folder.join(name).as_str(), text);
            let fs = add(fs, "pyproject.toml", pyproject);
            let (fs, script) = match lock {
                LockFile::Absent => (fs, SYNC),
                LockFile::Uv(text) => (add(fs, "uv.lock", text), SYNC),
                LockFile::Requirements(text) => (add(fs, "requirements.lock", text), COMPILE),
            };
            let enter = format!("cd '{}'\n", folder.as_str().replace('\'', r"'\''"));
            let caches = vec![pip, cache("modpython-uv", "/var/cache/uv")];
            (fs, format!("{WITH_UV}{enter}{script}{REPLACE_BINDINGS}"), caches)
        }
    };
    let text = format!("install Python dependencies of module {}", source.name).into();
    exec(base, write(fs, INSTALL, &script), &["sh", INSTALL], caches, ExecTitle { text, internal: false })
}

/// The paths `paths` of the context directory.
fn picked(source: &SdkSource, paths: &[AbsPath]) -> TreePath {
    let include = paths.iter().flat_map(|path| [path.relative().to_owned(), format!("{}/**", path.relative())]);
    let filter = Filter { include: include.collect(), ..Filter::default() };
    let fs = Fs::new(FsOp::Filter { source: source.context.place.clone(), filter: filter.into() });
    TreePath { fs, path: AbsPath::root() }
}

/// `fs` after running the process `args`.
fn exec(base: &Container, fs: Fs, args: &[&str], caches: Vec<Mount>, title: ExecTitle) -> Fs {
    let mut env = base.environment();
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
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let exec = ExecOp { mounts: caches, env, title: Some(title), ..ExecOp::new(fs, args, base.platform.clone()) };
    Fs::new(FsOp::Exec { exec: Arc::new(exec), output: ExecOutput::Rootfs })
}

#[cfg(test)]
mod tests {
    use rondel_model::{Directory, Platform};

    use super::*;

    fn source(content: &str) -> SdkSource {
        let fs = write(Fs::scratch(), "/src/m/main.py", content);
        SdkSource {
            name: "my-module".into(),
            context: Directory::root(fs, Platform::native()),
            root: "m".into(),
            source: "m".into(),
            view: rondel_version::ENGINE,
            is_new: false,
            core: Arc::default(),
            schema: Arc::default(),
            config: serde_json::Map::new(),
            build_variables: Vec::new(),
            git_rewrites: Vec::new(),
            ssh_agent: None,
        }
    }

    fn of(files: &ProjectFiles, content: &str) -> Container {
        let source = source(content);
        let project = Project::read(files, &source.name).expect("reads");
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
        let files = |text: &str| ProjectFiles { pyproject: Some(text.into()), ..ProjectFiles::default() };
        let one = of(&files("[project]\nversion = '1'"), "a");
        let two = of(&files("[project]\nversion = '2'\n[tool.ruff]\nx = 1"), "b");
        assert_ne!(one.rootfs.digest(), two.rootfs.digest());
        assert_eq!(installed(&one), installed(&two));
        assert_ne!(installed(&one), installed(&of(&files("[project]\ndependencies = ['httpx']"), "a")));
    }

    #[test]
    fn the_entrypoint_finds_the_code() {
        let container = of(&ProjectFiles::default(), "a");
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
