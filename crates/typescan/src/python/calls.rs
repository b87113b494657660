//! Calls at import time: those of the library make decorators, fields and metadata.

use std::rc::Rc;

use super::expressions::Arguments;
use super::interpreter::{Interpreter, Scan, Scope};
use super::library;
use super::module::ApiType;
use super::values::{Decorator, ExposedField, Exposure, FieldDefault, FieldSpec, FunctionId, Meta, Value};

impl Interpreter<'_> {
    /// The result of calling `function`.
    pub(super) fn apply(&mut self, scope: Scope, function: Value, call: &Arguments) -> Scan<Value> {
        let line = call.line;
        match function {
            Value::Foreign(path) => self.foreign_call(scope, &path, call),
            Value::Decorator(decorator) => match call.args.as_slice() {
                [target] => self.decorate(scope, line, Value::Decorator(decorator), target.clone()),
                _ => Ok(self.unknown(scope, line, "a computed value")),
            },
            Value::Function(id) | Value::StaticMethod(id) => {
                self.check_effects(scope, line, id, &mut Vec::new())?;
                Ok(self.unknown(scope, line, "a computed value"))
            }
            Value::Opaque(reason) => Ok(self.result_of_foreign(call, reason)),
            Value::Unknown(_) => Ok(function),
            _ => Ok(self.unknown(scope, line, "a computed value")),
        }
    }

    fn result_of_foreign(&self, call: &Arguments, reason: Rc<str>) -> Value {
        if call.values().any(|value| self.taints(value)) { Value::Unknown(reason) } else { Value::Opaque(reason) }
    }

    fn foreign_call(&mut self, scope: Scope, path: &str, call: &Arguments) -> Scan<Value> {
        let line = call.line;
        if library::is_unpredictable(path) {
            return self.undecided(scope, line, format!("`{path}` is called at import"));
        }
        let reason = self.reason(scope.module, line, "a computed value");
        Ok(match path {
            "dagger.function" => return self.function_decorator(scope, call),
            "dagger.check" => return self.plain_decorator(scope, call, Decorator::Check),
            "dagger.generate" => return self.plain_decorator(scope, call, Decorator::Generate),
            "dagger.up" => return self.plain_decorator(scope, call, Decorator::Up),
            "dagger.interface" => return self.plain_decorator(scope, call, Decorator::Interface),
            "dagger.enum_type" => return self.plain_decorator(scope, call, Decorator::EnumType),
            "dagger.object_type" => {
                let Some(deprecated) = options(call, &["deprecated"]) else { return Ok(Value::Unknown(reason)) };
                let deprecated = deprecated.into_iter().next().flatten();
                return self.plain_decorator(scope, call, Decorator::ObjectType(deprecated));
            }
            "dataclasses.dataclass" => return self.dataclass_decorator(scope, call),
            "dagger.field" | "dataclasses.field" => field(path, call, &reason),
            "enum.auto" => Value::Auto,
            "typing.cast" => call.args.get(1).cloned().unwrap_or(Value::Unknown(reason)),
            "typing.Doc"
            | "dagger.Name"
            | "dagger.DefaultPath"
            | "dagger.DefaultAddress"
            | "dagger.Ignore"
            | "dagger.Deprecated" => metadata(path, call).map_or(Value::Unknown(reason), Value::Meta),
            _ if self.is_scalar(path) && call.keywords.is_empty() => match call.args.as_slice() {
                [Value::Str(text)] => Value::Str(text.clone()),
                _ => Value::Unknown(reason),
            },
            _ => self.result_of_foreign(call, reason),
        })
    }

    fn is_scalar(&self, path: &str) -> bool {
        path.strip_prefix("dagger.").is_some_and(|name| self.api.find(name) == Some(ApiType::Scalar))
    }

    fn function_decorator(&mut self, scope: Scope, call: &Arguments) -> Scan<Value> {
        let Some(mut given) = options(call, &["name", "doc", "cache", "deprecated"]) else {
            return Ok(self.unknown(scope, call.line, "an argument of `function` is computed"));
        };
        let mut next = || given.pop().flatten();
        let (deprecated, cache, doc, name) = (next(), next(), next(), next());
        self.plain_decorator(scope, call, Decorator::Function(Exposure { name, doc, cache, deprecated }))
    }

    /// A decorator that is called with options, or with what it decorates.
    fn plain_decorator(&mut self, scope: Scope, call: &Arguments, decorator: Decorator) -> Scan<Value> {
        let decorator = Value::Decorator(decorator.into());
        match call.args.as_slice() {
            [] => Ok(decorator),
            [target] if !matches!(target, Value::None) => self.decorate(scope, call.line, decorator, target.clone()),
            _ => Ok(self.unknown(scope, call.line, "a computed value")),
        }
    }

    fn dataclass_decorator(&mut self, scope: Scope, call: &Arguments) -> Scan<Value> {
        let keyword_only = match call.keyword("kw_only") {
            None => false,
            Some(Value::Bool(value)) => *value,
            Some(_) => return Ok(self.unknown(scope, call.line, "an argument of `dataclass` is computed")),
        };
        if call.spreads || call.keyword("init").is_some() {
            return Ok(self.unknown(scope, call.line, "an argument of `dataclass`"));
        }
        self.plain_decorator(scope, call, Decorator::Dataclass(keyword_only))
    }

    /// Checks that a function of the user's code that runs at import changes nothing that matters.
    fn check_effects(&mut self, scope: Scope, line: u32, id: FunctionId, seen: &mut Vec<FunctionId>) -> Scan<()> {
        if seen.contains(&id) {
            return Ok(());
        }
        seen.push(id);
        let (module, def) = (self.functions[id].module, self.functions[id].def.clone());
        let inside = Scope { module, class: None };
        if !def.globals.is_empty() {
            return self.undecided(scope, line, format!("`{}` sets global names at import", def.name));
        }
        self.forget(inside, &def.mentions);
        for name in &def.mentions {
            match self.lookup(inside, name) {
                Some(Value::Foreign(path)) if library::is_unpredictable(&path) || library::makes_types(&path) => {
                    return self.undecided(scope, line, format!("`{}` runs at import and uses `{name}`", def.name));
                }
                Some(Value::Function(other) | Value::StaticMethod(other)) => {
                    self.check_effects(scope, line, other, seen)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The options of a decorator by their names: texts or `None`. `None` if one is computed.
fn options(call: &Arguments, names: &[&str]) -> Option<Vec<Option<String>>> {
    if call.spreads || call.keywords.iter().any(|(name, _)| !names.contains(&name.as_str())) {
        return None;
    }
    names.iter().map(|name| text_or_none(call.keyword(name))).collect()
}

/// A text, or nothing. `None` if it is computed.
fn text_or_none(value: Option<&Value>) -> Option<Option<String>> {
    match value {
        None | Some(Value::None) => Some(None),
        Some(Value::Str(text)) => Some(Some(text.to_string())),
        Some(_) => None,
    }
}

/// `dagger.field(…)` or `dataclasses.field(…)`.
fn field(path: &str, call: &Arguments, reason: &Rc<str>) -> Value {
    let exposed = path == "dagger.field";
    let known: &[&str] = match exposed {
        true => &["default", "name", "init", "deprecated"],
        false => &["default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only", "doc"],
    };
    let flag = |name: &str, default: Option<bool>| match call.keyword(name) {
        None => Some(default),
        Some(Value::Bool(value)) => Some(Some(*value)),
        Some(_) => None,
    };
    let has_unknown =
        call.spreads || !call.args.is_empty() || call.keywords.iter().any(|(name, _)| !known.contains(&name.as_str()));
    let options = (
        flag("init", Some(true)),
        flag("kw_only", None),
        text_or_none(call.keyword("name")),
        text_or_none(call.keyword("deprecated")),
    );
    let (Some(init), Some(keyword_only), Some(name), Some(deprecated), false) =
        (options.0, options.1, options.2, options.3, has_unknown)
    else {
        return Value::Unknown(reason.clone());
    };
    let default = match (call.keyword("default"), call.keyword("default_factory")) {
        (None | Some(Value::Ellipsis), None) => FieldDefault::None,
        (None, Some(_)) => FieldDefault::Factory,
        (Some(value), None) if exposed => match is_callable(value) {
            Some(true) => FieldDefault::Factory,
            Some(false) => FieldDefault::Value(value.clone()),
            None => FieldDefault::Value(Value::Unknown(reason.clone())),
        },
        (Some(value), None) => FieldDefault::Value(value.clone()),
        (Some(_), Some(_)) => return Value::Unknown(reason.clone()),
    };
    let exposed = exposed.then_some(ExposedField { name, deprecated });
    let init = init.unwrap_or(true);
    let keyword_only = if exposed.is_some() { Some(true) } else { keyword_only };
    Value::Field(Rc::new(FieldSpec { default, init, keyword_only, exposed }))
}

/// Whether a value can be called. `None` if the source does not decide it.
fn is_callable(value: &Value) -> Option<bool> {
    match value {
        Value::Lambda | Value::Class(_) | Value::Function(_) | Value::Decorator(_) => Some(true),
        Value::Foreign(path) => library::is_callable(path).then_some(true),
        Value::Unknown(_)
        | Value::Opaque(_)
        | Value::StaticMethod(_)
        | Value::ClassMethod(_)
        | Value::Module(_)
        | Value::Constructor(..)
        | Value::Property
        | Value::Hint(_)
        | Value::Field(_)
        | Value::Meta(_)
        | Value::Auto => None,
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::List(_)
        | Value::Tuple(_)
        | Value::Dict(_)
        | Value::Member(..)
        | Value::Ellipsis => Some(false),
    }
}

/// Metadata of the library. `None` if an argument is computed.
fn metadata(path: &str, call: &Arguments) -> Option<Meta> {
    let keyword = match path {
        "typing.Doc" => "",
        "dagger.Name" => "name",
        "dagger.DefaultPath" => "from_context",
        "dagger.DefaultAddress" => "address",
        "dagger.Ignore" => "patterns",
        _ => "reason",
    };
    let value = match (call.args.as_slice(), call.keywords.as_slice(), call.spreads) {
        ([value], [], false) => Some(value),
        ([], [(name, value)], false) if name == keyword => Some(value),
        ([], [], false) if path == "dagger.Deprecated" => None,
        _ => return None,
    };
    let text = match value {
        None => String::new(),
        Some(Value::Str(text)) => text.to_string(),
        Some(Value::List(items) | Value::Tuple(items)) if path == "dagger.Ignore" => {
            let texts = items.iter().map(|item| match item {
                Value::Str(text) => Some(text.to_string()),
                _ => None,
            });
            return texts.collect::<Option<_>>().map(Meta::Ignore);
        }
        Some(_) => return None,
    };
    Some(match path {
        "typing.Doc" => Meta::Doc(text),
        "dagger.Name" => Meta::Name(text),
        "dagger.DefaultPath" => Meta::DefaultPath(text),
        "dagger.DefaultAddress" => Meta::DefaultAddress(text),
        "dagger.Deprecated" => Meta::Deprecated(text),
        _ => return None,
    })
}
