//! The schema of a client: the API, and the modules that the client sees.

use std::any::Any;
use std::sync::Arc;

use rondel_fault::{Result, lock};
use rondel_gql::types::{Schema, TypeDef};
use rondel_query::Node;
use rondel_schema::Registry;
use rondel_session::{Caller, Client, client};
use rondel_version::View;

use crate::call::field_resolvers::callable_schema;
use crate::load::modules::Modules;
use crate::module::loaded_module::{Module, ModuleObject, Provider};
use crate::module::module_schema::{ModuleSchema, ServedModule, check_served, extension};

impl Modules {
    /// Serves `module` to the caller from now on. Its dependencies get constructors too if
    /// `dependencies` is set, or if the module has no code of its own.
    ///
    /// # Errors
    /// When another module of the same name is served.
    pub fn serve(&self, caller: &Caller, module: &Arc<Module>, dependencies: bool, entrypoint: bool) -> Result<()> {
        let me = client(caller);
        let mut list = served(me);
        let mut add = |module: &Arc<Module>, constructor: bool, entrypoint: bool| -> Result<()> {
            if check_served(&list, module)? {
                for known in list.iter_mut().filter(|known| known.schema.module.name() == module.name()) {
                    known.constructor |= constructor;
                    known.entrypoint |= entrypoint;
                }
                return Ok(());
            }
            list.push(ServedModule { schema: self.schema_of(module), constructor, entrypoint });
            Ok(())
        };
        add(module, true, entrypoint)?;
        // A module without code exists for its dependencies.
        let shown = dependencies || matches!(module.provider, Provider::None);
        for dependency in &module.dependencies {
            add(dependency, shown, false)?;
        }
        let entries = list.iter().map(|served| Arc::new(served.clone()) as Arc<dyn Any + Send + Sync>).collect();
        *lock(&me.served) = entries;
        caller.serve(self.client_schema(me, caller.view));
        Ok(())
    }

    /// The schema of `client` in `view`: the API, and the modules that the client sees. Cached, so
    /// cheap when nothing changed.
    pub fn client_schema(&self, client: &Client, view: View) -> Arc<Schema> {
        let (view, list) = self.visible(client, view);
        self.schema(&client.services.registry, view, &list)
    }

    /// The view of a client, and the modules that it sees. A client that acts as no module has the
    /// view `view` and sees the modules that it is served. One that acts as a module has that
    /// module's view, and also sees the dependencies of the module, and the module itself once its
    /// types are known.
    pub fn visible(&self, client: &Client, view: View) -> (View, Vec<ServedModule>) {
        let more = served(client);
        let Some(acting_module) = client.scope.as_ref().and_then(|scope| scope.acting_module.as_ref()) else {
            return (view, more);
        };
        let Ok(module) = acting_module.module.clone().downcast::<Module>() else { return (acting_module.view, more) };
        let mut list = Vec::new();
        for dependency in &module.dependencies {
            list.push(ServedModule { schema: self.schema_of(dependency), constructor: true, entrypoint: false });
            for hidden in &dependency.dependencies {
                list.push(ServedModule { schema: self.schema_of(hidden), constructor: false, entrypoint: false });
            }
        }
        if !module.types.objects.is_empty() {
            list.push(ServedModule { schema: self.schema_of(&module), constructor: true, entrypoint: false });
        }
        list.extend(more);
        (acting_module.view, list)
    }

    /// The type of a module's object that the client does not see. See
    /// [`rondel_query::Fields::type_of`].
    pub fn type_of(&self, caller: &Caller, node: &Node) -> Option<Arc<TypeDef>> {
        let object = node.value.get::<ModuleObject>()?;
        let me = client(caller);
        let (view, shown) = self.visible(me, caller.view);
        // Modules that the client sees come last: their types take precedence over others of the
        // same name.
        let mut list: Vec<ServedModule> = object
            .module
            .with_dependencies()
            .map(|module| ServedModule { schema: self.schema_of(&module), constructor: false, entrypoint: false })
            .collect();
        list.extend(shown);
        self.schema(&me.services.registry, view, &list).types.get(node.type_name()).cloned()
    }

    fn schema_of(&self, module: &Arc<Module>) -> Arc<ModuleSchema> {
        let known = self.loaded.get(&module.source.call().digest());
        known.unwrap_or_else(|| callable_schema(module))
    }

    fn schema(&self, registry: &Registry, view: View, list: &[ServedModule]) -> Arc<Schema> {
        let base = registry.project(view);
        if list.is_empty() {
            return base;
        }
        let part = |served: &ServedModule| {
            let module = &served.schema.module;
            (module.source.call().digest(), module.implementation, served.constructor, served.entrypoint)
        };
        let parts: Vec<_> = list.iter().map(part).collect();
        let key = rondel_digest::of("schema/v1", &(view, parts));
        if let Some(known) = self.schemas.get(&key) {
            return known;
        }
        let schema = Arc::new(rondel_schema::extend(&base, view, extension(&base, list)));
        self.schemas.insert(key, schema.clone());
        schema
    }
}

/// The modules that are served to a client.
pub fn served(client: &Client) -> Vec<ServedModule> {
    lock(&client.served).iter().filter_map(|entry| entry.downcast_ref::<ServedModule>().cloned()).collect()
}
