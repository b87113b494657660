//! A function of a loaded module, bound to its object.

use std::sync::Arc;

use crate::module::loaded_module::Module;
use crate::typedef::type_def::{Function, ObjectDef};

/// A function of a module, bound to its place.
#[derive(Clone)]
pub struct FunctionTarget {
    /// The module.
    pub module: Arc<Module>,
    /// The object that it is a function of.
    pub object: Arc<ObjectDef>,
    /// The function; the constructor has an empty name.
    pub function: Arc<Function>,
}

impl FunctionTarget {
    /// How people name it: `greeter.hello`.
    pub fn describe(&self) -> String {
        let module = self.module.name();
        match (self.function.original.as_str(), &self.object.name) {
            ("", _) => format!("{module} (constructor)"),
            (function, object) if self.module.main().is_some_and(|main| main.name == *object) => {
                format!("{module}.{function}")
            }
            (function, _) => format!("{module}.{}.{function}", self.object.original),
        }
    }
}
