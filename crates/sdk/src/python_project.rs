//! Configuration of a Python project: `pyproject.toml`, lock files, `.python-version`.

use rondel_fault::{Fault, Result};
use rondel_model::AbsPath;
use toml::{Table, Value};

use crate::python_version::candidates;

/// The library, the same for all views. The bindings are those of the view, see
/// [`crate::bindings`].
const LIBRARY: &str = "dagger-io==0.21.11";

/// The files of a project that determine its dependencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProjectFiles {
    /// `pyproject.toml`.
    pub(crate) pyproject: Option<String>,
    /// `uv.lock`.
    pub(crate) uv_lock: Option<String>,
    /// `requirements.lock`.
    pub(crate) requirements_lock: Option<String>,
    /// `.python-version`.
    pub(crate) python_version: Option<String>,
    /// Files and folders of the context directory that the project file names as packages, directly
    /// or indirectly.
    pub(crate) local: Vec<AbsPath>,
}

/// A parsed project.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Project {
    /// Base images for the runtime, best first. At least one.
    pub(crate) base_images: Vec<String>,
    /// The package that contains the code, unless the project declares a main object.
    pub(crate) package: String,
    /// The main object that the project declares: `package:Class`.
    pub(crate) main_object: Option<String>,
    /// The names of the packages that it depends on, beside the library.
    pub(crate) requirements: Vec<String>,
    /// Those of them that come from elsewhere than a package index.
    pub(crate) local_packages: Vec<String>,
    /// How its dependencies are installed.
    pub(crate) install: Install,
}

/// How dependencies are installed. This is the cache key of the installation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Install {
    /// By pip, from requirements.
    Pip {
        /// One requirement per line.
        requirements: String,
    },
    /// By uv, from a project file.
    Uv {
        /// The project file, without the parts about the project's own code.
        pyproject: String,
        /// The locked versions.
        lock: LockFile,
        /// Files and folders of the context directory that packages are installed from, as paths
        /// from `/`.
        local: Vec<AbsPath>,
    },
}

/// Locked versions of a project. They are preferences: a version that conflicts with the library is
/// replaced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LockFile {
    /// No lock file.
    Absent,
    /// The content of `uv.lock`.
    Uv(String),
    /// The lines of `requirements.lock` that pin a version.
    Requirements(String),
}

impl Project {
    /// Reads the project of the module `module`.
    pub(crate) fn read(files: &ProjectFiles, module: &str) -> Result<Self> {
        let wrong = |e| Fault::user(format!("cannot read `pyproject.toml` of module `{module}`")).caused_by(e);
        let text = files.pyproject.as_deref().unwrap_or_default();
        let table: Table = text.parse().map_err(|e: toml::de::Error| wrong(e))?;
        let project = table.get("project").and_then(Value::as_table);
        let name = project.and_then(|p| p.get("name")).and_then(Value::as_str).unwrap_or(module);
        let main_object = lookup(&table, &["project", "entry-points", "dagger.mod", "main_object"]);
        Ok(Self {
            base_images: base_images(&table, files, project),
            package: package_name(name),
            main_object: main_object.and_then(Value::as_str).map(ToOwned::to_owned),
            requirements: requirements(&table).map(requirement_name).collect(),
            local_packages: sources(&table).map(|(name, _)| requirement_name(name)).collect(),
            install: install(&table, files),
        })
    }
}

/// The requirements of a project. The engine chooses the version of the library, not the project.
fn requirements(table: &Table) -> impl Iterator<Item = &str> {
    let declared = lookup(table, &["project", "dependencies"]).and_then(Value::as_array);
    let declared = declared.into_iter().flatten().filter_map(Value::as_str);
    declared.filter(|requirement| requirement_name(requirement) != "dagger-io")
}

/// The packages for which a project names a source, with the source.
fn sources(table: &Table) -> impl Iterator<Item = (&String, &Value)> {
    let sources = lookup(table, &["tool", "uv", "sources"]).and_then(Value::as_table);
    sources.into_iter().flatten().filter(|(name, _)| requirement_name(name) != "dagger-io")
}

fn lookup<'t>(table: &'t Table, path: &[&str]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key))
}

fn package_name(project: &str) -> String {
    let mut name = String::with_capacity(project.len());
    for c in project.chars() {
        name.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    name
}

fn base_images(table: &Table, files: &ProjectFiles, project: Option<&Table>) -> Vec<String> {
    if let Some(image) = lookup(table, &["tool", "dagger", "base-image"]).and_then(Value::as_str) {
        return vec![image.to_owned()];
    }
    let wanted = project.and_then(|p| p.get("requires-python")).and_then(Value::as_str).unwrap_or_default();
    let versions = candidates(files.python_version.as_deref(), wanted);
    versions.into_iter().map(|version| format!("python:{version}-slim")).collect()
}

fn install(table: &Table, files: &ProjectFiles) -> Install {
    let requirements: Vec<&str> = std::iter::once(LIBRARY).chain(requirements(table)).collect();
    let refuses_uv = lookup(table, &["tool", "dagger", "use-uv"]).and_then(Value::as_bool) == Some(false);
    let lock = match (&files.uv_lock, &files.requirements_lock) {
        _ if refuses_uv => LockFile::Absent,
        (Some(lock), _) => LockFile::Uv(lock.clone()),
        (None, Some(lock)) => LockFile::Requirements(pins(lock)),
        (None, None) => LockFile::Absent,
    };
    if !refuses_uv && (lock != LockFile::Absent || configures_uv(table)) {
        let local = files.local.clone();
        return Install::Uv { pyproject: installable(table, &requirements), lock, local };
    }
    Install::Pip { requirements: lines(requirements.into_iter()) }
}

/// The paths in the context directory that the project file `pyproject`, in the folder `at`, names
/// as packages.
pub(crate) fn local_sources(pyproject: &str, at: &AbsPath) -> Vec<AbsPath> {
    let Ok(table) = pyproject.parse::<Table>() else { return Vec::new() };
    // A source may be a list with an entry per platform.
    let each =
        sources(&table).flat_map(|(_, source)| source.as_array().map_or(std::slice::from_ref(source), Vec::as_slice));
    each.filter_map(|source| source.get("path").and_then(Value::as_str)).map(|path| at.join(path)).collect()
}

/// The lines of a requirements file that pin a version of a package from an index.
fn pins(lock: &str) -> String {
    let pinned = |line: &&str| {
        let name = requirement_name(line);
        !name.is_empty() && !line.starts_with(['#', '-', '.', ' ']) && name != "dagger-io"
    };
    lines(lock.lines().filter(pinned).map(|line| line.trim_end_matches('\\').trim_end()))
}

/// Whether the project has sources, indexes or constraints that only uv supports.
fn configures_uv(table: &Table) -> bool {
    let uv = lookup(table, &["tool", "uv"]).and_then(Value::as_table);
    let sources = uv.and_then(|uv| uv.get("sources")).and_then(Value::as_table);
    let foreign = sources.is_some_and(|sources| sources.keys().any(|name| name != "dagger-io"));
    foreign || uv.is_some_and(|uv| uv.keys().any(|key| key.contains("index") || key.contains("constraint")))
}

/// The project file, reduced to what determines the installed packages. The library comes from the
/// index, not from the folder in which real projects carry it.
fn installable(table: &Table, requirements: &[&str]) -> String {
    let mut project = Table::new();
    let own = table.get("project").and_then(Value::as_table);
    let get = |key: &str| own.and_then(|own| own.get(key)).cloned();
    project.insert("name".into(), get("name").unwrap_or_else(|| "module".into()));
    project.insert("version".into(), get("version").unwrap_or_else(|| "0.0.0".into()));
    if let Some(python) = get("requires-python") {
        project.insert("requires-python".into(), python);
    }
    project.insert("dependencies".into(), requirements.to_vec().into());
    let mut uv = lookup(table, &["tool", "uv"]).and_then(Value::as_table).cloned().unwrap_or_default();
    if let Some(sources) = uv.get_mut("sources").and_then(Value::as_table_mut) {
        sources.remove("dagger-io");
    }
    uv.remove("workspace");
    uv.insert("package".into(), false.into());
    let mut out = Table::new();
    out.insert("project".into(), project.into());
    out.insert("tool".into(), Table::from_iter([("uv".to_owned(), Value::from(uv))]).into());
    toml::to_string(&out).unwrap_or_default()
}

/// The normalized name in a requirement.
fn requirement_name(requirement: &str) -> String {
    let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let name = requirement.trim().split(end).next().unwrap_or_default();
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

fn lines<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!("{item}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pyproject: &str) -> Project {
        let files = ProjectFiles { pyproject: Some(pyproject.into()), ..ProjectFiles::default() };
        Project::read(&files, "my-module").expect("reads")
    }

    #[test]
    fn images() {
        let check = |pyproject: &str, want: &[&str]| assert_eq!(read(pyproject).base_images, want, "{pyproject}");
        check("[project]\nrequires-python = '>=3.13'", &["python:3.13-slim", "python:3.14-slim"]);
        check("[tool.dagger]\nbase-image = 'acme/python:1'", &["acme/python:1"]);
        assert_eq!(read("").base_images.first().map(String::as_str), Some("python:3.13-slim"));
        let files = ProjectFiles { python_version: Some("3.12.1\n".into()), ..ProjectFiles::default() };
        assert_eq!(Project::read(&files, "m").expect("reads").base_images, ["python:3.12.1-slim"]);
    }

    #[test]
    fn requirements() {
        let check = |pyproject: &str, want: &str| {
            assert_eq!(read(pyproject).install, Install::Pip { requirements: want.into() }, "{pyproject}");
        };
        check("", "dagger-io==0.21.11\n");
        check("[project]\ndependencies = ['dagger-io', 'httpx>=0.27']", "dagger-io==0.21.11\nhttpx>=0.27\n");
        check("[project]\ndependencies = ['dagger_io==0.18.1']", "dagger-io==0.21.11\n");
        check(
            "[project]\ndependencies = ['dagger-io']\n[tool.uv.sources]\ndagger-io = { path = 'sdk', editable = true }",
            "dagger-io==0.21.11\n",
        );
    }

    #[test]
    fn lock_files() {
        let text = "[project]\nname = 'my-app'\ndependencies = ['dagger-io']\n[tool.uv.sources]\ndagger-io = { path = 'sdk', editable = true }\n";
        let mut files = ProjectFiles {
            pyproject: Some(text.into()),
            uv_lock: Some("version = 1".into()),
            ..ProjectFiles::default()
        };
        let Install::Uv { pyproject, lock, .. } = Project::read(&files, "m").expect("reads").install else {
            panic!("not uv")
        };
        assert!(
            pyproject.contains("dagger-io==0.21.11")
                && !pyproject.contains("editable")
                && pyproject.contains("package = false")
        );
        assert_eq!(lock, LockFile::Uv("version = 1".into()));
        files.uv_lock = None;
        files.requirements_lock = Some("# made by uv\n-e ./sdk\nanyio==4.1.0\n    # via dagger-io\ndagger-io==0.0.0\nhttpx==0.27.0 \\\n    --hash=x\n".into());
        let Install::Uv { lock, .. } = Project::read(&files, "m").expect("reads").install else { panic!("not uv") };
        assert_eq!(lock, LockFile::Requirements("anyio==4.1.0\nhttpx==0.27.0\n".into()));
        files.pyproject = Some("[tool.dagger]\nuse-uv = false".into());
        let install = Project::read(&files, "m").expect("reads").install;
        assert_eq!(install, Install::Pip { requirements: "dagger-io==0.21.11\n".into() });
    }

    #[test]
    fn packages_of_the_same_repository() {
        let check = |pyproject: &str, want: &[&str]| {
            let found = local_sources(pyproject, &AbsPath::new("mods/a"));
            assert_eq!(found.iter().map(AbsPath::as_str).collect::<Vec<_>>(), want, "{pyproject}");
        };
        check(
            "[tool.uv.sources]\ndagger-io = { path = 'sdk', editable = true }\nx = { path = '../x', editable = true }",
            &["/mods/x"],
        );
        check(
            "[tool.uv.sources]\nx = [{ path = 'lib/x.whl' }, { index = 'y' }]\nz = { git = 'https://h/z' }",
            &["/mods/a/lib/x.whl"],
        );
        check("[tool.uv.sources", &[]);
    }

    #[test]
    fn names() {
        let project = read("[project]\nname = 'My-App'\n[project.entry-points.'dagger.mod']\nmain_object = 'x.y:Z'");
        assert_eq!((&*project.package, project.main_object.as_deref()), ("my_app", Some("x.y:Z")));
        assert_eq!(read("").package, "my_module");
        let files = ProjectFiles { pyproject: Some("[project".into()), ..ProjectFiles::default() };
        assert!(
            Project::read(&files, "m")
                .is_err_and(|e| e.to_string().starts_with("cannot read `pyproject.toml` of module `m`: "))
        );
    }
}
