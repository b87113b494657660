//! The declarations of a package that a module's functions use.

use serde_json::Value as Json;

use crate::source::Position;

/// A package. It holds what is reachable from the main object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Package {
    /// The name in the package clause.
    pub name: String,
    /// The comment of the package.
    pub description: String,
    /// The name of the main object's type.
    pub main: String,
    /// The function `New`.
    pub constructor: Option<Func>,
    /// Structs, the main object first.
    pub structs: Vec<Struct>,
    /// Interfaces.
    pub interfaces: Vec<Interface>,
    /// Enums.
    pub enums: Vec<Enum>,
    /// Whether the code calls `Tracer()`, which generated code has to declare.
    pub uses_tracer: bool,
    /// Whether the code needs a C toolchain.
    pub uses_cgo: bool,
}

/// A place in a file of the package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The path of the file.
    pub file: String,
    /// The position in it.
    pub at: Position,
}

/// A struct type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struct {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place.
    pub place: Place,
    /// Its exported fields, in order.
    pub fields: Vec<Field>,
    /// Its exported methods with those of embedded structs, sorted by name.
    pub methods: Vec<Func>,
}

/// An exported field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its name in JSON. `None` if it is left out there.
    pub json_name: Option<String>,
    /// Its type.
    pub ty: Type,
    /// Whether it is kept and not shown.
    pub private: bool,
    /// Its documentation.
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place.
    pub place: Place,
}

/// A function or method.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Func {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// The text of the pragma `+cache`.
    pub cache: Option<String>,
    /// Whether it is a check.
    pub check: bool,
    /// Whether it generates files.
    pub generator: bool,
    /// Whether it returns a service to bring up.
    pub up: bool,
    /// Its place.
    pub place: Place,
    /// Whether its first parameter is a context.
    pub takes_context: bool,
    /// Its parameters, without the context.
    pub params: Vec<Param>,
    /// Whether the parameters are the fields of one parameter of a struct type without a name.
    pub has_inline_params: bool,
    /// Its result, without the error.
    pub result: Option<Type>,
    /// Whether the last result is an error.
    pub returns_error: bool,
}

/// A parameter, or a field of a struct of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type. That of a variadic one is a list.
    pub ty: Type,
    /// Whether it is variadic.
    pub variadic: bool,
    /// Whether it may be left out.
    pub optional: bool,
    /// Its default.
    pub default: Option<Json>,
    /// The path that is its default.
    pub default_path: Option<String>,
    /// The address that is its default.
    pub default_address: Option<String>,
    /// Patterns of files that are left out.
    pub ignore: Vec<String>,
    /// Its documentation.
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place.
    pub place: Place,
}

/// An interface type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub description: String,
    /// Its place.
    pub place: Place,
    /// Its own methods, sorted by name.
    pub methods: Vec<Func>,
}

/// A named basic type with constants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Enum {
    /// Its name.
    pub name: String,
    /// The basic type.
    pub base: String,
    /// Its documentation.
    pub description: String,
    /// Its place.
    pub place: Place,
    /// Its constants, in the order of the source.
    pub constants: Vec<EnumConstant>,
}

/// A constant of an enum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnumConstant {
    /// The name of the constant.
    pub constant: String,
    /// The name of the member: without the name of the type in front if all constants have it.
    pub member: String,
    /// The value as text.
    pub value: String,
    /// Its documentation.
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place.
    pub place: Place,
}

/// A type of a parameter, result or field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A basic type, such as `string` or `int64`.
    Basic(String),
    /// A type of the package with a basic type below and without constants: its name, and the basic
    /// type.
    Named(String, String),
    /// A pointer.
    Pointer(Box<Type>),
    /// A slice.
    List(Box<Type>),
    /// A struct of the package.
    Struct(String),
    /// An enum of the package.
    Enum(String),
    /// An interface of the package.
    Interface(String),
    /// A type of the generated package: the name of the Go type.
    Api(String),
}

impl Type {
    /// The type in Go, with `api` in front of names of the generated package.
    pub fn go(&self, api: &str) -> String {
        match self {
            Type::Basic(name)
            | Type::Named(name, _)
            | Type::Struct(name)
            | Type::Enum(name)
            | Type::Interface(name) => name.clone(),
            Type::Pointer(inner) => format!("*{}", inner.go(api)),
            Type::List(inner) => format!("[]{}", inner.go(api)),
            Type::Api(name) => format!("{api}{name}"),
        }
    }

    /// The type without pointers and lists.
    pub fn base(&self) -> &Type {
        match self {
            Type::Pointer(inner) | Type::List(inner) => inner.base(),
            other => other,
        }
    }
}
