//! The schema of a client: the API in the client's view, and the modules that it sees. Also adds
//! modules to those that are served to a client.
//!
//! A client sees the modules that are served to it. If it acts as a module, it has that module's
//! view. Then it also sees the module's dependencies, their dependencies without constructors, and
//! the module itself once its types are known. Schemas are cached by view and modules.

use std::sync::Arc;

use rondel_fault::{Result, lock};
use rondel_gql::types::{Schema, TypeDef};
use rondel_module_model::loaded_module::Provider;
use rondel_module_model::{Module, ModuleObject, ServedModule, name_conflicts};
use rondel_query::Node;
use rondel_schema::Registry;
use rondel_session::{Caller, Client, client};
use rondel_version::View;

use crate::call::field_resolvers::callable_schema;
use crate::load::modules::Modules;
use crate::module::module_schema::{ModuleSchema, SchemaPart, extension};

impl Modules {
    /// Serves `module` to the caller from now on. Its dependencies get constructors too if
    /// `dependencies` is set, or if the module has no code of its own.
    ///
    /// # Errors
    /// When another module of the same name is served.
    pub fn serve(&self, caller: &Caller, module: &Arc<Module>, dependencies: bool, entrypoint: bool) -> Result<()> {
        let me = client(caller);
        let mut list = lock(&me.served).clone();
        let mut add = |module: &Arc<Module>, constructor: bool, entrypoint: bool| -> Result<()> {
            if name_conflicts::check(module, list.iter().map(|served| &served.module))? {
                for known in list.iter_mut().filter(|known| known.module.name() == module.name()) {
                    known.constructor |= constructor;
                    known.entrypoint |= entrypoint;
                }
                return Ok(());
            }
            list.push(ServedModule { module: module.clone(), constructor, entrypoint });
            Ok(())
        };
        add(module, true, entrypoint)?;
        // A module without code exists for its dependencies.
        let shown = dependencies || matches!(module.provider, Provider::None);
        for dependency in &module.dependencies {
            add(dependency, shown, false)?;
        }
        *lock(&me.served) = list;
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
        let more = lock(&client.served).clone();
        let Some(acting_module) = client.scope.as_ref().and_then(|scope| scope.acting_module.as_ref()) else {
            return (view, more);
        };
        let module = &acting_module.module;
        let mut list = Vec::new();
        for dependency in &module.dependencies {
            list.push(ServedModule { module: dependency.clone(), constructor: true, entrypoint: false });
            for hidden in &dependency.dependencies {
                list.push(ServedModule { module: hidden.clone(), constructor: false, entrypoint: false });
            }
        }
        if !module.types.objects.is_empty() {
            list.push(ServedModule { module: module.clone(), constructor: true, entrypoint: false });
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
            .map(|module| ServedModule { module, constructor: false, entrypoint: false })
            .collect();
        list.extend(shown);
        self.schema(&me.services.registry, view, &list).types.get(node.type_name()).cloned()
    }

    /// The types that a module adds, with resolvers of their fields.
    pub fn schema_of(&self, module: &Arc<Module>) -> Arc<ModuleSchema> {
        let known = self.loaded.get(&module.source.call().digest());
        known.unwrap_or_else(|| callable_schema(module))
    }

    fn part(&self, served: &ServedModule) -> SchemaPart {
        SchemaPart {
            schema: self.schema_of(&served.module),
            constructor: served.constructor,
            entrypoint: served.entrypoint,
        }
    }

    fn schema(&self, registry: &Registry, view: View, list: &[ServedModule]) -> Arc<Schema> {
        let base = registry.project(view);
        if list.is_empty() {
            return base;
        }
        let part = |served: &ServedModule| {
            let module = &served.module;
            (module.source.call().digest(), module.implementation, served.constructor, served.entrypoint)
        };
        let parts: Vec<_> = list.iter().map(part).collect();
        let key = rondel_digest::of("schema/v1", &(view, parts));
        if let Some(known) = self.schemas.get(&key) {
            return known;
        }
        let parts: Vec<_> = list.iter().map(|served| self.part(served)).collect();
        let schema = Arc::new(rondel_schema::extend(&base, view, extension(&base, &parts)));
        self.schemas.insert(key, schema.clone());
        schema
    }
}
