//! Projection: the schema of one view, from the registry.

use std::collections::HashMap;
use std::sync::Arc;

use rondel_fault::lock;
use rondel_gql::types::{EnumValue, FieldDef, Fields, Name, Schema, TypeDef, TypeKind, TypeRef};
use rondel_version::View;

use crate::entry::{Content, Entry, Field, Gated, Input, Kind, LEGACY_IDS_UNTIL, Legacy, Members};

/// A projected view.
pub(crate) struct Projection {
    /// What clients see.
    pub(crate) schema: Arc<Schema>,
    /// What only the engine sees: fields by type and name.
    pub(crate) internal: HashMap<Name, HashMap<Name, Arc<FieldDef>>>,
}

impl Content {
    /// Projects `view`.
    pub(crate) fn project(&self, view: View) -> Projection {
        let cut = Cut { content: self, view, present: self.present(view) };
        let mut schema = Schema {
            types: HashMap::with_capacity(self.types.len() * 2),
            directives: self.directives.clone(),
            query: self.types[self.query].name.clone(),
        };
        let mut internal = HashMap::new();
        let mut legacy: Vec<&Legacy> = Vec::new();
        for (at, entry) in self.types.iter().enumerate() {
            let hidden = cut.internal_fields(entry);
            if !hidden.is_empty() {
                internal.insert(entry.name.clone(), hidden);
            }
            if cut.present[at] {
                schema.types.insert(entry.name.clone(), cut.type_def(at));
                legacy.extend(entry.legacy.as_ref());
            }
        }
        if self.legacy && view < LEGACY_IDS_UNTIL {
            add_legacy(&mut schema, legacy.into_iter());
        }
        Projection { schema: Arc::new(schema), internal }
    }

    /// Which types the view has: admitted, with members, and reached from the root.
    fn present(&self, view: View) -> Vec<bool> {
        let present = self.types.iter().map(|entry| entry.gate.admits(view)).collect();
        let mut cut = Cut { content: self, view, present };
        loop {
            let empty: Vec<usize> = (0..self.types.len()).filter(|at| cut.present[*at] && cut.is_empty(*at)).collect();
            if empty.is_empty() {
                break;
            }
            for at in empty {
                cut.present[at] = false;
            }
        }
        let reached = cut.reached();
        for (present, reached) in cut.present.iter_mut().zip(reached) {
            *present &= reached;
        }
        cut.present
    }
}

/// Adds the legacy scalars, and their load fields to the root type.
pub(crate) fn add_legacy<'l>(schema: &mut Schema, legacy: impl Iterator<Item = &'l Legacy>) {
    let mut loads = Vec::new();
    for legacy in legacy {
        schema.types.entry(legacy.scalar.name.clone()).or_insert_with(|| legacy.scalar.clone());
        loads.push(legacy.load.clone());
    }
    loads.sort_by(|a, b| a.name.cmp(&b.name));
    add_query_fields(schema, loads);
}

/// Adds fields to the root type, in place of fields of the same name.
pub(crate) fn add_query_fields(schema: &mut Schema, added: Vec<Arc<FieldDef>>) {
    let Some(root) = schema.types.get(&schema.query) else { return };
    if added.is_empty() {
        return;
    }
    let mut root = TypeDef::clone(root);
    if let TypeKind::Object(fields) = &mut root.kind {
        let list = std::mem::take(&mut fields.list);
        *fields = Fields::new(list.into_iter().chain(added), std::mem::take(&mut fields.interfaces));
    }
    schema.types.insert(root.name.clone(), Arc::new(root));
}

/// The registry as one view cuts it, while it is found out which types are present.
struct Cut<'r> {
    content: &'r Content,
    view: View,
    present: Vec<bool>,
}

impl<'r> Cut<'r> {
    /// The variant of a group that the view has: the last that it admits.
    fn admitted<'g, T>(&self, group: &'g [Gated<T>]) -> Option<(usize, &'g T)> {
        let at = group.iter().rposition(|variant| variant.gate.admits(self.view))?;
        Some((at, &group[at].it))
    }

    fn input<'g>(&self, group: &'g [Gated<Input>]) -> Option<(usize, &'g Input)> {
        self.admitted(group).filter(|(_, input)| self.present[input.ty])
    }

    /// Whether everything the field cannot do without is present.
    fn whole(&self, field: &Field) -> bool {
        self.present[field.returns]
            && field.args.iter().all(|group| match self.admitted(group) {
                Some((_, input)) => {
                    self.present[input.ty] || !input.def.ty.is_non_null() || input.def.default.is_some()
                }
                None => true,
            })
    }

    /// The variant of a field that clients of an object see.
    fn object_field<'g>(&self, group: &'g [Gated<Field>]) -> Option<(usize, &'g Field)> {
        self.admitted(group).filter(|(_, field)| (!field.internal || !field.bare.is_listed()) && self.whole(field))
    }

    /// The same for a field of an interface: all present implementers must have it, in a form that
    /// fits.
    fn interface_field<'g>(&self, interface: usize, group: &'g [Gated<Field>]) -> Option<(usize, &'g Field)> {
        let (at, field) = self.object_field(group)?;
        let implementers = self.content.implementers.get(&interface).map(Vec::as_slice).unwrap_or_default();
        let all = implementers.iter().filter(|at| self.present[**at]).all(|at| match &self.content.types[*at].kind {
            Kind::Object(members) => members.fields.iter().any(|group| {
                group.first().is_some_and(|first| first.it.bare.name == field.bare.name)
                    && self.object_field(group).is_some_and(|(_, own)| self.satisfies(own, field))
            }),
            _ => false,
        });
        all.then_some((at, field))
    }

    /// Whether an object's field implements an interface's: GraphQL specification,
    /// `IsValidImplementation`.
    fn satisfies(&self, own: &Field, shared: &Field) -> bool {
        let shared_args = || shared.args.iter().filter_map(|group| Some(self.input(group)?.1));
        let own_args = || own.args.iter().filter_map(|group| Some(self.input(group)?.1));
        self.is_subtype(&own.bare.ty, &shared.bare.ty)
            && shared_args()
                .all(|arg| own_args().any(|known| known.def.name == arg.def.name && known.def.ty == arg.def.ty))
            && own_args().all(|arg| {
                let optional = !arg.def.ty.is_non_null() || arg.def.default.is_some();
                optional || shared_args().any(|known| known.def.name == arg.def.name)
            })
    }

    fn is_subtype(&self, own: &TypeRef, shared: &TypeRef) -> bool {
        match (own, shared) {
            (TypeRef::NonNull(own), TypeRef::NonNull(shared)) | (TypeRef::List(own), TypeRef::List(shared)) => {
                self.is_subtype(own, shared)
            }
            (TypeRef::NonNull(own), _) => self.is_subtype(own, shared),
            (TypeRef::Named(own), TypeRef::Named(shared)) => own == shared || self.implements(own, shared),
            _ => false,
        }
    }

    fn implements(&self, object: &Name, interface: &Name) -> bool {
        let types = &self.content.types;
        types.iter().find(|entry| entry.name == *object).is_some_and(|entry| match &entry.kind {
            Kind::Object(members) | Kind::Interface(members) => {
                members.interfaces.iter().any(|at| types[*at].name == *interface)
            }
            _ => false,
        })
    }

    fn field<'g>(&self, at: usize, group: &'g [Gated<Field>]) -> Option<(usize, &'g Field)> {
        match self.content.types[at].kind {
            Kind::Interface(_) => self.interface_field(at, group),
            _ => self.object_field(group),
        }
    }

    fn is_empty(&self, at: usize) -> bool {
        match &self.content.types[at].kind {
            Kind::Scalar => false,
            Kind::Object(members) | Kind::Interface(members) => {
                !members.fields.iter().any(|group| self.field(at, group).is_some())
            }
            Kind::Enum(groups) => {
                !groups.iter().any(|group| self.admitted(group).is_some_and(|(_, member)| !member.shown.hidden))
            }
            Kind::Input(groups) => !groups.iter().any(|group| self.input(group).is_some()),
        }
    }

    /// The types that the root, the directives and the kept types reach.
    fn reached(&self) -> Vec<bool> {
        let types = &self.content.types;
        let mut reached: Vec<bool> = types.iter().map(|entry| entry.builtin).collect();
        let kept = (0..types.len()).filter(|at| types[*at].kept);
        let mut work: Vec<usize> = kept.chain([self.content.query]).collect();
        for arg in self.content.directives.iter().flat_map(|directive| &directive.args) {
            work.extend(types.iter().position(|entry| entry.name == *arg.ty.base()));
        }
        while let Some(at) = work.pop() {
            if !self.present[at] || std::mem::replace(&mut reached[at], true) {
                continue;
            }
            match &types[at].kind {
                Kind::Object(members) | Kind::Interface(members) => self.reach_from(at, members, &mut work),
                Kind::Input(groups) => {
                    work.extend(groups.iter().filter_map(|group| Some(self.input(group)?.1.ty)));
                }
                Kind::Scalar | Kind::Enum(_) => {}
            }
        }
        reached
    }

    fn reach_from(&self, at: usize, members: &Members, work: &mut Vec<usize>) {
        work.extend(&members.interfaces);
        for (_, field) in members.fields.iter().filter_map(|group| self.field(at, group)) {
            work.push(field.returns);
            work.extend(field.args.iter().filter_map(|group| Some(self.input(group)?.1.ty)));
        }
        let implementers = self.content.implementers.get(&at).map(Vec::as_slice).unwrap_or_default();
        work.extend(implementers.iter().filter(|object| self.has_own_field(**object)));
    }

    /// Whether the object has a field that none of its interfaces has: then an interface may well
    /// return it.
    fn has_own_field(&self, at: usize) -> bool {
        let Kind::Object(members) = &self.content.types[at].kind else { return false };
        let of_interface = |name: &Name| {
            members.interfaces.iter().any(|interface| match &self.content.types[*interface].kind {
                Kind::Interface(shared) => shared.fields.iter().flatten().any(|field| field.it.bare.name == *name),
                _ => false,
            })
        };
        members
            .fields
            .iter()
            .any(|group| self.object_field(group).is_some_and(|(_, field)| !of_interface(&field.bare.name)))
    }

    /// The type as the view has it; the same `Arc` for all views that have it alike.
    fn type_def(&self, at: usize) -> Arc<TypeDef> {
        let entry = &self.content.types[at];
        let mut key = Vec::new();
        let kind = match &entry.kind {
            Kind::Scalar => TypeKind::Scalar,
            Kind::Object(members) => TypeKind::Object(self.fields(at, members, &mut key)),
            Kind::Interface(members) => TypeKind::Interface(self.fields(at, members, &mut key)),
            Kind::Enum(groups) => {
                let members = groups.iter().filter_map(|group| match self.admitted(group) {
                    Some((chosen, member)) => {
                        key.push(chosen as u32 + 1);
                        Some(member.shown.clone())
                    }
                    None => {
                        key.push(0);
                        Some(group.last()?.it.hidden.clone())
                    }
                });
                TypeKind::Enum(members.collect::<Vec<Arc<EnumValue>>>())
            }
            Kind::Input(groups) => TypeKind::Input(self.chosen_inputs(groups, &mut key)),
        };
        let mut made = lock(&entry.made);
        let make = || {
            Arc::new(TypeDef {
                name: entry.name.clone(),
                description: entry.description.clone(),
                kind,
                directives: entry.directives.clone(),
            })
        };
        made.entry(key).or_insert_with(make).clone()
    }

    fn chosen_inputs(&self, groups: &[Vec<Gated<Input>>], key: &mut Vec<u32>) -> Vec<Arc<rondel_gql::types::ArgDef>> {
        let mut inputs = Vec::with_capacity(groups.len());
        for group in groups {
            match self.input(group) {
                Some((chosen, input)) => {
                    key.push(chosen as u32 + 1);
                    inputs.push(input.def.clone());
                }
                None => key.push(0),
            }
        }
        inputs
    }

    fn fields(&self, at: usize, members: &Members, key: &mut Vec<u32>) -> Fields {
        let mut interfaces = Vec::new();
        for interface in &members.interfaces {
            key.push(u32::from(self.present[*interface]));
            if self.present[*interface] {
                interfaces.push(self.content.types[*interface].name.clone());
            }
        }
        let mut list = Vec::with_capacity(members.fields.len());
        for group in &members.fields {
            match self.field(at, group) {
                Some((chosen, field)) => {
                    key.push(chosen as u32 + 1);
                    list.push(self.field_def(field, key));
                }
                None => key.push(0),
            }
        }
        Fields::new(list, interfaces)
    }

    fn field_def(&self, field: &Field, key: &mut Vec<u32>) -> Arc<FieldDef> {
        let before = key.len();
        let args = self.chosen_inputs(&field.args, key);
        let mut made = lock(&field.made);
        let make = || Arc::new(FieldDef { args, ..field.bare.clone() });
        made.entry(key[before..].to_vec()).or_insert_with(make).clone()
    }

    fn internal_fields(&self, entry: &Entry) -> HashMap<Name, Arc<FieldDef>> {
        let Kind::Object(members) = &entry.kind else { return HashMap::new() };
        let admitted = members.fields.iter().filter_map(|group| self.admitted(group));
        admitted
            .filter(|(_, field)| field.internal)
            .map(|(_, field)| (field.bare.name.clone(), self.field_def(field, &mut Vec::new())))
            .collect()
    }
}
