//! Types of GraphQL introspection, with the members that commands need.

use serde::Deserialize;

/// The selection of every member of [`TypeInfo`].
pub(crate) const TYPE_SELECTION: &str = "{kind name description fields{name description type{...T} args{name \
description defaultValue type{...T} directives{name args{name value}}}} enumValues{name description} \
inputFields{name type{...T} defaultValue directives{name args{name value}}}}";
/// The fragment that [`TYPE_SELECTION`] uses.
pub(crate) const TYPE_FRAGMENT: &str =
    "fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}";

/// A type of the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeInfo {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) fields: Option<Vec<FieldInfo>>,
    pub(crate) enum_values: Option<Vec<MemberInfo>>,
}

/// A field of an object or interface.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FieldInfo {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    #[serde(rename = "type")]
    pub(crate) ty: TypeRef,
    pub(crate) args: Vec<ArgInfo>,
}

/// An argument of a field.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArgInfo {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) default_value: Option<String>,
    #[serde(rename = "type")]
    pub(crate) ty: TypeRef,
    #[serde(default)]
    pub(crate) directives: Vec<DirectiveInfo>,
}

/// A directive applied to an argument.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DirectiveInfo {
    pub(crate) name: String,
    pub(crate) args: Vec<DirectiveArg>,
}

/// An argument of an applied directive. The value is a GraphQL literal.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DirectiveArg {
    pub(crate) value: String,
}

/// A member of an enumeration.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MemberInfo {
    pub(crate) name: String,
}

/// A reference to a type, with its list and non-null wrappers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeRef {
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) of_type: Option<Box<TypeRef>>,
}

impl TypeRef {
    /// The named type inside all wrappers.
    pub(crate) fn base(&self) -> &TypeRef {
        self.of_type.as_deref().map_or(self, TypeRef::base)
    }

    /// The name of the type inside all wrappers.
    pub(crate) fn base_name(&self) -> &str {
        self.base().name.as_deref().unwrap_or_default()
    }

    /// The type as GraphQL writes it, such as `[String!]!`.
    pub(crate) fn text(&self) -> String {
        let inner = || self.of_type.as_deref().map(TypeRef::text).unwrap_or_default();
        match self.kind.as_str() {
            "NON_NULL" => format!("{}!", inner()),
            "LIST" => format!("[{}]", inner()),
            _ => self.name.clone().unwrap_or_default(),
        }
    }

    /// Returns whether the type is non-null.
    pub(crate) fn is_required(&self) -> bool {
        self.kind == "NON_NULL"
    }

    /// The number of list wrappers.
    pub(crate) fn lists(&self) -> usize {
        usize::from(self.kind == "LIST") + self.of_type.as_deref().map_or(0, TypeRef::lists)
    }

    /// Returns whether the named type has fields.
    pub(crate) fn is_composite(&self) -> bool {
        matches!(self.base().kind.as_str(), "OBJECT" | "INTERFACE")
    }
}

impl ArgInfo {
    /// The object type that an ID argument expects, else the type's own name.
    pub(crate) fn type_name(&self) -> String {
        let expected = self.directives.iter().find(|d| d.name == "expectedType");
        let name = expected.and_then(|d| d.args.first()).map(|a| a.value.trim_matches('"').to_owned());
        let base = self.ty.base_name();
        name.or_else(|| base.strip_suffix("ID").filter(|n| !n.is_empty()).map(ToOwned::to_owned))
            .unwrap_or_else(|| base.to_owned())
    }

    /// Returns whether callers must give the argument.
    pub(crate) fn is_required(&self) -> bool {
        self.ty.is_required() && self.default_value.is_none()
    }
}

/// Converts a name to kebab-case. A run of capitals is one word, and so is a run of digits.
pub(crate) fn kebab(name: &str) -> String {
    #[derive(PartialEq, Clone, Copy)]
    enum Class {
        Upper,
        Lower,
        Digit,
    }
    let class = |c: char| match c {
        c if c.is_ascii_digit() => Class::Digit,
        c if c.is_uppercase() => Class::Upper,
        _ => Class::Lower,
    };
    let chars: Vec<char> = name.chars().map(|c| if c == '_' || c == ' ' { '-' } else { c }).collect();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        if i > 0 && c != '-' && chars[i - 1] != '-' {
            let (before, now) = (class(chars[i - 1]), class(c));
            let ends_capitals = now == Class::Upper
                && before == Class::Upper
                && chars.get(i + 1).is_some_and(|&next| next != '-' && class(next) == Class::Lower);
            let changes = before != now && !(before == Class::Upper && now == Class::Lower);
            if changes || ends_capitals {
                out.push('-');
            }
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_names() {
        for (name, want) in [
            ("containerEcho", "container-echo"),
            ("grepDir", "grep-dir"),
            ("withHTTPServer", "with-http-server"),
            ("sha256Sum", "sha-256-sum"),
            ("a_b", "a-b"),
            ("already-kebab", "already-kebab"),
            ("x", "x"),
        ] {
            assert_eq!(kebab(name), want);
        }
    }
}
