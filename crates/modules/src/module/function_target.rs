//! A function of a loaded module, bound to its object.

use std::sync::Arc;

use rondel_module_model::loaded_module::Module;
use rondel_module_model::typedef::type_def::{Function, ObjectDef};

/// A function of a module, with its module and object.
#[derive(Clone)]
pub struct FunctionTarget {
    /// The module.
    pub module: Arc<Module>,
    /// The object that has the function.
    pub object: Arc<ObjectDef>,
    /// The function. A constructor has an empty name.
    pub function: Arc<Function>,
}

impl FunctionTarget {
    /// The title of a call: `greeter hello`, or `greeter Door.open` for other objects than the main
    /// one.
    pub fn title(&self) -> String {
        self.describe().replacen('.', " ", 1)
    }

    /// The name for messages: `greeter.hello`.
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
