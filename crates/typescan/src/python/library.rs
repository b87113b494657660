//! The names of the library and of Python's own modules that types are made of.

use super::values::Value;

/// Public names of the library, beside the types of the API.
const PUBLIC: &str = "\
check dag enum_type field function generate interface object_type up DefaultAddress DefaultPath Deprecated Doc Enum \
Ignore Name Client Query Retry Timeout connect close Config Connection connection mod client telemetry DaggerError \
VersionMismatch SessionError ProvisionError DownloadError ClientError ClientConnectionError TransportError QueryError \
ExecError InvalidQueryError ExecuteTimeoutError";

/// Names of `typing` that `typing_extensions` has as well.
const TYPING_EXTENSIONS: &str = "typing_extensions.";

/// A thing of foreign code. A thing that several modules export gets one path.
pub(super) fn foreign(path: &str) -> Value {
    let canonical = |prefix: &str, to: &str| {
        path.strip_prefix(prefix).filter(|name| !name.is_empty()).map(|name| format!("{to}{name}"))
    };
    let found = canonical(TYPING_EXTENSIONS, "typing.")
        .or_else(|| canonical("dagger.mod.", "dagger."))
        .or_else(|| canonical("dagger.client.gen.", "dagger."))
        .or_else(|| canonical("dagger_gen.", "dagger."))
        .unwrap_or_else(|| path.to_owned());
    let path = match found.as_str() {
        "dagger.Doc" => "typing.Doc",
        other => other,
    };
    Value::Foreign(path.into())
}

/// Public names of the library, beside the types of the API.
pub(super) fn public_names() -> impl Iterator<Item = &'static str> {
    PUBLIC.split(' ')
}

/// Whether `name` is one of [`public_names`].
pub(super) fn is_public(name: &str) -> bool {
    public_names().any(|known| known == name)
}

/// Whether a call of `path` may change what other code sees.
pub(super) fn is_unpredictable(path: &str) -> bool {
    matches!(
        path,
        "builtins.exec"
            | "builtins.eval"
            | "builtins.setattr"
            | "builtins.delattr"
            | "builtins.globals"
            | "builtins.locals"
            | "builtins.vars"
            | "builtins.__import__"
            | "builtins.exit"
            | "builtins.quit"
            | "builtins.compile"
            | "importlib.import_module"
            | "importlib.reload"
            | "runpy.run_path"
            | "runpy.run_module"
            | "sys.exit"
            | "os._exit"
            | "os.abort"
            | "os.kill"
            | "os.execv"
            | "os.execvp"
            | "dagger.default_module"
            | "dagger.Module"
    )
}

/// Whether `path` is a decorator or another maker of types.
pub(super) fn makes_types(path: &str) -> bool {
    path.strip_prefix("dagger.").is_some_and(|name| {
        matches!(name, "check" | "enum_type" | "field" | "function" | "generate" | "interface" | "object_type" | "up")
    }) || path == "dagger"
        || path == "dagger.mod"
}

/// Whether the decorator `path` keeps what it decorates.
pub(super) fn is_transparent(path: &str) -> bool {
    matches!(
        path,
        "typing.override"
            | "typing.final"
            | "abc.abstractmethod"
            | "enum.unique"
            | "typing.runtime_checkable"
            | "functools.total_ordering"
    )
}

/// Whether a call of `path` changes none of its arguments.
pub(super) fn is_pure(path: &str) -> bool {
    path.starts_with("dagger.")
        || path.starts_with("typing.")
        || path.strip_prefix("builtins.").is_some_and(|name| {
            matches!(
                name,
                "len"
                    | "sorted"
                    | "list"
                    | "tuple"
                    | "dict"
                    | "set"
                    | "frozenset"
                    | "print"
                    | "str"
                    | "repr"
                    | "sum"
                    | "min"
                    | "max"
                    | "any"
                    | "all"
                    | "enumerate"
                    | "zip"
                    | "range"
                    | "isinstance"
                    | "bool"
                    | "int"
                    | "float"
            )
        })
}

/// Whether a method called `name` of a list or dictionary leaves it unchanged.
pub(super) fn is_reader(name: &str) -> bool {
    matches!(name, "copy" | "get" | "items" | "keys" | "values" | "index" | "count")
}

/// Whether the name `path` is certainly something that can be called.
pub(super) fn is_callable(path: &str) -> bool {
    path.strip_prefix("builtins.").is_some_and(|name| {
        matches!(name, "list" | "dict" | "set" | "str" | "int" | "float" | "bool" | "tuple" | "frozenset" | "bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_for_each_thing() {
        let check = |path: &str, want: &str| assert_eq!(foreign(path), Value::Foreign(want.into()));
        check("typing_extensions.Annotated", "typing.Annotated");
        check("typing_extensions.Doc", "typing.Doc");
        check("dagger.Doc", "typing.Doc");
        check("dagger.mod.function", "dagger.function");
        check("dagger.mod", "dagger.mod");
        check("dagger.client.gen.Container", "dagger.Container");
        check("yaml.safe_load", "yaml.safe_load");
    }
}
