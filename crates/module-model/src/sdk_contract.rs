//! The contract between the engine and an SDK that is a module: its functions, their arguments, and
//! the ways to register types.

use std::fmt;

use crate::typedef::type_def::{Function, FunctionArg};

/// The function that registers types.
pub const TYPES: &str = "moduleTypes";
/// The function that generates code.
pub const CODEGEN: &str = "codegen";
/// The function that generates a client.
pub const CLIENT: &str = "generateClient";
/// The function that lists the host files needed to generate a client.
pub const CLIENT_FILES: &str = "requiredClientGenerationFiles";
/// The function that makes a runtime.
pub const RUNTIME: &str = "moduleRuntime";
/// The function that receives the configuration.
pub const CONFIG: &str = "withConfig";
/// The argument that has the module's source.
pub const SOURCE: &str = "modSource";
/// The argument that has the introspection of the API that the module sees.
pub const INTROSPECTION: &str = "introspectionJson";
/// The argument that has the file for the ID of the types.
pub const OUTPUT: &str = "outputFilePath";
/// The argument that has the directory for the files of a client.
pub const FOLDER: &str = "outputDir";
/// Their types, without the non-null mark: an SDK may accept null.
pub const ARGUMENTS: &[(&str, &str)] =
    &[(SOURCE, "ModuleSource"), (INTROSPECTION, "File"), (OUTPUT, "String"), (FOLDER, "String")];
/// The file to which a types container writes the ID.
pub const OUTPUT_PATH: &str = "/module-typedefs.json";

/// The contract by which an SDK registers a module's types. All contracts give the same data, which
/// is checked the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// The runtime runs with an empty function name and answers with the ID of a module.
    EmptyCall,
    /// `moduleTypes` returns a container whose command writes the ID of a module to a file.
    TypesContainer,
    /// `moduleTypes` returns the module.
    Typed,
    /// `moduleTypes` returns the types.
    Declared,
    /// `moduleTypes` returns the types as a JSON document.
    Document,
    /// `types` of the entrypoint returns the types.
    Entrypoint,
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contract::EmptyCall => "empty call",
            Contract::TypesContainer => "types container",
            Contract::Typed => "typed",
            Contract::Declared => "declared",
            Contract::Document => "types document",
            Contract::Entrypoint => "entrypoint",
        })
    }
}

impl Contract {
    /// The contract that a function `moduleTypes` has by its signature, or the expected signatures
    /// as an error.
    pub fn of_signature(function: &Function) -> Result<Self, String> {
        let returns = function.returns.describe();
        let (contract, args): (Self, &[&str]) = match returns.as_str() {
            "Container!" => (Self::TypesContainer, &["modSource", "introspectionJson", "outputFilePath"]),
            "Module!" => (Self::Typed, &["modSource", "introspectionJson"]),
            "[TypeDef!]!" => (Self::Declared, &["modSource", "introspectionJson"]),
            "File!" | "JSON!" => (Self::Document, &["modSource", "introspectionJson"]),
            _ => (Self::EmptyCall, &[]),
        };
        let has_output = function.args.iter().any(|arg| arg.name == "outputFilePath");
        let fits = contract != Self::EmptyCall && takes(function, args);
        if fits && has_output == (contract == Self::TypesContainer) {
            return Ok(contract);
        }
        Err("(modSource: ModuleSource!, introspectionJson: File!, outputFilePath: String!): Container!, or \
             (modSource: ModuleSource!, introspectionJson: File!) with the result Module!, [TypeDef!]!, File! or JSON!"
            .to_owned())
    }
}

/// Whether `function` can be called with the arguments `names` alone, and the arguments from the
/// engine have their types.
pub fn takes(function: &Function, names: &[&str]) -> bool {
    let given = |arg: &FunctionArg| names.contains(&arg.name.as_str());
    let typed = |arg: &FunctionArg| {
        let known = ARGUMENTS.iter().find(|(name, _)| *name == arg.name);
        known.is_none_or(|(_, ty)| arg.type_def.describe().trim_end_matches('!') == *ty)
    };
    let filled = |arg: &FunctionArg| given(arg) || arg.type_def.optional || arg.default_value.is_some();
    function.args.iter().all(|arg| filled(arg) && typed(arg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::typedef::type_def::{ObjectDef, TypeDef, TypeDefKind};

    fn object(name: &str) -> TypeDef {
        TypeDef::of(TypeDefKind::Object(Arc::new(ObjectDef { name: name.to_owned(), ..ObjectDef::default() })))
    }

    #[test]
    fn contracts_by_signature() {
        let arg = |name: &str, ty: TypeDef| FunctionArg { name: name.into(), type_def: ty, ..FunctionArg::default() };
        let of_name = |name: &str| match name {
            "modSource" => object("ModuleSource"),
            "introspectionJson" => object("File").with_optional(true),
            _ => TypeDef::of(TypeDefKind::String),
        };
        let check = |args: &[&str], returns: TypeDef, want: Option<Contract>| {
            let args = args.iter().map(|name| arg(name, of_name(name))).collect();
            let function = Function { args, returns, ..Function::default() };
            assert_eq!(Contract::of_signature(&function).ok(), want);
        };
        let two = ["modSource", "introspectionJson"];
        let three = ["modSource", "introspectionJson", "outputFilePath"];
        check(&three, object("Container"), Some(Contract::TypesContainer));
        check(&two, object("Container"), None);
        check(&two, object("Module"), Some(Contract::Typed));
        check(&["modSource"], object("Module"), Some(Contract::Typed));
        check(&three, object("Module"), None);
        check(&two, TypeDef::of(TypeDefKind::List(Arc::new(object("TypeDef")))), Some(Contract::Declared));
        check(&two, object("File"), Some(Contract::Document));
        check(&["modSource", "other"], object("Module"), None);
        check(&two, TypeDef::of(TypeDefKind::String), None);
        check(&two, object("Module").with_optional(true), None);
        for wrong in [
            object("File"),
            TypeDef::of(TypeDefKind::String),
            TypeDef::of(TypeDefKind::List(Arc::new(object("ModuleSource")))),
        ] {
            let function =
                Function { args: vec![arg("modSource", wrong)], returns: object("Module"), ..Function::default() };
            assert!(Contract::of_signature(&function).is_err());
        }
    }
}
