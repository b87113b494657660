//! Values of the API: what a call evaluates to.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rondel_call::Call;

/// A value of the API.
#[derive(Clone, Debug)]
pub enum Value {
    /// Null, also the only value of `Void`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A string, or a custom scalar in its text form.
    String(Arc<str>),
    /// The canonical name of an enum member.
    Enum(Arc<str>),
    /// A list.
    List(Arc<[Value]>),
    /// An object.
    Object(Object),
}

/// An object of the API: the name of its type and its data.
#[derive(Clone)]
pub struct Object {
    type_name: Arc<str>,
    data: Arc<dyn Any + Send + Sync>,
    origin: Option<Arc<Call>>,
}

impl Object {
    /// An object of the type called `type_name`.
    pub fn new(type_name: impl Into<Arc<str>>, data: impl Any + Send + Sync) -> Self {
        Self { type_name: type_name.into(), data: Arc::new(data), origin: None }
    }

    /// An object whose data is shared already.
    pub fn shared(type_name: impl Into<Arc<str>>, data: Arc<dyn Any + Send + Sync>) -> Self {
        Self { type_name: type_name.into(), data, origin: None }
    }

    /// The object as an element of a list that `origin` gives on its own: its ID then is that of the call, and not the
    /// list's with a position.
    #[must_use]
    pub fn from_call(mut self, origin: Arc<Call>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The call that gives it on its own, when it is known.
    pub fn origin(&self) -> Option<&Arc<Call>> {
        self.origin.as_ref()
    }

    /// The name of its type.
    pub fn type_name(&self) -> &Arc<str> {
        &self.type_name
    }

    /// Its data, when it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.data.downcast_ref()
    }

    /// Its data as a shared `T`.
    pub fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.data.clone().downcast().ok()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.type_name)
    }
}

impl Value {
    /// A string value.
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Value::String(text.into())
    }

    /// An enum value.
    pub fn member(name: impl Into<Arc<str>>) -> Self {
        Value::Enum(name.into())
    }

    /// An object of the type called `type_name`.
    pub fn object(type_name: impl Into<Arc<str>>, data: impl Any + Send + Sync) -> Self {
        Value::Object(Object::new(type_name, data))
    }

    /// A list of strings.
    pub fn strings<S: Into<Arc<str>>>(items: impl IntoIterator<Item = S>) -> Self {
        Value::List(items.into_iter().map(Value::string).collect())
    }

    /// The data, when it is an object that holds a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        match self {
            Value::Object(object) => object.get(),
            _ => None,
        }
    }
}
