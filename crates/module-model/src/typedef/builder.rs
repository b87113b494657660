//! Builder of type definitions: every `with…` field of the API as a pure function with its checks.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_version::View;

use crate::names::{field_name, is_graphql_name, member_name, type_name};
use crate::typedef::type_def::{
    CachePolicy, EnumDef, EnumMember, FieldDef, Function, FunctionArg, InterfaceDef, ModuleTypes, ObjectDef, ScalarDef,
    SourceMap, TypeDef, TypeDefKind,
};

/// From this version on an enum member has a name and a separate value.
pub const ENUM_MEMBERS_SINCE: View = View::new(0, 18, 11);
/// The longest time to live of results, in seconds.
const MAX_RESULT_SECONDS: u64 = 7 * 24 * 3600;

/// Documentation, source map and deprecation of a definition.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// The documentation.
    pub description: String,
    /// The place in the source code.
    pub source_map: Option<SourceMap>,
    /// The reason for the deprecation.
    pub deprecated: Option<String>,
}

impl TypeDef {
    /// Sets a kind that has no name.
    ///
    /// # Errors
    /// When the kind needs a name or an element type.
    pub fn with_kind(mut self, kind: &str) -> Result<Self> {
        self.kind = match kind.strip_suffix("_KIND").unwrap_or(kind) {
            "STRING" => TypeDefKind::String,
            "INTEGER" => TypeDefKind::Integer,
            "FLOAT" => TypeDefKind::Float,
            "BOOLEAN" => TypeDefKind::Boolean,
            "VOID" => TypeDefKind::Void,
            other => {
                let cure = format!(
                    "use `with{}` instead",
                    if other == "LIST" { "ListOf".into() } else { type_name(&other.to_ascii_lowercase()) }
                );
                return Err(Fault::user(format!("a type of kind `{kind}` needs more than its kind")).with_hint(cure));
            }
        };
        Ok(self)
    }

    /// Sets whether null is a value.
    #[must_use]
    pub fn with_optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// Sets the kind and keeps nullability.
    #[must_use]
    pub fn with(mut self, kind: TypeDefKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets a scalar.
    ///
    /// # Errors
    /// When the name is empty.
    pub fn with_scalar(self, name: &str, description: String) -> Result<Self> {
        let name = named("scalar", name)?;
        Ok(self.with(TypeDefKind::Scalar(Arc::new(ScalarDef { name, description, source_module: String::new() }))))
    }

    /// Sets an object.
    ///
    /// # Errors
    /// When the name is empty.
    pub fn with_object(self, name: &str, notes: Annotations) -> Result<Self> {
        let Annotations { description, source_map, deprecated } = notes;
        let (api, original) = (named("object", name)?, name.to_owned());
        let def = ObjectDef { name: api, original, description, source_map, deprecated, ..ObjectDef::default() };
        Ok(self.with(TypeDefKind::Object(Arc::new(def))))
    }

    /// Sets an interface.
    ///
    /// # Errors
    /// When the name is empty.
    pub fn with_interface(self, name: &str, notes: Annotations) -> Result<Self> {
        let Annotations { description, source_map, .. } = notes;
        let (api, original) = (named("interface", name)?, name.to_owned());
        let def = InterfaceDef { name: api, original, description, source_map, ..InterfaceDef::default() };
        Ok(self.with(TypeDefKind::Interface(Arc::new(def))))
    }

    /// Sets an enum.
    ///
    /// # Errors
    /// When the name is empty.
    pub fn with_enum(self, name: &str, notes: Annotations) -> Result<Self> {
        let Annotations { description, source_map, .. } = notes;
        let (api, original) = (named("enum", name)?, name.to_owned());
        let def = EnumDef { name: api, original, description, source_map, ..EnumDef::default() };
        Ok(self.with(TypeDefKind::Enum(Arc::new(def))))
    }

    /// Adds a data field to an object.
    ///
    /// # Errors
    /// When it is no object, or has another field of that name.
    pub fn with_field(mut self, name: &str, type_def: TypeDef, notes: Annotations) -> Result<Self> {
        let TypeDefKind::Object(def) = &mut self.kind else {
            return Err(self.cannot(&format!("take the field `{name}`"), "an object"));
        };
        let Annotations { description, source_map, deprecated } = notes;
        let (api, original) = (field_name(name), name.to_owned());
        let field = FieldDef { name: api, original, description, type_def, source_map, deprecated };
        let owner = format!("object `{}`", def.original);
        add(&mut Arc::make_mut(def).fields, field, &owner, "fields", |it| (&it.name, &it.original))?;
        Ok(self)
    }

    /// Adds a function to an object or interface.
    ///
    /// # Errors
    /// When it is something else, or has another function of that name.
    pub fn with_function(mut self, function: Arc<Function>) -> Result<Self> {
        let (owner, functions) = match &mut self.kind {
            TypeDefKind::Object(def) => (format!("object `{}`", def.original), &mut Arc::make_mut(def).functions),
            TypeDefKind::Interface(def) => (format!("interface `{}`", def.original), &mut Arc::make_mut(def).functions),
            _ => {
                let what = format!("take the function `{}`", function.original);
                return Err(self.cannot(&what, "an object or interface"));
            }
        };
        add(functions, function, &owner, "functions", |it| (&it.name, &it.original))?;
        Ok(self)
    }

    /// Sets the constructor of an object.
    ///
    /// # Errors
    /// When it is no object, or the function returns another type.
    pub fn with_constructor(mut self, function: &Function) -> Result<Self> {
        let TypeDefKind::Object(def) = &mut self.kind else {
            return Err(self.cannot("take a constructor", "an object"));
        };
        let mut function = function.clone();
        function.name.clear();
        function.original.clear();
        match &function.returns.kind {
            TypeDefKind::Object(returned) if returned.name == def.name => {}
            _ => {
                let (name, got) = (&def.original, function.returns.shown());
                return Err(Fault::user(format!("the constructor of `{name}` must return `{name}`, not {got}")));
            }
        }
        Arc::make_mut(def).constructor = Some(Arc::new(function));
        Ok(self)
    }

    /// Adds an enum member whose name is its value.
    ///
    /// # Errors
    /// When it is no enum, or the value is no valid name or exists already.
    pub fn with_enum_value(self, value: &str, notes: Annotations) -> Result<Self> {
        self.add_member(value.to_owned(), value.to_owned(), value.to_owned(), notes)
    }

    /// Adds an enum member. Views before [`ENUM_MEMBERS_SINCE`] show its value as its name. The
    /// module's code uses its name in every view.
    ///
    /// # Errors
    /// When it is no enum, or name or value are invalid or exist already.
    pub fn with_enum_member(self, view: View, name: &str, value: &str, notes: Annotations) -> Result<Self> {
        if view < ENUM_MEMBERS_SINCE {
            let value = if value.is_empty() { name } else { value };
            return self.add_member(value.to_owned(), name.to_owned(), value.to_owned(), notes);
        }
        let value = if value.is_empty() { name } else { value };
        if !is_graphql_name(name) {
            return Err(not_a_member(name));
        }
        self.add_member(member_name(name), name.to_owned(), value.to_owned(), notes)
    }

    fn add_member(mut self, name: String, original: String, value: String, notes: Annotations) -> Result<Self> {
        let TypeDefKind::Enum(def) = &mut self.kind else {
            return Err(self.cannot(&format!("take the member `{original}`"), "an enum"));
        };
        if !is_graphql_name(&name) {
            return Err(not_a_member(&name));
        }
        if def.members.iter().any(|member| member.name == name) {
            return Err(Fault::user(format!("enum `{}` has a member `{name}` already", def.original)));
        }
        if let Some(same) = def.members.iter().find(|member| member.value == value) {
            let (first, def) = (&same.original, &def.original);
            return Err(Fault::user(format!("enum `{def}`: `{original}` has the same value as `{first}`: `{value}`")));
        }
        let Annotations { description, source_map, deprecated } = notes;
        let member = EnumMember { name, original, value, description, source_map, deprecated };
        Arc::make_mut(def).members.push(member);
        Ok(self)
    }

    fn cannot(&self, what: &str, wanted: &str) -> Fault {
        let kind = self.kind_name().unwrap_or("a type without a kind");
        Fault::user(format!("cannot {what}: the type must be {wanted}, and is {kind}"))
    }
}

fn not_a_member(name: &str) -> Fault {
    Fault::user(format!("enum member `{name}` is not a valid name"))
        .with_hint("a member's name has letters, digits and underscores, and does not start with a digit")
}

fn named(what: &str, name: &str) -> Result<String> {
    let api = type_name(name);
    if is_graphql_name(&api) {
        Ok(api)
    } else {
        Err(Fault::user(format!("`{name}` is not a valid name for an {what}")))
    }
}

/// Adds `item` to a list of `owner`. `names` gives the name in the API and the module's own. Adding
/// an equal item twice has no effect.
fn add<T: PartialEq>(
    list: &mut Vec<T>,
    item: T,
    owner: &str,
    what: &str,
    names: impl Fn(&T) -> (&str, &str),
) -> Result<()> {
    let (name, original) = names(&item);
    match list.iter().find(|known| names(known).0 == name) {
        None => list.push(item),
        Some(known) if *known == item => {}
        Some(known) => {
            let first = names(known).1;
            let how = if first == original {
                format!("called `{first}`")
            } else {
                format!("called `{name}` in the API: `{first}` and `{original}`")
            };
            return Err(Fault::user(format!("{owner} has two {what} that are {how}")).with_hint("rename one of them"));
        }
    }
    Ok(())
}

impl Function {
    /// A function without arguments.
    pub fn new(name: &str, returns: TypeDef) -> Self {
        Self { name: field_name(name), original: name.to_owned(), returns, ..Self::default() }
    }

    /// Adds an argument.
    ///
    /// # Errors
    /// When there is another argument of that name, or it has more than one default or one that its
    /// type cannot have.
    pub fn with_arg(mut self, mut arg: FunctionArg) -> Result<Self> {
        arg.name = field_name(&arg.original);
        if !is_graphql_name(&arg.name) {
            return Err(Fault::user(format!("`{}` is not a valid name for an argument", arg.original)));
        }
        check_defaults(&arg)?;
        let owner =
            if self.original.is_empty() { "a constructor".into() } else { format!("function `{}`", self.original) };
        add(&mut self.args, arg, &owner, "arguments", |it| (&it.name, &it.original))?;
        Ok(self)
    }

    /// Sets the cache policy: `Default`, `PerSession` or `Never`, and a time to live such as `40s`.
    ///
    /// # Errors
    /// When the time is malformed, out of bounds, or has no meaning for the policy.
    pub fn with_cache_policy(mut self, policy: &str, time: Option<&str>) -> Result<Self> {
        let time = time.filter(|text| !text.is_empty());
        if let (Some(_), "PerSession" | "Never") = (time, policy) {
            let name = &self.original;
            return Err(Fault::user(format!(
                "function `{name}`: a cache time needs the policy `Default`, not `{policy}`"
            )));
        }
        self.cache = match policy {
            "PerSession" => CachePolicy::PerSession,
            "Never" => CachePolicy::Never,
            "Default" => match time.map(parse_seconds).transpose()? {
                Some(0) => CachePolicy::Never,
                Some(seconds) if seconds > MAX_RESULT_SECONDS => {
                    let name = &self.original;
                    return Err(Fault::user(format!(
                        "function `{name}`: results are kept for 7 days (`168h`) at most"
                    )));
                }
                seconds => CachePolicy::Default(seconds),
            },
            other => return Err(Fault::user(format!("`{other}` is not a cache policy"))),
        };
        Ok(self)
    }
}

fn check_defaults(arg: &FunctionArg) -> Result<()> {
    let name = &arg.original;
    let defaults = [arg.default_value.is_some(), arg.default_path.is_some(), arg.default_address.is_some()];
    if defaults.iter().filter(|given| **given).count() > 1 {
        return Err(Fault::user(format!("argument `{name}` has more than one of default value, path and address")));
    }
    let ty = match &arg.type_def.kind {
        TypeDefKind::Object(def) => &*def.name,
        _ => "",
    };
    if arg.default_path.is_some() && !matches!(ty, "Directory" | "File" | "GitRepository" | "GitRef") {
        let got = arg.type_def.describe();
        return Err(Fault::user(format!(
            "argument `{name}`: only files, directories and git references have a default path, not `{got}`"
        )));
    }
    if !arg.ignore.is_empty() && ty != "Directory" {
        return Err(Fault::user(format!("argument `{name}`: only a `Directory` can ignore patterns")));
    }
    if arg.default_address.is_some() && ty != "Container" {
        return Err(Fault::user(format!("argument `{name}`: only a `Container` has a default address")));
    }
    match &arg.default_value {
        Some(text) if serde_json::from_str::<serde_json::Value>(text).is_err() => {
            Err(Fault::user(format!("argument `{name}`: the default value is not JSON: `{text}`")))
        }
        _ => Ok(()),
    }
}

/// Parses a duration such as `40s`, `1h30m` or `0` to seconds. Fractions of a second are dropped.
///
/// # Errors
/// When it is no duration, or between zero and one second.
pub fn parse_seconds(text: &str) -> Result<u64> {
    let bad = || Fault::user(format!("`{text}` is not a time such as `40s` or `1h30m`"));
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let units = [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, seconds) = units.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(bad)?;
        rest = &rest[unit.len()..];
        total += number * seconds;
    }
    if text.is_empty() {
        return Err(bad());
    }
    if total > 0.0 && total < 1.0 {
        return Err(Fault::user(format!("`{text}` is too short: results are kept for a second at least")));
    }
    Ok(total as u64)
}

impl ModuleTypes {
    /// Adds a type. `field` is the field of the API: `withObject`, `withInterface` or `withEnum`.
    ///
    /// # Errors
    /// When the type is of another kind, or there is another one of that name.
    pub fn with_type(mut self, field: &str, type_def: &TypeDef) -> Result<Self> {
        let owner = "the module";
        match (field, &type_def.kind) {
            ("withObject", TypeDefKind::Object(def)) => {
                add(&mut self.objects, def.clone(), owner, "objects", |it| (&it.name, &it.original))?;
            }
            ("withInterface", TypeDefKind::Interface(def)) => {
                add(&mut self.interfaces, def.clone(), owner, "interfaces", |it| (&it.name, &it.original))?;
            }
            ("withEnum", TypeDefKind::Enum(def)) => {
                add(&mut self.enums, def.clone(), owner, "enums", |it| (&it.name, &it.original))?;
            }
            _ => {
                let kind = type_def.kind_name().unwrap_or("a type without a kind");
                return Err(Fault::user(format!("`{field}` of a module cannot take {kind}")));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level() -> TypeDef {
        TypeDef::default().with_enum("Level", Annotations::default()).expect("an enum")
    }

    fn members(def: &TypeDef) -> Vec<(String, String, String)> {
        let TypeDefKind::Enum(def) = &def.kind else { panic!("no enum") };
        def.members.iter().map(|m| (m.name.clone(), m.original.clone(), m.value.clone())).collect()
    }

    #[test]
    fn members_before_and_after_names_and_values_were_distinct() {
        let check = |view: View, name: &str, value: &str, want: [&str; 3]| {
            let def = level().with_enum_member(view, name, value, Annotations::default()).expect("a member");
            assert_eq!(members(&def), [(want[0].into(), want[1].into(), want[2].into())]);
        };
        let (old, new) = (View::new(0, 18, 10), View::new(0, 18, 11));
        check(old, "LOW", "low", ["low", "LOW", "low"]);
        check(new, "LOW", "low", ["LOW", "LOW", "low"]);
        check(old, "LOW", "", ["LOW", "LOW", "LOW"]);
        check(new, "inProgress", "", ["IN_PROGRESS", "inProgress", "inProgress"]);
        check(new, "TRUE", "true", ["TRUE", "TRUE", "true"]);
    }

    #[test]
    fn wrong_members() {
        let check = |name: &str, value: &str, want: &str| {
            let def =
                level().with_enum_member(ENUM_MEMBERS_SINCE, "LOW", "low", Annotations::default()).expect("a member");
            let got = def.with_enum_member(ENUM_MEMBERS_SINCE, name, value, Annotations::default());
            assert_eq!(got.map_err(|e| e.to_string()), Err(want.to_owned()));
        };
        check("LOW", "x", "enum `Level` has a member `LOW` already");
        check("LESS", "low", "enum `Level`: `LESS` has the same value as `LOW`: `low`");
        check("1ACTIVE", "", "enum member `1ACTIVE` is not a valid name");
        check("ACTIVE ", "", "enum member `ACTIVE ` is not a valid name");
        check("#ACTIVE", "", "enum member `#ACTIVE` is not a valid name");
    }

    #[test]
    fn arguments_have_at_most_one_default_that_fits() {
        let object = |name: &str| TypeDef::default().with_object(name, Annotations::default()).expect("an object");
        let check = |edit: fn(&mut FunctionArg), ty: TypeDef, want: Option<&str>| {
            let mut arg = FunctionArg { original: "some_arg".into(), type_def: ty, ..FunctionArg::default() };
            edit(&mut arg);
            let got = Function::new("f", TypeDef::of(TypeDefKind::Void)).with_arg(arg);
            assert_eq!(got.err().map(|e| e.to_string()), want.map(ToOwned::to_owned));
        };
        check(|_| {}, TypeDef::of(TypeDefKind::String), None);
        check(|a| a.default_path = Some("/".into()), object("Directory"), None);
        check(|a| a.ignore = vec!["x".into()], object("Directory"), None);
        check(|a| a.default_address = Some("alpine".into()), object("Container"), None);
        let wrong =
            "argument `some_arg`: only files, directories and git references have a default path, not `String!`";
        check(|a| a.default_path = Some("/".into()), TypeDef::of(TypeDefKind::String), Some(wrong));
        let wrong = "argument `some_arg` has more than one of default value, path and address";
        check(
            |a| {
                a.default_path = Some("/".into());
                a.default_value = Some("1".into())
            },
            object("File"),
            Some(wrong),
        );
        check(
            |a| a.ignore = vec!["x".into()],
            object("File"),
            Some("argument `some_arg`: only a `Directory` can ignore patterns"),
        );
        check(
            |a| a.default_value = Some("x".into()),
            TypeDef::of(TypeDefKind::String),
            Some("argument `some_arg`: the default value is not JSON: `x`"),
        );
    }

    #[test]
    fn no_name_twice() {
        let object = || TypeDef::default().with_object("Foo", Annotations::default()).expect("an object");
        let function = |name: &str, kind: TypeDefKind| Arc::new(Function::new(name, TypeDef::of(kind)));
        let taken = |ty: Result<TypeDef>| ty.map(|_| ()).map_err(|e| e.to_string());
        let two = |one: Arc<Function>, other| object().with_function(one).and_then(|ty| ty.with_function(other));
        let same =
            two(function("a", TypeDefKind::String), function("a", TypeDefKind::String)).expect("says the same twice");
        assert!(matches!(same.kind, TypeDefKind::Object(def) if def.functions.len() == 1));
        assert_eq!(
            taken(two(function("a", TypeDefKind::String), function("a", TypeDefKind::Integer))),
            Err("object `Foo` has two functions that are called `a`".into())
        );
        assert_eq!(
            taken(two(function("aB", TypeDefKind::String), function("a_b", TypeDefKind::String))),
            Err("object `Foo` has two functions that are called `aB` in the API: `aB` and `a_b`".into())
        );
        let field = |kind: TypeDefKind| ("x", TypeDef::of(kind), Annotations::default());
        let with = |ty: TypeDef, (name, def, notes): (&str, TypeDef, Annotations)| ty.with_field(name, def, notes);
        let fields = with(object(), field(TypeDefKind::String)).and_then(|ty| with(ty, field(TypeDefKind::Integer)));
        assert_eq!(taken(fields), Err("object `Foo` has two fields that are called `x`".into()));
        let arg = |name: &str| FunctionArg {
            original: name.into(),
            type_def: TypeDef::of(TypeDefKind::String),
            ..FunctionArg::default()
        };
        let args =
            Function::new("f", TypeDef::of(TypeDefKind::Void)).with_arg(arg("a_b")).and_then(|f| f.with_arg(arg("aB")));
        assert_eq!(
            args.map_err(|e| e.to_string()),
            Err("function `f` has two arguments that are called `aB` in the API: `a_b` and `aB`".into())
        );
        let member = |ty: TypeDef, name| ty.with_enum_member(ENUM_MEMBERS_SINCE, name, "", Annotations::default());
        let (one, other) = (member(level(), "A").expect("taken"), member(level(), "B").expect("taken"));
        let module = ModuleTypes::default().with_type("withEnum", &one).expect("taken");
        assert!(module.clone().with_type("withEnum", &one).is_ok_and(|module| module.enums.len() == 1));
        assert_eq!(
            module.with_type("withEnum", &other).map_err(|e| e.to_string()),
            Err("the module has two enums that are called `Level`".into())
        );
    }

    #[test]
    fn times() {
        let check = |text: &str, want: Option<u64>| assert_eq!(parse_seconds(text).ok(), want, "{text}");
        check("40s", Some(40));
        check("1h30m", Some(5400));
        check("1.5h", Some(5400));
        check("0", Some(0));
        check("0s", Some(0));
        check("500ms", None);
        check("", None);
        check("40", None);
        check("x", None);
        let policy =
            |policy, time| Function::new("f", TypeDef::default()).with_cache_policy(policy, time).map(|f| f.cache).ok();
        assert_eq!(policy("Default", Some("40s")), Some(CachePolicy::Default(Some(40))));
        assert_eq!(policy("Default", Some("0s")), Some(CachePolicy::Never));
        assert_eq!(policy("Default", Some("169h")), None);
        assert_eq!(policy("Never", Some("1s")), None);
        assert_eq!(policy("PerSession", None), Some(CachePolicy::PerSession));
    }

    #[test]
    fn kinds() {
        assert_eq!(TypeDef::default().with_kind("STRING").map(|t| t.kind).ok(), Some(TypeDefKind::String));
        assert_eq!(TypeDef::default().with_kind("VOID_KIND").map(|t| t.kind).ok(), Some(TypeDefKind::Void));
        let refused = TypeDef::default().with_kind("LIST_KIND").expect_err("needs an element");
        assert_eq!(refused.hints(), ["use `withListOf` instead"]);
        let object = TypeDef::default().with_object("Foo", Annotations::default()).expect("an object");
        let wrong = object.clone().with_constructor(&Function::new("", TypeDef::of(TypeDefKind::String)));
        assert_eq!(
            wrong.map_err(|e| e.to_string()),
            Err("the constructor of `Foo` must return `Foo`, not `String!`".into())
        );
        assert!(object.clone().with_constructor(&Function::new("", object)).is_ok());
    }
}
