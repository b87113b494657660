//! Values of the API: the results of calls.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rondel_call::Call;

/// A value of the API.
#[derive(Clone, Debug)]
pub enum Value {
    /// Null, which is also the only value of `Void`.
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
    shared_data: Arc<ObjectData<dyn Any + Send + Sync>>,
    origin: Option<Arc<Call>>,
}

/// The data that all copies of an object share.
struct ObjectData<T: ?Sized> {
    type_name: Arc<str>,
    data: T,
}

/// Data that was shared already.
type Shared = Arc<dyn Any + Send + Sync>;

impl Object {
    /// An object of the type called `type_name`.
    pub fn new(type_name: impl Into<Arc<str>>, data: impl Any + Send + Sync) -> Self {
        Self { shared_data: Arc::new(ObjectData { type_name: type_name.into(), data }), origin: None }
    }

    /// An object whose data is shared already.
    pub fn shared(type_name: impl Into<Arc<str>>, data: Arc<dyn Any + Send + Sync>) -> Self {
        Self::new(type_name, data)
    }

    /// The object as a list element with its own call `origin`. Its ID is that of the call and not
    /// a position in the list.
    #[must_use]
    pub fn from_call(mut self, origin: Arc<Call>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The call that returns the object on its own, if known.
    pub fn origin(&self) -> Option<&Arc<Call>> {
        self.origin.as_ref()
    }

    /// The name of its type.
    pub fn type_name(&self) -> &Arc<str> {
        &self.shared_data.type_name
    }

    /// Its data, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        let shared = || self.shared_data.data.downcast_ref::<Shared>()?.downcast_ref();
        self.shared_data.data.downcast_ref().or_else(shared)
    }

    fn share_name(&mut self, name: &Arc<str>) {
        if let Some(shared_data) = Arc::get_mut(&mut self.shared_data)
            && shared_data.type_name == *name
        {
            shared_data.type_name = name.clone();
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.type_name())
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

    /// Lets objects of the type `name` in a new value share that text.
    #[must_use]
    pub fn sharing_name(mut self, name: &Arc<str>) -> Self {
        match &mut self {
            Value::Object(object) => object.share_name(name),
            Value::List(items) => {
                for item in Arc::get_mut(items).into_iter().flatten() {
                    if let Value::Object(object) = item {
                        object.share_name(name);
                    }
                }
            }
            _ => {}
        }
        self
    }

    /// The data, if it is an object that holds a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        match self {
            Value::Object(object) => object.get(),
            _ => None,
        }
    }
}
