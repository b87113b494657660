//! A function of a loaded module, bound to its object.

use std::sync::Arc;

use rondel_module_model::loaded_module::Module;
use rondel_module_model::names::{field_name, kebab};
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
    /// The title of a call: `greeter from-container` as on the command line, or `greeter Door.open`
    /// for other objects than the main one.
    pub fn title(&self) -> String {
        let module = self.module.name();
        match self.function.original.as_str() {
            "" => self.describe(),
            function if self.is_of_main() => format!("{module} {}", kebab(&field_name(function))),
            function => format!("{module} {}.{function}", self.object.original),
        }
    }

    /// The name for messages: `greeter.hello`.
    pub fn describe(&self) -> String {
        let module = self.module.name();
        match self.function.original.as_str() {
            "" => format!("{module} (constructor)"),
            function if self.is_of_main() => format!("{module}.{function}"),
            function => format!("{module}.{}.{function}", self.object.original),
        }
    }

    fn is_of_main(&self) -> bool {
        self.module.main().is_some_and(|main| main.name == self.object.name)
    }
}
