//! The registry: every type of the API in every version, projected to one view.

use std::sync::{Arc, OnceLock};

use rondel_gql::types::{FieldDef, Schema};
use rondel_version::View;

use crate::entry::Content;
use crate::project::Projection;

/// Every type of the API in every version.
pub struct Registry {
    pub(crate) content: Content,
    /// The views at which something changes, ascending.
    pub(crate) boundaries: Vec<View>,
    /// One projection for the views before the first boundary, one from each boundary on.
    pub(crate) projections: Vec<OnceLock<Arc<Projection>>>,
    pub(crate) missing: Vec<String>,
}

impl Registry {
    /// The schema that callers of `view` see. Projected once for all views that admit the same
    /// members.
    pub fn project(&self, view: View) -> Arc<Schema> {
        self.projection(view).schema.clone()
    }

    /// The field in `view`, internal ones included.
    pub fn lookup(&self, type_name: &str, field: &str, view: View) -> Option<Arc<FieldDef>> {
        let projection = self.projection(view);
        let shown = projection.schema.types.get(type_name).and_then(|ty| ty.field(field));
        let internal = || projection.internal.get(type_name)?.get(field);
        shown.or_else(internal).cloned()
    }

    /// The fields that were dropped because nothing evaluates them, as `Type.field`, in order.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The views at which the API changes, ascending.
    pub fn boundaries(&self) -> &[View] {
        &self.boundaries
    }

    fn projection(&self, view: View) -> &Arc<Projection> {
        let at = self.boundaries.partition_point(|boundary| *boundary <= view);
        self.projections[at].get_or_init(|| Arc::new(self.content.project(view)))
    }
}
