//! What names stand for while a module is imported, as far as the source decides it.

use std::collections::HashMap;
use std::rc::Rc;

use super::ast::{ClassDef, Expr, FunctionDef};

pub(super) type ModuleId = usize;
pub(super) type ClassId = usize;
pub(super) type FunctionId = usize;

/// A value at run time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// The source does not decide the value. Why.
    Unknown(Rc<str>),
    /// A value of foreign code, which has no part in the types of the module. Why it is not known.
    Opaque(Rc<str>),
    /// A thing of a foreign module, by its path: `dagger.function`, `builtins.str`.
    Foreign(Rc<str>),
    None,
    Bool(bool),
    /// The digits in base ten, with their sign.
    Int(Rc<str>),
    Float(f64),
    Str(Rc<str>),
    List(Rc<[Value]>),
    Tuple(Rc<[Value]>),
    Dict(Rc<[(Value, Value)]>),
    Ellipsis,
    Lambda,
    Module(ModuleId),
    Class(ClassId),
    Function(FunctionId),
    StaticMethod(FunctionId),
    ClassMethod(FunctionId),
    Property,
    /// A class that is exposed as a function, and whether its `create` constructs it.
    Constructor(ClassId, Rc<Exposure>, bool),
    /// A member of an enum of the module.
    Member(ClassId, Rc<str>),
    /// `enum.auto()`.
    Auto,
    Field(Rc<FieldSpec>),
    Decorator(Rc<Decorator>),
    /// Metadata in `Annotated`.
    Meta(Meta),
    Hint(Rc<Hint>),
}

/// A type that is no class.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hint {
    List(Value),
    Union(Vec<Value>),
    Annotated(Value, Vec<Value>),
    InitVar(Value),
    ClassVar,
    /// An annotation that the library evaluates after the import.
    Deferred(Expr),
    /// A type that has no form in the API.
    Other(Rc<str>),
}

/// Metadata that the library reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meta {
    Doc(String),
    Name(String),
    DefaultPath(String),
    DefaultAddress(String),
    Ignore(Vec<String>),
    Deprecated(String),
}

/// The arguments of `function`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exposure {
    pub(super) name: Option<String>,
    pub(super) doc: Option<String>,
    pub(super) cache: Option<String>,
    pub(super) deprecated: Option<String>,
}

/// A decorator with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decorator {
    Function(Exposure),
    Check,
    Generate,
    Up,
    ObjectType(Option<String>),
    Interface,
    EnumType,
    /// `dataclasses.dataclass`, and whether its fields are keyword-only.
    Dataclass(bool),
    /// A decorator that changes nothing.
    Transparent,
    /// A decorator of a foreign module, by its path.
    Foreign(Rc<str>),
}

/// `dagger.field(…)` or `dataclasses.field(…)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldSpec {
    pub(super) default: FieldDefault,
    pub(super) init: bool,
    /// `None`: as the class decides.
    pub(super) keyword_only: Option<bool>,
    /// What makes the field a part of the API.
    pub(super) exposed: Option<ExposedField>,
}

/// The default of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FieldDefault {
    None,
    Value(Value),
    Factory,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ExposedField {
    pub(super) name: Option<String>,
    pub(super) deprecated: Option<String>,
}

/// Names in the order in which they were bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespace {
    values: HashMap<String, Value>,
    order: Vec<String>,
    /// Names that were bound more than once.
    pub(super) rebound: Vec<String>,
    /// Why names that are not found may exist nevertheless.
    pub(super) foreign_star: Option<Rc<str>>,
}

impl Namespace {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(super) fn bind(&mut self, name: &str, value: Value) {
        if self.values.insert(name.to_owned(), value).is_some() {
            self.rebound.push(name.to_owned());
        } else {
            self.order.push(name.to_owned());
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.values.remove(name);
        self.order.retain(|known| known != name);
    }

    /// Names and values in the order in which the names were first bound.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.order.iter().filter_map(|name| Some((name.as_str(), self.values.get(name)?)))
    }

    /// Marks names as undecided whose value is not the same in `other`.
    pub(super) fn merge(&mut self, other: &Namespace, reason: &Rc<str>) {
        let names: Vec<String> = self.order.iter().chain(&other.order).cloned().collect();
        for name in names {
            if self.get(&name) != other.get(&name) {
                self.bind(&name, Value::Unknown(reason.clone()));
            }
        }
        self.foreign_star = self.foreign_star.take().or_else(|| other.foreign_star.clone());
    }
}

/// A module of the user's code while it is imported.
#[derive(Debug)]
pub(super) struct Module {
    /// Its dotted name.
    pub(super) name: String,
    /// Its path for messages. Empty for a package without `__init__.py`.
    pub(super) path: String,
    pub(super) is_package: bool,
    pub(super) doc: Option<String>,
    pub(super) future_annotations: bool,
    pub(super) namespace: Namespace,
}

/// A class of the user's code.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) def: Rc<ClassDef>,
    pub(super) module: ModuleId,
    /// Whether it is defined in another class.
    pub(super) nested: bool,
    pub(super) bases: Vec<Value>,
    /// The class and its bases of the user's code, in the order of attribute lookup.
    pub(super) mro: Vec<ClassId>,
    pub(super) namespace: Namespace,
    /// Names with annotations, in order: the annotation and the line.
    pub(super) annotations: Vec<(String, Value, u32)>,
    /// Whether it is a dataclass, and whether its own fields are keyword-only.
    pub(super) dataclass: Option<bool>,
    pub(super) object: Option<ObjectMark>,
    pub(super) exposed_enum: bool,
    /// Why its members are not known.
    pub(super) undecided: Option<Rc<str>>,
}

/// What makes a class an object type or an interface.
#[derive(Clone, Debug)]
pub(super) struct ObjectMark {
    pub(super) interface: bool,
    pub(super) deprecated: Option<String>,
}

/// A function of the user's code.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) def: Rc<FunctionDef>,
    pub(super) module: ModuleId,
    pub(super) annotations: Vec<Option<Value>>,
    pub(super) returns: Option<Value>,
    pub(super) defaults: Vec<Option<Value>>,
    pub(super) exposure: Option<Rc<Exposure>>,
    pub(super) check: bool,
    pub(super) generate: bool,
    pub(super) up: bool,
}
