//! What a Python project says about itself: `pyproject.toml`, lock files, `.python-version`.

use rondel_fault::{Fault, Result};
use rondel_version::View;
use toml::{Table, Value};

/// The image when the project asks for nothing else.
const DEFAULT_MINOR: u32 = 13;
/// The newest library for modules of this generation.
const NEWEST_LIBRARY: &str = "0.21.11";
/// The first version of which every patch of the library was published beside the API.
const FIRST_EXACT: View = View::new(0, 18, 0);
/// From here on the newest library serves older views as well.
const FIRST_NEWEST: View = View::new(0, 19, 0);

/// The files of a project that decide its dependencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// `pyproject.toml`.
    pub(crate) pyproject: Option<String>,
    /// `uv.lock`.
    pub(crate) uv_lock: Option<String>,
    /// `requirements.lock`.
    pub(crate) requirements_lock: Option<String>,
    /// `.python-version`.
    pub(crate) python_version: Option<String>,
}

/// A project, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Project {
    /// The image that its runtime is built on.
    pub(crate) base_image: String,
    /// The package that holds the code, when nothing else is declared.
    pub(crate) package: String,
    /// The main object, when the project declares it: `package:Class`.
    pub(crate) main_object: Option<String>,
    /// How its dependencies are installed.
    pub(crate) install: Install,
}

/// How dependencies are installed. All of it is the key of the step that installs them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Install {
    /// By pip, from requirements.
    Pip {
        /// One requirement per line.
        requirements: String,
        /// Exact versions of what is installed.
        constraints: Option<String>,
    },
    /// By uv, from a project file and its lock file.
    Uv {
        /// The project file, without what concerns the project's own code.
        pyproject: String,
        /// The lock file.
        lock: Option<String>,
    },
}

impl Project {
    /// Reads the files of the project of the module called `module`, which sees `view`.
    pub(crate) fn read(files: &Files, module: &str, view: View) -> Result<Self> {
        let wrong = |e| Fault::user(format!("cannot read `pyproject.toml` of module `{module}`")).caused_by(e);
        let text = files.pyproject.as_deref().unwrap_or_default();
        let table: Table = text.parse().map_err(|e: toml::de::Error| wrong(e))?;
        let project = table.get("project").and_then(Value::as_table);
        let name = project.and_then(|p| p.get("name")).and_then(Value::as_str).unwrap_or(module);
        let main_object = lookup(&table, &["project", "entry-points", "dagger.mod", "main_object"]);
        Ok(Self {
            base_image: base_image(&table, files, project),
            package: package_name(name),
            main_object: main_object.and_then(Value::as_str).map(ToOwned::to_owned),
            install: install(&table, files, view),
        })
    }
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

fn base_image(table: &Table, files: &Files, project: Option<&Table>) -> String {
    if let Some(image) = lookup(table, &["tool", "dagger", "base-image"]).and_then(Value::as_str) {
        return image.to_owned();
    }
    let pinned = files.python_version.as_deref().map(str::trim).filter(|version| !version.is_empty());
    let version = match pinned {
        Some(version) => version.to_owned(),
        None => {
            let wanted = project.and_then(|p| p.get("requires-python")).and_then(Value::as_str).unwrap_or_default();
            format!("3.{}", newest_minor(wanted))
        }
    };
    format!("python:{version}-slim")
}

/// The default when `wanted` admits it, else the newest minor version of Python 3 that it admits.
fn newest_minor(wanted: &str) -> u32 {
    let mut choices = std::iter::once(DEFAULT_MINOR).chain((8..=14).rev());
    choices.find(|minor| wanted.split(',').all(|part| admits(part.trim(), *minor))).unwrap_or(DEFAULT_MINOR)
}

fn admits(part: &str, minor: u32) -> bool {
    let operators = ["==", "~=", ">=", "<=", "!=", ">", "<"];
    let Some(operator) = operators.iter().find(|operator| part.starts_with(**operator)) else { return true };
    let mut numbers = part[operator.len()..].trim().split('.').skip(1);
    let Some(wanted) = numbers.next().and_then(|number| number.parse::<u32>().ok()) else { return true };
    let has_patch = numbers.next().is_some_and(|patch| patch != "*");
    match *operator {
        "==" => minor == wanted,
        "~=" if has_patch => minor == wanted,
        "~=" | ">=" => minor >= wanted,
        "<=" => minor <= wanted,
        "!=" => has_patch || minor != wanted,
        ">" => {
            if has_patch {
                minor >= wanted
            } else {
                minor > wanted
            }
        }
        _ => {
            if has_patch {
                minor <= wanted
            } else {
                minor < wanted
            }
        }
    }
}

/// The library's version for modules that see `view`: the newest from v0.19 on; before that the patch of the same
/// number; for what is older still, the first of those.
pub(crate) fn library_version(view: View) -> String {
    if view >= FIRST_NEWEST {
        NEWEST_LIBRARY.to_owned()
    } else {
        view.max(FIRST_EXACT).to_string().trim_start_matches('v').to_owned()
    }
}

fn install(table: &Table, files: &Files, view: View) -> Install {
    let library = format!("dagger-io=={}", library_version(view));
    let declared = lookup(table, &["project", "dependencies"]).and_then(Value::as_array);
    let mut requirements: Vec<String> =
        declared.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    match requirements.iter_mut().find(|requirement| requirement_name(requirement) == "dagger-io") {
        Some(own) if own.contains(['=', '<', '>', '~', '@', '!']) => {}
        Some(own) => *own = format!("{}{}", own.trim(), library.trim_start_matches("dagger-io")),
        None => requirements.push(library),
    }
    if wants_uv(table, files) {
        let pyproject = installable(table, &requirements);
        return Install::Uv { pyproject, lock: files.uv_lock.clone() };
    }
    let pinned = |line: &&str| {
        let name = requirement_name(line);
        !name.is_empty() && !line.starts_with(['#', '-', '.', ' ']) && name != "dagger-io"
    };
    let constraints = files.requirements_lock.as_deref().map(|lock| {
        let exact = lock.lines().filter(pinned).map(|line| line.trim_end_matches('\\').trim_end());
        lines(exact)
    });
    Install::Pip { requirements: lines(requirements.iter().map(String::as_str)), constraints }
}

/// With a lock file of uv, or sources and indexes that only uv knows.
fn wants_uv(table: &Table, files: &Files) -> bool {
    let uv = lookup(table, &["tool", "uv"]).and_then(Value::as_table);
    let sources = uv.and_then(|uv| uv.get("sources")).and_then(Value::as_table);
    let foreign = sources.is_some_and(|sources| sources.keys().any(|name| name != "dagger-io"));
    files.uv_lock.is_some()
        || foreign
        || uv.is_some_and(|uv| uv.keys().any(|key| key.contains("index") || key.contains("constraint")))
}

/// The project file with only what decides which packages are installed; the library comes from the index, not
/// from the folder that real projects carry it in.
fn installable(table: &Table, requirements: &[String]) -> String {
    let mut project = Table::new();
    let own = table.get("project").and_then(Value::as_table);
    let get = |key: &str| own.and_then(|own| own.get(key)).cloned();
    project.insert("name".into(), get("name").unwrap_or_else(|| "module".into()));
    project.insert("version".into(), get("version").unwrap_or_else(|| "0.0.0".into()));
    if let Some(python) = get("requires-python") {
        project.insert("requires-python".into(), python);
    }
    project.insert("dependencies".into(), requirements.iter().map(String::as_str).collect::<Vec<_>>().into());
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

/// The name in a requirement, in its normal form.
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

    const NEW: View = View::new(0, 21, 8);

    fn read(pyproject: &str) -> Project {
        let files = Files { pyproject: Some(pyproject.into()), ..Files::default() };
        Project::read(&files, "my-module", NEW).expect("reads")
    }

    #[test]
    fn images() {
        let check = |pyproject: &str, want: &str| assert_eq!(read(pyproject).base_image, want, "{pyproject}");
        check("", "python:3.13-slim");
        check("[project]\nrequires-python = '>=3.10'", "python:3.13-slim");
        check("[project]\nrequires-python = '>=3.14'", "python:3.14-slim");
        check("[project]\nrequires-python = '>=3.10,<3.12'", "python:3.11-slim");
        check("[project]\nrequires-python = '==3.12.*'", "python:3.12-slim");
        check("[project]\nrequires-python = '~=3.11.4'", "python:3.11-slim");
        check("[tool.dagger]\nbase-image = 'acme/python:1'", "acme/python:1");
        let files = Files { python_version: Some("3.12.1\n".into()), ..Files::default() };
        assert_eq!(Project::read(&files, "m", NEW).map(|p| p.base_image).ok(), Some("python:3.12.1-slim".into()));
    }

    #[test]
    fn libraries() {
        let check = |view: View, want: &str| assert_eq!(library_version(view), want);
        check(NEW, "0.21.11");
        check(View::new(0, 19, 0), "0.21.11");
        check(View::new(0, 18, 10), "0.18.10");
        check(View::new(0, 9, 9), "0.18.0");
    }

    #[test]
    fn requirements() {
        let check = |pyproject: &str, want: &str| {
            assert_eq!(read(pyproject).install, Install::Pip { requirements: want.into(), constraints: None });
        };
        check("", "dagger-io==0.21.11\n");
        check("[project]\ndependencies = ['dagger-io', 'httpx>=0.27']", "dagger-io==0.21.11\nhttpx>=0.27\n");
        check("[project]\ndependencies = ['dagger_io==0.20.1']", "dagger_io==0.20.1\n");
        check(
            "[project]\ndependencies = ['dagger-io']\n[tool.uv.sources]\ndagger-io = { path = 'sdk', editable = true }",
            "dagger-io==0.21.11\n",
        );
    }

    #[test]
    fn lock_files() {
        let text = "[project]\nname = 'my-app'\ndependencies = ['dagger-io']\n[tool.uv.sources]\ndagger-io = { path = 'sdk', editable = true }\n";
        let mut files = Files { pyproject: Some(text.into()), uv_lock: Some("version = 1".into()), ..Files::default() };
        let Install::Uv { pyproject, lock } = Project::read(&files, "m", NEW).expect("reads").install else {
            panic!("not uv")
        };
        assert!(
            pyproject.contains("dagger-io==0.21.11")
                && !pyproject.contains("editable")
                && pyproject.contains("package = false")
        );
        assert_eq!(lock.as_deref(), Some("version = 1"));
        files.uv_lock = None;
        files.requirements_lock = Some("# made by uv\n-e ./sdk\nanyio==4.1.0\n    # via dagger-io\ndagger-io==0.0.0\nhttpx==0.27.0 \\\n    --hash=x\n".into());
        let Install::Pip { constraints, .. } = Project::read(&files, "m", NEW).expect("reads").install else {
            panic!("not pip")
        };
        assert_eq!(constraints.as_deref(), Some("anyio==4.1.0\nhttpx==0.27.0\n"));
    }

    #[test]
    fn names() {
        let project = read("[project]\nname = 'My-App'\n[project.entry-points.'dagger.mod']\nmain_object = 'x.y:Z'");
        assert_eq!((&*project.package, project.main_object.as_deref()), ("my_app", Some("x.y:Z")));
        assert_eq!(read("").package, "my_module");
        let files = Files { pyproject: Some("[project".into()), ..Files::default() };
        assert!(
            Project::read(&files, "m", NEW)
                .is_err_and(|e| e.to_string().starts_with("cannot read `pyproject.toml` of module `m`: "))
        );
    }
}
