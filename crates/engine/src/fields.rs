//! Fields that a caller's schema does not show.

use std::sync::Arc;

use rondel_call::{CallSpec, ModuleIdentity};
use rondel_fault::Result;
use rondel_gql::types::{FieldDef, TypeDef};
use rondel_modules::Modules;
use rondel_ports::BoxFuture;
use rondel_query::{Fields, Node};
use rondel_schema::Registry;
use rondel_session::{Caller, Client, Evaluator};
use rondel_version::{ENGINE, View};

/// Looks in the module that a call names, then in the core API, then in what the caller is served.
pub struct AllFields {
    registry: Arc<Registry>,
    modules: Arc<Modules>,
}

impl AllFields {
    /// The fields of `registry` and of `modules`.
    pub fn new(registry: Arc<Registry>, modules: Arc<Modules>) -> Self {
        Self { registry, modules }
    }

    fn core(&self, caller: &Caller, parent: &str, spec: &CallSpec) -> Option<Arc<FieldDef>> {
        let recorded: Option<View> = spec.view.as_deref().and_then(|view| view.parse().ok());
        let views = [recorded.unwrap_or(ENGINE), caller.view];
        views.into_iter().find_map(|view| self.registry.lookup(parent, &spec.field, view))
    }
}

impl Fields<Client> for AllFields {
    fn find<'a>(
        &'a self,
        caller: &'a Arc<Caller>,
        parent: &'a str,
        spec: &'a CallSpec,
    ) -> BoxFuture<'a, Result<Option<Arc<FieldDef>>>> {
        Box::pin(async move {
            // The module loader's own fields are in no schema, and name no module.
            if (spec.module.is_some() || spec.field.starts_with('_'))
                && let Some(found) = self.modules.find_field(caller, parent, spec).await?
            {
                return Ok(Some(found));
            }
            let core = self.core(caller, parent, spec);
            Ok(core.or_else(|| caller.schema().types.get(parent).and_then(|t| t.field(&spec.field)).cloned()))
        })
    }

    fn acting_as<'a>(
        &'a self,
        evaluator: &'a Arc<Evaluator>,
        caller: &'a Arc<Caller>,
        identity: Option<&'a Arc<ModuleIdentity>>,
    ) -> BoxFuture<'a, Result<Arc<Caller>>> {
        Box::pin(self.modules.acting_as(evaluator, caller, identity))
    }

    fn without_client_access(&self, caller: &Arc<Caller>) -> Result<Arc<Caller>> {
        Ok(rondel_modules::caller::without_client_access(caller))
    }

    fn type_of(&self, caller: &Arc<Caller>, node: &Node) -> Option<Arc<TypeDef>> {
        self.modules.type_of(caller, node)
    }
}
