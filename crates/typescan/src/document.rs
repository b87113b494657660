//! The types document: declarations of a module's types. docs/sdk-authors.md describes its JSON.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

/// The types of a module.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TypesDocument {
    /// The description of the module.
    #[serde(default)]
    pub description: String,
    /// The types, in the order in which they are registered.
    pub types: Vec<DeclaredType>,
}

/// The kind of a type.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeclaredKind {
    /// An object.
    #[default]
    Object,
    /// An interface.
    Interface,
    /// An enum.
    Enum,
}

/// A type.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeclaredType {
    /// What it is.
    pub kind: DeclaredKind,
    /// Its name in the code.
    pub name: String,
    /// Its documentation.
    #[serde(default)]
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place in the code.
    pub source_map: Option<SourcePlace>,
    /// The data fields of an object.
    #[serde(default)]
    pub fields: Vec<DeclaredField>,
    /// The constructor of an object.
    pub constructor: Option<DeclaredConstructor>,
    /// The functions of an object or interface.
    #[serde(default)]
    pub functions: Vec<DeclaredFunction>,
    /// The members of an enum.
    #[serde(default)]
    pub members: Vec<DeclaredMember>,
}

/// A data field.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeclaredField {
    /// Its name in the code.
    pub name: String,
    /// Its type as in GraphQL, such as `[String!]!`.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its documentation.
    #[serde(default)]
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place in the code.
    pub source_map: Option<SourcePlace>,
}

/// A function.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeclaredFunction {
    /// Its name in the code.
    pub name: String,
    /// Its documentation.
    #[serde(default)]
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its arguments, in order.
    #[serde(default)]
    pub args: Vec<DeclaredArg>,
    /// Its result as in GraphQL. `None`: `Void`.
    pub returns: Option<String>,
    /// How long its results are cached.
    pub cache: Option<DeclaredCache>,
    /// Whether it is a check.
    #[serde(default)]
    pub check: bool,
    /// Whether it generates files.
    #[serde(default)]
    pub generator: bool,
    /// Whether it returns a service to bring up.
    #[serde(default)]
    pub up: bool,
    /// Its place in the code.
    pub source_map: Option<SourcePlace>,
}

/// A constructor. Its name and its result are those of its object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeclaredConstructor {
    /// Its documentation.
    #[serde(default)]
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its arguments, in order.
    #[serde(default)]
    pub args: Vec<DeclaredArg>,
    /// Its place in the code.
    pub source_map: Option<SourcePlace>,
}

/// An argument.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeclaredArg {
    /// Its name in the code.
    pub name: String,
    /// Its type as in GraphQL.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its documentation.
    #[serde(default)]
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Null is a default as well. `None` means that there is no default.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// The path in the module's context that is the default.
    pub default_path: Option<String>,
    /// The address of an image that is the default.
    pub default_address: Option<String>,
    /// Patterns of files that are left out of the directory at the default path.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Its place in the code.
    pub source_map: Option<SourcePlace>,
}

/// How long results of a function are cached.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredCache {
    /// The policy.
    pub policy: DeclaredCachePolicy,
    /// A time to live, such as `10s`, for the default policy.
    pub ttl: Option<String>,
}

/// A cache policy of a function.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeclaredCachePolicy {
    /// Across sessions.
    #[default]
    Default,
    /// Within a session.
    PerSession,
    /// Not at all.
    Never,
}

/// A member of an enum.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeclaredMember {
    /// Its name.
    pub name: String,
    /// Its value in the code. Empty: its name.
    #[serde(default)]
    pub value: String,
    /// Its documentation.
    #[serde(default)]
    pub description: String,
    /// The reason for its deprecation.
    pub deprecated: Option<String>,
    /// Its place in the code.
    pub source_map: Option<SourcePlace>,
}

/// A place in the source code. Lines and columns count from one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePlace {
    /// The path of the file, relative to the folder of the code.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

fn given<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(d).map(Some)
}
