//! Definitions of functions and classes, and their decorators.

use std::rc::Rc;

use super::ast::{ClassDef, FunctionDef};
use super::interpreter::{Interpreter, Scan, Scope};
use super::library;
use super::values::{Class, ClassId, Decorator, Exposure, Function, FunctionId, Hint, Namespace, ObjectMark, Value};

/// Base classes without members that matter to types.
const PLAIN_BASES: &[&str] = &[
    "builtins.object",
    "abc.ABC",
    "typing.Protocol",
    "typing.Generic",
    "builtins.str",
    "builtins.int",
    "builtins.float",
];

impl Interpreter<'_> {
    pub(super) fn function(&mut self, scope: Scope, def: &Rc<FunctionDef>) -> Scan<Value> {
        let decorators = def.decorators.iter().map(|it| Ok((it.line, self.eval(scope, it)?)));
        let decorators = decorators.collect::<Scan<Vec<_>>>()?;
        let (mut annotations, mut defaults) = (Vec::new(), Vec::new());
        for param in &def.params {
            let default = param.default.as_ref();
            defaults.push(default.map(|default| self.eval(scope, default)).transpose()?);
        }
        for param in &def.params {
            let annotation = param.annotation.as_ref();
            annotations.push(annotation.map(|annotation| self.annotation(scope, annotation)).transpose()?);
        }
        let returns = def.returns.as_ref().map(|returns| self.annotation(scope, returns)).transpose()?;
        let id = self.functions.len();
        self.functions.push(Function {
            def: def.clone(),
            module: scope.module,
            annotations,
            returns,
            defaults,
            exposure: None,
            check: false,
            generate: false,
            up: false,
        });
        let mut value = Value::Function(id);
        for (line, decorator) in decorators.into_iter().rev() {
            value = self.decorate(scope, line, decorator, value)?;
        }
        Ok(value)
    }

    pub(super) fn class(&mut self, scope: Scope, def: &Rc<ClassDef>) -> Scan<Value> {
        let decorators = def.decorators.iter().map(|it| Ok((it.line, self.eval(scope, it)?)));
        let decorators = decorators.collect::<Scan<Vec<_>>>()?;
        let bases = def.bases.iter().map(|base| self.eval(scope, base)).collect::<Scan<Vec<_>>>()?;
        let mut undecided = None;
        let mut note = |this: &Self, what: String| {
            undecided.get_or_insert(this.reason(scope.module, def.line, what));
        };
        for (keyword, value) in &def.keywords {
            let value = self.eval(scope, value)?;
            if !matches!(&value, Value::Foreign(path) if **path == *"abc.ABCMeta") {
                note(self, format!("`{}` has a `{keyword}`", def.name));
            }
        }
        if def.unusual {
            note(self, format!("`{}` has type parameters", def.name));
        }
        if let Some(base) = bases.iter().find(|base| !is_known_base(base)) {
            note(self, format!("`{}` has a base class that is not in the module: {}", def.name, named(base)));
        }
        let id = self.classes.len();
        self.classes.push(Class {
            def: def.clone(),
            module: scope.module,
            nested: scope.class.is_some(),
            bases,
            mro: vec![id],
            namespace: Namespace::default(),
            annotations: Vec::new(),
            dataclass: None,
            object: None,
            exposed_enum: false,
            undecided,
        });
        match self.linearize(id) {
            Some(mro) => self.classes[id].mro = mro,
            None => return self.undecided(scope, def.line, format!("the bases of `{}` have no order", def.name)),
        }
        self.run(Scope { module: scope.module, class: Some(id) }, &def.body)?;
        let mut value = Value::Class(id);
        for (line, decorator) in decorators.into_iter().rev() {
            value = self.decorate(scope, line, decorator, value)?;
        }
        Ok(value)
    }

    /// The order in which attributes of a class are looked up: Python's C3.
    fn linearize(&self, id: ClassId) -> Option<Vec<ClassId>> {
        let own: Vec<ClassId> = self.classes[id].bases.iter().filter_map(class_of).collect();
        let mut lists: Vec<Vec<ClassId>> = own.iter().map(|base| self.classes[*base].mro.clone()).collect();
        lists.push(own);
        let mut order = vec![id];
        loop {
            lists.retain(|list| !list.is_empty());
            if lists.is_empty() {
                return Some(order);
            }
            let in_tail = |class: ClassId| lists.iter().any(|list| list[1..].contains(&class));
            let next = lists.iter().map(|list| list[0]).find(|head| !in_tail(*head))?;
            order.push(next);
            lists.iter_mut().for_each(|list| list.retain(|class| *class != next));
        }
    }

    /// The result of a decorator.
    pub(super) fn decorate(&mut self, scope: Scope, line: u32, decorator: Value, target: Value) -> Scan<Value> {
        let decorator = match decorator {
            Value::Decorator(decorator) => decorator,
            Value::Foreign(path) => Rc::new(decorator_at(&path)),
            Value::Opaque(reason) => return self.foreign_decorator(scope, line, &reason, target),
            Value::Unknown(reason) => return self.own_decorator(scope, line, &reason, target),
            _ => return self.own_decorator(scope, line, &"a decorator of the module".into(), target),
        };
        match (&*decorator, &target) {
            (Decorator::Transparent, _) => Ok(target),
            (Decorator::Function(exposure), _) => self.expose(scope, line, exposure, target),
            (Decorator::Check, Value::Function(id)) => self.mark(*id, |function| function.check = true),
            (Decorator::Generate, Value::Function(id)) => self.mark(*id, |function| function.generate = true),
            (Decorator::Up, Value::Function(id)) => self.mark(*id, |function| function.up = true),
            (Decorator::ObjectType(deprecated), Value::Class(id)) => {
                self.object_type(scope, line, *id, ObjectMark { interface: false, deprecated: deprecated.clone() })
            }
            (Decorator::Interface, Value::Class(id)) => {
                self.object_type(scope, line, *id, ObjectMark { interface: true, deprecated: None })
            }
            (Decorator::EnumType, Value::Class(id)) => self.enum_type(scope, line, *id),
            (Decorator::Dataclass(keyword_only), Value::Class(id)) => {
                let class = &mut self.classes[*id];
                if class.dataclass.is_some() {
                    return self.undecided(scope, line, "two decorators make a dataclass");
                }
                class.dataclass = Some(*keyword_only);
                Ok(target)
            }
            (Decorator::Foreign(path), Value::Function(id)) if **path == *"builtins.staticmethod" => {
                Ok(Value::StaticMethod(*id))
            }
            (Decorator::Foreign(path), Value::Function(id)) if **path == *"builtins.classmethod" => {
                Ok(Value::ClassMethod(*id))
            }
            (Decorator::Foreign(path), Value::Function(id))
                if is_property(path) && self.functions[*id].exposure.is_none() =>
            {
                Ok(Value::Property)
            }
            (Decorator::Foreign(path), _) => self.foreign_decorator(scope, line, path, target),
            _ => self.own_decorator(scope, line, &"a decorator of something else".into(), target),
        }
    }

    fn mark(&mut self, id: FunctionId, set: impl FnOnce(&mut Function)) -> Scan<Value> {
        set(&mut self.functions[id]);
        Ok(Value::Function(id))
    }

    fn expose(&mut self, scope: Scope, line: u32, exposure: &Exposure, target: Value) -> Scan<Value> {
        match target {
            Value::Function(id) => self.mark(id, |function| function.exposure = Some(Rc::new(exposure.clone()))),
            Value::Class(id) => {
                let alternative = self.classes[id].object.is_some() && self.has_alternative_constructor(id);
                Ok(Value::Constructor(id, exposure.clone().into(), alternative))
            }
            _ => Ok(self.unknown(scope, line, "`function` decorates the result of another decorator")),
        }
    }

    /// Whether the class method `create` constructs the class.
    fn has_alternative_constructor(&self, id: ClassId) -> bool {
        matches!(self.member(id, "create"), Some((_, Value::ClassMethod(_))))
    }

    fn object_type(&mut self, scope: Scope, line: u32, id: ClassId, mark: ObjectMark) -> Scan<Value> {
        let name = &self.classes[id].def.name;
        if self.objects.iter().any(|other| self.classes[*other].def.name == *name) {
            return self.undecided(scope, line, format!("there are two classes `{name}`"));
        }
        if self.classes[id].dataclass.is_some() || self.classes[id].object.is_some() {
            return self.undecided(scope, line, "two decorators make a dataclass");
        }
        if mark.interface && !self.classes[id].bases.iter().any(|base| is_foreign(base, "typing.Protocol")) {
            return self.undecided(scope, line, format!("the interface `{name}` is no `Protocol`"));
        }
        let class = &mut self.classes[id];
        if !mark.interface {
            class.dataclass = Some(true);
        }
        class.object = Some(mark);
        self.objects.push(id);
        Ok(Value::Class(id))
    }

    fn enum_type(&mut self, scope: Scope, line: u32, id: ClassId) -> Scan<Value> {
        let name = &self.classes[id].def.name;
        if self.enums.iter().any(|other| self.classes[*other].def.name == *name) {
            return self.undecided(scope, line, format!("there are two enums `{name}`"));
        }
        self.classes[id].exposed_enum = true;
        self.enums.push(id);
        Ok(Value::Class(id))
    }

    /// A decorator of foreign code: the result is not known, and has no part in the types unless
    /// what is decorated has.
    fn foreign_decorator(&mut self, scope: Scope, line: u32, name: &str, target: Value) -> Scan<Value> {
        let what = format!("the decorator `{name}`");
        match target {
            Value::Class(id) if self.classes[id].object.is_some() || self.classes[id].exposed_enum => {
                self.undecided(scope, line, what)
            }
            Value::Function(id) | Value::StaticMethod(id) | Value::ClassMethod(id)
                if self.functions[id].exposure.is_none() =>
            {
                Ok(Value::Opaque(self.reason(scope.module, line, what)))
            }
            Value::Opaque(_) => Ok(target),
            _ => Ok(self.unknown(scope, line, what)),
        }
    }

    /// A decorator of the user's code, which may do anything.
    fn own_decorator(&mut self, scope: Scope, line: u32, reason: &Rc<str>, target: Value) -> Scan<Value> {
        match target {
            Value::Class(id) if self.classes[id].object.is_some() || self.classes[id].exposed_enum => {
                self.undecided(scope, line, format!("a decorator that the source does not decide ({reason})"))
            }
            _ => Ok(self.unknown(scope, line, format!("a decorator that the source does not decide ({reason})"))),
        }
    }
}

fn decorator_at(path: &Rc<str>) -> Decorator {
    match &**path {
        "dagger.function" => Decorator::Function(Exposure::default()),
        "dagger.check" => Decorator::Check,
        "dagger.generate" => Decorator::Generate,
        "dagger.up" => Decorator::Up,
        "dagger.object_type" => Decorator::ObjectType(None),
        "dagger.interface" => Decorator::Interface,
        "dagger.enum_type" => Decorator::EnumType,
        "dataclasses.dataclass" => Decorator::Dataclass(false),
        path if library::is_transparent(path) => Decorator::Transparent,
        _ => Decorator::Foreign(path.clone()),
    }
}

pub(super) fn class_of(value: &Value) -> Option<ClassId> {
    match value {
        Value::Class(id) => Some(*id),
        _ => None,
    }
}

/// Whether `value` is the foreign thing `path`.
pub(super) fn is_foreign(value: &Value, path: &str) -> bool {
    matches!(value, Value::Foreign(known) if **known == *path)
}

fn is_property(path: &str) -> bool {
    matches!(path, "builtins.property" | "functools.cached_property" | "enum.property")
}

fn is_known_base(base: &Value) -> bool {
    match base {
        Value::Class(_) => true,
        Value::Foreign(path) => PLAIN_BASES.contains(&&**path) || is_enum_base(path),
        Value::Hint(hint) => {
            matches!(&**hint, Hint::Other(what) if what.starts_with("`typing.Generic") || what.starts_with("`typing.Protocol"))
        }
        _ => false,
    }
}

/// Whether `path` is a class of enums.
pub(super) fn is_enum_base(path: &str) -> bool {
    matches!(path, "enum.Enum" | "enum.StrEnum" | "enum.IntEnum" | "dagger.Enum")
}

fn named(value: &Value) -> String {
    match value {
        Value::Foreign(path) => format!("`{path}`"),
        Value::Unknown(reason) | Value::Opaque(reason) => reason.to_string(),
        _ => "a computed class".to_owned(),
    }
}
