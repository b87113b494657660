//! The first files of a module in Python.

use rondel_fault::Result;

use crate::python_project::{Project, ProjectFiles};
use crate::sdk::GeneratedFiles;

/// The image of the starter's containers: the one that the module itself runs in, so that the first
/// call needs no other.
const IMAGE: &str = "python:3.13-slim";

/// The files that a module in Python gets: `pyproject.toml` if there is none, and code with the
/// main class `class` if there is no code.
///
/// # Errors
/// When `pyproject` cannot be parsed.
pub(crate) fn files(module: &str, class: &str, pyproject: Option<String>, has_code: bool) -> Result<GeneratedFiles> {
    let mut files = Vec::new();
    let project_name = project_name(module);
    let new = pyproject.is_none().then(|| project_file(&project_name));
    if let Some(text) = &new {
        files.push(("pyproject.toml".to_owned(), text.clone()));
    }
    let project = ProjectFiles { pyproject: pyproject.or(new), ..ProjectFiles::default() };
    let project = Project::read(&project, module)?;
    // A project that declares its main object has a place for its code.
    if !has_code && project.main_object.is_none() {
        let package = &project.package;
        files.push((format!("src/{package}/__init__.py"), package_file(module, class)));
        files.push((format!("src/{package}/main.py"), code_file(class)));
    }
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    Ok(GeneratedFiles {
        files,
        generated: owned(&["sdk/**"]),
        ignored: owned(&[".venv", "**/__pycache__", "sdk", ".env"]),
    })
}

/// The name of the project: the module's, as package indexes write names.
fn project_name(module: &str) -> String {
    let mut name = String::new();
    for c in module.chars() {
        match c.is_ascii_alphanumeric() {
            true => name.push(c.to_ascii_lowercase()),
            false if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            false => {}
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "main".to_owned() } else { name.to_owned() }
}

fn project_file(name: &str) -> String {
    format!(
        r#"[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.13"
dependencies = ["dagger-io"]

[build-system]
requires = ["uv_build>=0.8.4,<0.9.0"]
build-backend = "uv_build"
"#
    )
}

fn package_file(module: &str, class: &str) -> String {
    // A backslash or a quote in the name would end or change the text.
    let module: String = module.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    format!(
        r#""""The functions of {module}.

The first line of this text describes the module wherever it is listed.
"""

from .main import {class} as {class}
"#
    )
}

fn code_file(class: &str) -> String {
    format!(
        r#"from typing import Annotated

import dagger
from dagger import Doc, dag, function, object_type


@object_type
class {class}:
    @function
    def hello(self, name: Annotated[str, Doc("Who is greeted")] = "world") -> str:
        """Greets a person"""
        return f"Hello, {{name}}!"

    @function
    def container_echo(self, string_arg: Annotated[str, Doc("What is printed")]) -> dagger.Container:
        """Returns a container that prints its argument"""
        return dag.container().from_("{IMAGE}").with_exec(["echo", string_arg])

    @function
    async def grep_dir(
        self,
        directory_arg: Annotated[dagger.Directory, Doc("Where to search")],
        pattern: Annotated[str, Doc("What to search for")],
    ) -> str:
        """Returns the lines in the files of a directory that match a pattern"""
        return await (
            dag.container()
            .from_("{IMAGE}")
            .with_mounted_directory("/mnt", directory_arg)
            .with_workdir("/mnt")
            .with_exec(["grep", "-R", pattern, "."])
            .stdout()
        )
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(module: &str, pyproject: Option<&str>, has_code: bool) -> Vec<String> {
        let found = files(module, "Class", pyproject.map(str::to_owned), has_code).expect("works");
        found.files.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_there_stays() {
        let all = ["pyproject.toml", "src/my_module/__init__.py", "src/my_module/main.py"];
        assert_eq!(names("my-module", None, false), all);
        assert_eq!(names("My  Module!", None, false), all);
        assert_eq!(names("m", Some("[project]\nname = 'my-module'"), false), all[1..]);
        assert_eq!(names("m", None, true), all[..1]);
        assert!(names("m", Some(""), true).is_empty());
        let declared = "[project.entry-points.'dagger.mod']\nmain_object = 'x.y:Z'";
        assert!(names("m", Some(declared), false).is_empty());
        assert!(files("m", "M", Some("[project".into()), false).is_err());
    }

    #[test]
    fn a_project_file_can_be_read() {
        let text = project_file(&project_name("---"));
        let files = ProjectFiles { pyproject: Some(text), ..ProjectFiles::default() };
        let project = Project::read(&files, "x").expect("reads");
        assert_eq!((&*project.package, &*project.base_images[0]), ("main", IMAGE));
    }
}
