//! Type definitions as data: those of modules, and those of the API.
//!
//! They are immutable and cheap to clone. `name` is the name in the API. `original` is the name in
//! the module's own language, which the module's code uses.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A use of a type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TypeDef {
    /// The type.
    pub kind: TypeDefKind,
    /// Whether null is a value.
    pub optional: bool,
}

/// A type, or a reference to one: a name without content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum TypeDefKind {
    /// Not set yet.
    #[default]
    Unset,
    /// `String`.
    String,
    /// `Int`.
    Integer,
    /// `Float`.
    Float,
    /// `Boolean`.
    Boolean,
    /// `Void`.
    Void,
    /// A scalar with a name of its own.
    Scalar(Arc<ScalarDef>),
    /// A list.
    List(Arc<TypeDef>),
    /// An object.
    Object(Arc<ObjectDef>),
    /// An interface.
    Interface(Arc<InterfaceDef>),
    /// An enum.
    Enum(Arc<EnumDef>),
    /// An input object.
    Input(Arc<InputDef>),
}

/// A scalar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScalarDef {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub description: String,
    /// The module that owns it. Empty for the core.
    pub source_module: String,
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectDef {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its documentation.
    pub description: String,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its public data.
    pub fields: Vec<FieldDef>,
    /// Its functions.
    pub functions: Vec<Arc<Function>>,
    /// Its constructor.
    pub constructor: Option<Arc<Function>>,
    /// The module that owns it. Empty for the core.
    pub source_module: String,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceDef {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its documentation.
    pub description: String,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// Its functions.
    pub functions: Vec<Arc<Function>>,
    /// The module that owns it. Empty for the core.
    pub source_module: String,
}

/// An enum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EnumDef {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its documentation.
    pub description: String,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// Its members.
    pub members: Vec<EnumMember>,
    /// The module that owns it. Empty for the core.
    pub source_module: String,
}

/// A member of an enum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EnumMember {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its value in the module's code.
    pub value: String,
    /// Its documentation.
    pub description: String,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
}

/// An input object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputDef {
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: Vec<FieldDef>,
}

/// A public data field of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FieldDef {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its documentation.
    pub description: String,
    /// Its type.
    pub type_def: TypeDef,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
}

/// A function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its documentation.
    pub description: String,
    /// Its arguments.
    pub args: Vec<FunctionArg>,
    /// What it returns.
    pub returns: TypeDef,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its cache policy.
    pub cache: CachePolicy,
    /// Whether it is a check.
    pub check: bool,
    /// Whether it generates files.
    pub generator: bool,
    /// Whether it returns a service to bring up.
    pub up: bool,
    /// The module that owns it. Empty for the core.
    pub source_module: String,
}

/// An argument.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionArg {
    /// Its name in the API.
    pub name: String,
    /// Its name in the module.
    pub original: String,
    /// Its documentation.
    pub description: String,
    /// Its type.
    pub type_def: TypeDef,
    /// Its default value, as JSON text.
    pub default_value: Option<String>,
    /// The path in the module's context that is the default.
    pub default_path: Option<String>,
    /// The address that is the default.
    pub default_address: Option<String>,
    /// Patterns of files that are left out of a directory.
    pub ignore: Vec<String>,
    /// Its place in the source code.
    pub source_map: Option<SourceMap>,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
}

/// The cache policy of a function: how long its results are reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CachePolicy {
    /// As the module's configuration says.
    #[default]
    Unsaid,
    /// Across sessions, for a number of seconds if there is one.
    Default(Option<u64>),
    /// Within a session.
    PerSession,
    /// Never.
    Never,
}

/// A place in a module's source code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMap {
    /// The module. Empty for the module itself.
    pub module: String,
    /// The file, relative to the module's source root.
    pub filename: String,
    /// The line.
    pub line: i64,
    /// The column.
    pub column: i64,
    /// The web page of the file. Empty when it is not known.
    pub url: String,
}

/// The types of a module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleTypes {
    /// The description of the module.
    pub description: String,
    /// Its objects.
    pub objects: Vec<Arc<ObjectDef>>,
    /// Its interfaces.
    pub interfaces: Vec<Arc<InterfaceDef>>,
    /// Its enums.
    pub enums: Vec<Arc<EnumDef>>,
}

impl TypeDef {
    /// A non-null type.
    pub fn of(kind: TypeDefKind) -> Self {
        Self { kind, optional: false }
    }

    /// The member of `TypeDefKind`. `None` when the kind is not set.
    pub fn kind_name(&self) -> Option<&'static str> {
        Some(match &self.kind {
            TypeDefKind::Unset => return None,
            TypeDefKind::String => "STRING_KIND",
            TypeDefKind::Integer => "INTEGER_KIND",
            TypeDefKind::Float => "FLOAT_KIND",
            TypeDefKind::Boolean => "BOOLEAN_KIND",
            TypeDefKind::Void => "VOID_KIND",
            TypeDefKind::Scalar(_) => "SCALAR_KIND",
            TypeDefKind::List(_) => "LIST_KIND",
            TypeDefKind::Object(_) => "OBJECT_KIND",
            TypeDefKind::Interface(_) => "INTERFACE_KIND",
            TypeDefKind::Enum(_) => "ENUM_KIND",
            TypeDefKind::Input(_) => "INPUT_KIND",
        })
    }

    /// The name of the type. Empty for lists and when the kind is not set.
    pub fn name(&self) -> &str {
        match &self.kind {
            TypeDefKind::Unset | TypeDefKind::List(_) => "",
            TypeDefKind::String => "String",
            TypeDefKind::Integer => "Int",
            TypeDefKind::Float => "Float",
            TypeDefKind::Boolean => "Boolean",
            TypeDefKind::Void => "Void",
            TypeDefKind::Scalar(def) => &def.name,
            TypeDefKind::Object(def) => &def.name,
            TypeDefKind::Interface(def) => &def.name,
            TypeDefKind::Enum(def) => &def.name,
            TypeDefKind::Input(def) => &def.name,
        }
    }

    /// The type in GraphQL syntax: `[String!]!`.
    pub fn describe(&self) -> String {
        let mark = if self.optional { "" } else { "!" };
        match &self.kind {
            TypeDefKind::List(element) => format!("[{}]{mark}", element.describe()),
            _ => format!("{}{mark}", self.name()),
        }
    }

    /// The type for messages: `` `[String!]!` ``, or that the kind is not set.
    pub fn shown(&self) -> String {
        match &self.base().kind {
            TypeDefKind::Unset => "a type without a kind".to_owned(),
            _ => format!("`{}`", self.describe()),
        }
    }

    /// The type inside all lists.
    pub fn base(&self) -> &TypeDef {
        match &self.kind {
            TypeDefKind::List(element) => element.base(),
            _ => self,
        }
    }
}

impl ObjectDef {
    /// The field called `name` in the API.
    pub fn field(&self, name: &str) -> Option<&FieldDef> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl EnumDef {
    /// The member that the module's code calls `text`: by its original name, else by its name in
    /// the API, else by its value.
    pub fn member(&self, text: &str) -> Option<&EnumMember> {
        let find = |key: fn(&EnumMember) -> &str| self.members.iter().find(|member| key(member) == text);
        find(|m| &m.original).or_else(|| find(|m| &m.name)).or_else(|| find(|m| &m.value))
    }
}

impl Function {
    /// The first argument that a caller must give.
    pub fn first_required_arg(&self) -> Option<&FunctionArg> {
        self.args.iter().find(|arg| !arg.type_def.optional && arg.default_value.is_none())
    }

    /// The signature as GraphQL writes it: `(name: String!): Container!`.
    pub fn signature(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|arg| format!("{}: {}", arg.name, arg.type_def.describe())).collect();
        format!("({}): {}", args.join(", "), self.returns.describe())
    }
}

impl ModuleTypes {
    /// The object, interface or enum called `name` in the API.
    pub fn find(&self, name: &str) -> Option<TypeDefKind> {
        let object = || self.object(name).cloned().map(TypeDefKind::Object);
        let interface = || self.interface(name).cloned().map(TypeDefKind::Interface);
        object().or_else(interface).or_else(|| self.enumeration(name).cloned().map(TypeDefKind::Enum))
    }

    /// The object called `name` in the API.
    pub fn object(&self, name: &str) -> Option<&Arc<ObjectDef>> {
        self.objects.iter().find(|def| def.name == name)
    }

    /// The interface called `name` in the API.
    pub fn interface(&self, name: &str) -> Option<&Arc<InterfaceDef>> {
        self.interfaces.iter().find(|def| def.name == name)
    }

    /// The enum called `name` in the API.
    pub fn enumeration(&self, name: &str) -> Option<&Arc<EnumDef>> {
        self.enums.iter().find(|def| def.name == name)
    }
}
