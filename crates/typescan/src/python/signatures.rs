//! Functions, constructors and their parameters, as the library registers them.

use serde_json::{Number, Value as Json};

use crate::document::{DeclaredArg, DeclaredCache, DeclaredCachePolicy, DeclaredConstructor, DeclaredFunction};

use super::ast::ParamKind;
use super::hints::{Place, Type};
use super::interpreter::{Interpreter, Scan, Scope};
use super::module::ApiType;
use super::strings::clean_docstring;
use super::values::{ClassId, Exposure, FieldDefault, FunctionId, Meta, Value};

/// How the first parameter of a function is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// Only a parameter called `self` is left out.
    Plain,
    /// The first parameter is left out.
    Bound,
}

impl Interpreter<'_> {
    /// A function of the class `origin`.
    pub(super) fn declared_function(
        &mut self,
        id: FunctionId,
        origin: ClassId,
        how: Binding,
    ) -> Scan<DeclaredFunction> {
        let function = &self.functions[id];
        let (def, scope) = (function.def.clone(), Scope { module: function.module, class: None });
        let (returns, exposure) = (function.returns.clone(), function.exposure.clone().unwrap_or_default());
        let (check, generator, up) = (function.check, function.generate, function.up);
        for (used, field) in [(check, "withCheck"), (generator, "withGenerator"), (up, "withUp")] {
            self.check_api(scope, def.line, used, field)?;
        }
        if def.generic {
            return self.undecided(scope, def.line, format!("`{}` has type parameters", def.name));
        }
        let name = match &exposure.name {
            Some(name) => name.clone(),
            None => self.normalized(scope, def.line, &def.name)?,
        };
        let description = match &exposure.doc {
            Some(doc) => doc.clone(),
            None => self.clean(scope, def.line, def.doc.as_deref())?.unwrap_or_default(),
        };
        let returns = match returns {
            None => Type::Void,
            Some(hint) => {
                let at = Place { scope, line: def.line };
                let ty = self.resolve(at, &hint)?;
                self.with_origin(at, ty, origin)?
            }
        };
        let args = self.args(id, how)?;
        let (cache, deprecated) = self.policies(scope, def.line, &exposure)?;
        let returns = Some(self.text_of(&returns, false));
        Ok(DeclaredFunction {
            name,
            description,
            deprecated,
            args,
            returns,
            cache,
            check,
            generator,
            up,
            source_map: None,
        })
    }

    /// A class that is exposed as a function called `name` in Python.
    pub(super) fn declared_class_function(
        &mut self,
        name: &str,
        id: ClassId,
        exposure: &Exposure,
        alternative: bool,
    ) -> Scan<DeclaredFunction> {
        let class = &self.classes[id];
        let (scope, line) = (Scope { module: class.module, class: None }, class.def.line);
        if class.object.is_none() {
            return self.undecided(scope, line, format!("the class `{}` is not registered", class.def.name));
        }
        let made = self.constructor_of(id, alternative)?;
        let name = match &exposure.name {
            Some(name) => name.clone(),
            None => self.normalized(scope, line, name)?,
        };
        let description = exposure.doc.clone().unwrap_or(made.description);
        let (cache, deprecated) = self.policies(scope, line, exposure)?;
        let returns = Some(self.text_of(&Type::Class(id), false));
        Ok(DeclaredFunction {
            name,
            description,
            deprecated,
            args: made.args,
            returns,
            cache,
            ..DeclaredFunction::default()
        })
    }

    /// The constructor of a class: its class method `create` if `alternative`, else `__init__`.
    pub(super) fn constructor_of(&mut self, id: ClassId, alternative: bool) -> Scan<DeclaredConstructor> {
        let class = &self.classes[id];
        let (scope, line) = (Scope { module: class.module, class: None }, class.def.line);
        if alternative && let Some((_, Value::ClassMethod(create))) = self.member(id, "create") {
            let create = *create;
            let def = self.functions[create].def.clone();
            let at = Scope { module: self.functions[create].module, class: None };
            let description = self.clean(at, def.line, def.doc.as_deref())?.unwrap_or_default();
            let args = self.args(create, Binding::Bound)?;
            return Ok(DeclaredConstructor { description, args, ..DeclaredConstructor::default() });
        }
        let args = match self.classes[id].namespace.get("__init__").cloned() {
            Some(Value::Function(init)) => self.args(init, Binding::Bound)?,
            Some(_) => return self.undecided(scope, line, "`__init__` is no plain method"),
            None => self.generated_args(scope, id)?,
        };
        let description = self.class_doc(scope, id)?.unwrap_or_default();
        Ok(DeclaredConstructor { description, args, ..DeclaredConstructor::default() })
    }

    /// The parameters of the constructor that a dataclass generates.
    fn generated_args(&mut self, scope: Scope, id: ClassId) -> Scan<Vec<DeclaredArg>> {
        let fields: Vec<_> = self.data_fields(id)?.into_iter().filter(|field| field.spec.init).collect();
        let (last, first): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.keyword_only);
        let mut args = Vec::new();
        for field in first.into_iter().chain(last) {
            let at = Place { scope, line: field.line };
            args.push(self.arg(at, &field.name, &field.hint, &field.spec.default)?);
        }
        Ok(args)
    }

    fn args(&mut self, id: FunctionId, how: Binding) -> Scan<Vec<DeclaredArg>> {
        let function = &self.functions[id];
        let scope = Scope { module: function.module, class: None };
        let (def, hints, defaults) = (function.def.clone(), function.annotations.clone(), function.defaults.clone());
        let mut args = Vec::new();
        for (at, ((param, hint), default)) in def.params.iter().zip(hints).zip(defaults).enumerate() {
            let place = Place { scope, line: param.line };
            if (at == 0 && how == Binding::Bound) || param.name == "self" {
                continue;
            }
            if param.kind != ParamKind::Normal {
                return self.undecided(scope, param.line, format!("the kind of the parameter `{}`", param.name));
            }
            let Some(hint) = hint else {
                return self.undecided(scope, param.line, format!("the parameter `{}` has no annotation", param.name));
            };
            let default = default.map_or(FieldDefault::None, FieldDefault::Value);
            args.push(self.arg(place, &param.name, &hint, &default)?);
        }
        Ok(args)
    }

    fn arg(&mut self, at: Place, name: &str, hint: &Value, default: &FieldDefault) -> Scan<DeclaredArg> {
        let ty = self.resolve(at, hint)?;
        self.no_self(at, &ty)?;
        let metadata = self.metadata(at, hint)?;
        let find = |pick: fn(&Meta) -> Option<&String>| metadata.iter().find_map(pick).cloned();
        let mut arg = DeclaredArg {
            default_path: find(|meta| if let Meta::DefaultPath(path) = meta { Some(path) } else { None }),
            default_address: find(|meta| if let Meta::DefaultAddress(address) = meta { Some(address) } else { None }),
            deprecated: find(|meta| if let Meta::Deprecated(reason) = meta { Some(reason) } else { None }),
            ..DeclaredArg::default()
        };
        let other_name = find(|meta| if let Meta::Name(name) = meta { Some(name) } else { None });
        arg.name = match other_name.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => self.normalized(at.scope, at.line, name)?,
        };
        let ignore = metadata.iter().find_map(|meta| if let Meta::Ignore(list) = meta { Some(list) } else { None });
        arg.ignore = ignore.cloned().unwrap_or_default();
        let doc = find(|meta| if let Meta::Doc(text) = meta { Some(text) } else { None });
        let value = self.evaluated(at, hint)?;
        let doc = match doc {
            Some(doc) => Some(doc),
            None => self.documentation_of_class(at, &value)?,
        };
        arg.description = doc.unwrap_or_default();
        let mut nullable = ty.is_nullable();
        match default {
            FieldDefault::None => {}
            FieldDefault::Factory => nullable = true,
            FieldDefault::Value(Value::None) if !nullable => {
                return self.undecided(at.scope, at.line, format!("`{name}` is not optional and defaults to `None`"));
            }
            FieldDefault::Value(value) => match self.json(value) {
                Some(json) => arg.default = Some(json),
                None => return self.undecided(at.scope, at.line, format!("the default of `{name}` is computed")),
            },
        }
        self.check_arg(at, &mut arg, *default != FieldDefault::None, nullable)?;
        arg.ty = self.text_of(&ty, nullable);
        Ok(arg)
    }

    /// The library and the engine refuse some combinations, with their own messages.
    fn check_arg(&self, at: Place, arg: &mut DeclaredArg, has_default: bool, nullable: bool) -> Scan<()> {
        arg.default_path = arg.default_path.take().filter(|path| !path.is_empty());
        arg.default_address = arg.default_address.take().filter(|address| !address.is_empty());
        let contextual = arg.default_path.is_some() || arg.default_address.is_some();
        let several = arg.default_path.is_some() && arg.default_address.is_some();
        if several || (contextual && has_default) {
            return self.undecided(at.scope, at.line, format!("`{}` has more than one default", arg.name));
        }
        if arg.deprecated.is_some() && !(has_default || contextual || nullable) {
            return self.undecided(at.scope, at.line, format!("`{}` is deprecated and required", arg.name));
        }
        Ok(())
    }

    fn policies(&self, scope: Scope, line: u32, exposure: &Exposure) -> Scan<(Option<DeclaredCache>, Option<String>)> {
        let deprecated = exposure.deprecated.clone().filter(|reason| !reason.is_empty());
        let cache = exposure.cache.as_deref().filter(|text| !text.is_empty());
        self.check_api(scope, line, deprecated.is_some(), "withDeprecated")?;
        self.check_api(scope, line, cache.is_some(), "withCachePolicy")?;
        let cache = cache.map(|text| match text {
            "never" => DeclaredCache { policy: DeclaredCachePolicy::Never, ttl: None },
            "session" => DeclaredCache { policy: DeclaredCachePolicy::PerSession, ttl: None },
            time => DeclaredCache { policy: DeclaredCachePolicy::Default, ttl: Some(time.to_owned()) },
        });
        Ok((cache, deprecated))
    }

    /// Checks that the API has what the library calls.
    fn check_api(&self, scope: Scope, line: u32, used: bool, field: &str) -> Scan<()> {
        match used && !self.api.has_field("Function", field) {
            true => self.undecided(scope, line, format!("the API of the module's version has no `Function.{field}`")),
            false => Ok(()),
        }
    }

    fn with_origin(&self, at: Place, ty: Type, origin: ClassId) -> Scan<Type> {
        match ty {
            Type::Itself => Ok(Type::Class(origin)),
            Type::List(element) if *element == Type::Itself => Ok(Type::List(Type::Class(origin).into())),
            other => self.no_self(at, &other).map(|()| other),
        }
    }

    pub(super) fn no_self(&self, at: Place, ty: &Type) -> Scan<()> {
        match ty {
            Type::Itself => self.undecided(at.scope, at.line, "`Self` in this place is no type of the API"),
            Type::List(inner) | Type::Optional(inner) => self.no_self(at, inner),
            _ => Ok(()),
        }
    }

    /// A type in the syntax of GraphQL.
    pub(super) fn text_of(&self, ty: &Type, nullable: bool) -> String {
        let mark = if nullable { "" } else { "!" };
        match ty {
            Type::Void => "Void".to_owned(),
            Type::String => format!("String{mark}"),
            Type::Int => format!("Int{mark}"),
            Type::Float => format!("Float{mark}"),
            Type::Boolean => format!("Boolean{mark}"),
            Type::Core(name) => format!("{name}{mark}"),
            Type::Class(id) => format!("{}{mark}", self.classes[*id].def.name),
            Type::List(element) => format!("[{}]{mark}", self.text_of(element, false)),
            Type::Optional(inner) => self.text_of(inner, true),
            Type::Itself => format!("Self{mark}"),
        }
    }

    /// A default as JSON. `None` if the source does not decide it.
    fn json(&self, value: &Value) -> Option<Json> {
        Some(match value {
            Value::None => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(digits) => Json::Number(Number::from(digits.parse::<i64>().ok()?)),
            Value::Float(value) => Json::Number(Number::from_f64(*value)?),
            Value::Str(text) | Value::Member(_, text) => Json::from(&**text),
            Value::List(items) | Value::Tuple(items) => {
                items.iter().map(|item| self.json(item)).collect::<Option<Vec<_>>>()?.into()
            }
            Value::Foreign(path) => {
                let (name, member) = path.strip_prefix("dagger.")?.split_once('.')?;
                let Some(ApiType::Enum(members)) = self.api.find(name) else { return None };
                let found = members.iter().find(|(known, _)| known == member)?;
                Json::from(found.1.as_str())
            }
            _ => return None,
        })
    }

    /// The name of a Python name in the API: a final underscore avoids keywords.
    pub(super) fn normalized(&self, scope: Scope, line: u32, name: &str) -> Scan<String> {
        if name == "_" {
            return self.undecided(scope, line, "the name `_`");
        }
        let plain = name.strip_suffix('_').filter(|plain| !plain.ends_with('_') && !name.starts_with('_'));
        Ok(plain.unwrap_or(name).to_owned())
    }

    /// A docstring without its indentation.
    pub(super) fn clean(&self, scope: Scope, line: u32, doc: Option<&str>) -> Scan<Option<String>> {
        let Some(doc) = doc else { return Ok(None) };
        match clean_docstring(doc) {
            Some(text) => Ok(Some(text)),
            None => self.undecided(scope, line, "unusual white space in a docstring"),
        }
    }
}
