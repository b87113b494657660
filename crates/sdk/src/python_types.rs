//! Types of a Python module from its source: the files and the API, for the scanner.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_gql::types::TypeKind;
use rondel_model::op::TreePath;
use rondel_ops::{OpContext, Ops};
use rondel_typescan::python::{self, Api, ApiType, PythonModule};
use rondel_typescan::{SourceFile, SourceTypes};

use crate::bindings;
use crate::python_project::Project;
use crate::sdk::SdkSource;

/// How many files a module may have. Its types do not come from its source if it has more.
const MAX_FILES: usize = 2_000;
/// Folders with code that no import of a module reaches.
const FOREIGN: [&str; 4] = ["sdk", ".venv", "venv", "node_modules"];

/// The types of a module whose main class is `main_class`.
///
/// # Errors
/// When a file cannot be read.
pub(crate) async fn types(
    ops: &Arc<Ops>,
    cx: &OpContext,
    source: &SdkSource,
    project: &Project,
    main_class: String,
) -> Result<SourceTypes> {
    let code = source.context.place.path.join_inside(&source.source);
    let place = TreePath { fs: source.context.place.fs.clone(), path: code };
    if ops.stat(cx, &place, true).await?.is_none() {
        return Ok(SourceTypes::Undecided("the module has no folder of code".to_owned()));
    }
    let is_foreign = |name: &str| name.split_once('/').is_some_and(|(top, _)| FOREIGN.contains(&top));
    let mut found = ops.glob(cx, &place, "**/*.py").await?;
    found.retain(|entry| !is_foreign(&entry.name));
    if found.len() > MAX_FILES {
        return Ok(SourceTypes::Undecided(format!("the module has more than {MAX_FILES} files")));
    }
    let mut files = Vec::with_capacity(found.len());
    for entry in found {
        let file = TreePath { fs: place.fs.clone(), path: place.path.join(&entry.name) };
        let Ok(text) = String::from_utf8(ops.read(cx, &file).await?) else {
            return Ok(SourceTypes::Undecided(format!("`{}` is not UTF-8 text", entry.name)));
        };
        files.push(SourceFile { path: entry.name, text });
    }
    let module = PythonModule {
        main_class,
        package: project.package.clone(),
        main_object: project.main_object.clone(),
        requirements: project.requirements.clone(),
        local_packages: project.local_packages.clone(),
    };
    Ok(python::types(&files, &module, &PythonApi { source }))
}

/// The API as the bindings of Python give it.
struct PythonApi<'a> {
    source: &'a SdkSource,
}

impl Api for PythonApi<'_> {
    fn find(&self, name: &str) -> Option<ApiType> {
        let schema = &self.source.schema;
        let ty = schema.types.get(name).filter(|_| bindings::has_class(name))?;
        let is_core = self.source.core.types.contains_key(name);
        Some(match &ty.kind {
            _ if *ty.name == *schema.query => ApiType::Other,
            // Bindings of dependencies have documentation, which the library registers.
            _ if !is_core && !ty.description.is_empty() => ApiType::Other,
            TypeKind::Object(_) if is_core && ty.field("id").is_some() => ApiType::Object,
            TypeKind::Scalar => ApiType::Scalar,
            TypeKind::Enum(members) => ApiType::Enum(bindings::enum_members(members)),
            _ => ApiType::Other,
        })
    }

    fn names(&self) -> Vec<String> {
        let names = self.source.schema.types.keys().filter(|name| bindings::has_class(name));
        names.map(|name| name.to_string()).collect()
    }

    fn has_field(&self, name: &str, field: &str) -> bool {
        let ty = self.source.core.types.get(name);
        ty.and_then(|ty| ty.field(field)).is_some_and(|field| field.is_listed())
    }
}
