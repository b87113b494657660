//! How a registry gets its resolvers, and is closed.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rondel_fault::{Fault, Result};
use rondel_gql::types::{DirectiveDef, FieldResolver, Name, TypeRef};
use rondel_version::{Gate, View};

use crate::entry::{Content, Entry, Kind, LEGACY_IDS_UNTIL, LegacyLoad, Scope, legacy_of};
use crate::registry::Registry;

/// What a registry says about a field to code that attaches resolvers.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo<'r> {
    /// The type.
    pub type_name: &'r str,
    /// The field.
    pub field: &'r str,
    /// The type that it returns.
    pub returns: &'r TypeRef,
    /// The views it belongs to. A field that occurs several times is asked about once for each.
    pub gate: Gate,
    /// Whether its calls record the view: its meaning depends on it, or a later view lost it or one
    /// of its arguments.
    pub versioned: bool,
    /// What its results are shared by. `None`: by all callers.
    pub scope: Option<Scope>,
    /// Whether only the engine itself may select it.
    pub internal: bool,
}

/// A registry that still lacks resolvers.
pub struct RegistryBuilder {
    pub(crate) query: Name,
    pub(crate) types: Vec<Entry>,
    pub(crate) index: HashMap<Name, usize>,
    pub(crate) directives: Vec<Arc<DirectiveDef>>,
}

impl RegistryBuilder {
    /// Attaches a resolver to a field, in all its variants.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn attach(&mut self, type_name: &str, field: &str, resolver: FieldResolver) -> Result<()> {
        let mut found = false;
        self.attach_with(|info| {
            let matches = info.type_name == type_name && info.field == field;
            found |= matches;
            matches.then(|| resolver.clone())
        });
        match found {
            true => Ok(()),
            false => Err(Fault::bug(format!(
                "cannot attach behaviour to `{type_name}.{field}`: the schema has no such field"
            ))),
        }
    }

    /// Asks `resolver` about every field of every object; where it has an answer, that is
    /// attached.
    pub fn attach_with(&mut self, mut resolver: impl FnMut(FieldInfo<'_>) -> Option<FieldResolver>) {
        for entry in &mut self.types {
            let Kind::Object(members) = &mut entry.kind else { continue };
            if entry.builtin {
                continue;
            }
            for variant in members.fields.iter_mut().flatten() {
                let field = &mut variant.it;
                let info = FieldInfo {
                    type_name: &entry.name,
                    field: &field.bare.name,
                    returns: &field.bare.ty,
                    gate: variant.gate,
                    versioned: field.versioned,
                    scope: field.scope,
                    internal: field.internal,
                };
                if let Some(resolver) = resolver(info) {
                    field.bare.resolver = resolver;
                    field.attached = true;
                }
            }
        }
    }

    /// Every object field of the schema text, with its description.
    pub fn fields(&self) -> Vec<FieldInfo<'_>> {
        let mut all = Vec::new();
        for entry in self.types.iter().filter(|entry| !entry.builtin) {
            let Kind::Object(members) = &entry.kind else { continue };
            all.extend(members.fields.iter().flatten().map(|variant| FieldInfo {
                type_name: &entry.name,
                field: &variant.it.bare.name,
                returns: &variant.it.bare.ty,
                gate: variant.gate,
                versioned: variant.it.versioned,
                scope: variant.it.scope,
                internal: variant.it.internal,
            }));
        }
        all
    }

    /// Closes the registry. Object fields without a resolver are dropped; interfaces keep the
    /// fields that all their implementers have; types that nothing reaches are dropped. With
    /// `legacy_load`, views before [`LEGACY_IDS_UNTIL`] get the legacy ID surface.
    pub fn finish(mut self, legacy_load: Option<LegacyLoad>) -> Registry {
        let mut missing = Vec::new();
        for entry in self.types.iter_mut().filter(|entry| !entry.builtin) {
            let Kind::Object(members) = &mut entry.kind else { continue };
            for group in &mut members.fields {
                group.retain(|variant| {
                    if !variant.it.attached {
                        missing.push(format!("{}.{}", entry.name, variant.it.bare.name));
                    }
                    variant.it.attached
                });
            }
            members.fields.retain(|group| !group.is_empty());
        }
        missing.dedup();
        if let Some(load) = &legacy_load {
            self.add_legacy(load);
        }
        let mut implementers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, entry) in self.types.iter().enumerate() {
            if let Kind::Object(members) = &entry.kind {
                for interface in &members.interfaces {
                    implementers.entry(*interface).or_default().push(at);
                }
            }
        }
        let boundaries = self.all_boundaries(legacy_load.is_some());
        let content = Content {
            query: self.index.get(&self.query).copied().unwrap_or(0),
            types: self.types,
            directives: self.directives,
            implementers,
            legacy: legacy_load.is_some(),
        };
        let projections = (0..=boundaries.len()).map(|_| OnceLock::new()).collect();
        Registry { content, boundaries, projections, missing }
    }

    fn add_legacy(&mut self, load: &LegacyLoad) {
        let query = self.query.clone();
        let defined: Vec<bool> =
            self.types.iter().map(|entry| self.index.contains_key(format!("{}ID", entry.name).as_str())).collect();
        for (entry, defined) in self.types.iter_mut().zip(defined) {
            let composite = matches!(entry.kind, Kind::Object(_) | Kind::Interface(_));
            if composite && !entry.builtin && !defined && entry.name != query {
                entry.legacy = legacy_of(&entry.name, load);
            }
        }
    }

    fn all_boundaries(&self, legacy: bool) -> Vec<View> {
        let mut all = Vec::new();
        let mut add = |gate: &Gate| all.extend(gate.since.into_iter().chain(gate.until));
        for entry in &self.types {
            add(&entry.gate);
            match &entry.kind {
                Kind::Scalar => {}
                Kind::Object(members) | Kind::Interface(members) => {
                    for field in members.fields.iter().flatten() {
                        add(&field.gate);
                        field.it.args.iter().flatten().for_each(|arg| add(&arg.gate));
                    }
                }
                Kind::Enum(groups) => groups.iter().flatten().for_each(|member| add(&member.gate)),
                Kind::Input(groups) => groups.iter().flatten().for_each(|field| add(&field.gate)),
            }
        }
        if legacy {
            all.push(LEGACY_IDS_UNTIL);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}
