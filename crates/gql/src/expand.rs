//! Expands the selections of a document into those of an operation: fragments expanded, directives
//! applied, equal response keys merged, conflicts refused.
//!
//! One level of selections is worked on at a time, from a list of levels to do; nothing recurses.
//! All selections that share a response key are expanded together, also those of different runtime
//! types, so that a conflict below them is found. The work is bounded by [`Limits::selections`].

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::builtin;
use crate::coerce::{Coercer, is_id};
use crate::document::{Argument, Directive, Document, NodeId, NodeKind, OperationDefinition};
use crate::error::{GqlError, Limits};
use crate::operation::{Location, Operation, Selection, SelectionId, Target};
use crate::rules::{FragmentIndex, foreign_directive};
use crate::suggest::did_you_mean;
use crate::types::{FieldDef, Name, Schema, TypeDef, TypeKind, TypeRef};
use crate::value::Value;

/// How many comparisons and re-visits an expanded field may cost on average.
const WORK_PER_SELECTION: u64 = 64;
/// How many levels of object conditions are remembered to tell that two selections never meet.
const GUARDS: usize = 64;

/// Expands `operation`.
pub(crate) fn expand<'a>(
    document: &Document<'a>,
    fragments: &FragmentIndex<'a>,
    operation: &OperationDefinition<'a>,
    coercer: &Coercer<'_, 'a>,
    limits: &Limits,
) -> Result<Operation, GqlError> {
    let schema = coercer.schema;
    let Some(root) = schema.types.get(&schema.query) else {
        return Err(GqlError::request("The schema has no query type."));
    };
    let mut expander = Expander {
        document,
        fragments,
        coercer,
        schema,
        limit: limits.selections,
        expanded: 0,
        work: limits.selections as u64 * WORK_PER_SELECTION,
        out: Operation::default(),
        arguments: HashMap::new(),
        meta: builtin::meta_fields(),
    };
    let first = operation.selections.start;
    let part = Part { owner: Owner::Root, ty: root, first, guards: Rc::default() };
    let mut levels = vec![Level { depth: 0, parts: vec![part] }];
    while let Some(level) = levels.pop() {
        expander.level(level, &mut levels)?;
    }
    Ok(expander.out)
}

/// To what the selections of a part belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Root,
    Selection(SelectionId),
    /// They are validated and never run.
    Dead,
}

/// Object types that the runtime object at a depth is known to be.
type Guards<'x> = Rc<Vec<(u32, &'x str)>>;

struct Level<'x> {
    depth: u32,
    parts: Vec<Part<'x>>,
}

/// One selection set that takes part in a level.
struct Part<'x> {
    owner: Owner,
    ty: &'x Arc<TypeDef>,
    first: NodeId,
    guards: Guards<'x>,
}

/// Where the walk over a part stands, one frame per open fragment.
#[derive(Clone)]
struct Frame<'x> {
    next: Option<NodeId>,
    ty: &'x Arc<TypeDef>,
    exact: Option<&'x Arc<TypeDef>>,
    conditions: Vec<Name>,
    guards: Guards<'x>,
    owner: Owner,
}

/// What a field selection is.
#[derive(Clone)]
struct Chosen {
    def: Arc<FieldDef>,
    args: Rc<Vec<(Name, Value)>>,
    weight: u64,
}

/// A selection of the level.
struct Entry<'x> {
    owner: Owner,
    conditions: Vec<Name>,
    guards: Guards<'x>,
    node: NodeId,
    chosen: Chosen,
    id: Owner,
    sets: Vec<NodeId>,
}

struct Expander<'x, 'a> {
    document: &'x Document<'a>,
    fragments: &'x FragmentIndex<'a>,
    coercer: &'x Coercer<'x, 'a>,
    schema: &'x Schema,
    limit: usize,
    expanded: usize,
    work: u64,
    out: Operation,
    arguments: HashMap<(NodeId, *const FieldDef), Chosen>,
    meta: builtin::MetaFields,
}

impl<'x, 'a> Expander<'x, 'a> {
    fn level(&mut self, level: Level<'x>, levels: &mut Vec<Level<'x>>) -> Result<(), GqlError> {
        let mut groups: Vec<Vec<Entry<'x>>> = Vec::new();
        let mut by_key: HashMap<&'a str, usize> = HashMap::new();
        let mut seen = HashSet::new();
        for part in level.parts {
            let exact = matches!(part.ty.kind, TypeKind::Object(_)).then_some(part.ty);
            let Part { owner, ty, first, guards } = part;
            let mut frames = vec![Frame { next: Some(first), ty, exact, conditions: Vec::new(), guards, owner }];
            while let Some(frame) = frames.last_mut() {
                let Some(id) = frame.next else {
                    frames.pop();
                    continue;
                };
                let node = &self.document.selections[id as usize];
                frame.next = node.next;
                let mut inner = frame.clone();
                match &node.kind {
                    NodeKind::Field { key, name, arguments } => {
                        if !self.included(&node.directives, "FIELD")? {
                            inner.owner = Owner::Dead;
                        }
                        let chosen =
                            self.choose(id, inner.ty, name, self.document.arguments_of(arguments), node.location)?;
                        let group = *by_key.entry(key).or_insert_with(|| {
                            groups.push(Vec::new());
                            groups.len() - 1
                        });
                        self.enter(&mut groups[group], id, key, inner, chosen)?;
                    }
                    NodeKind::Inline { condition } => {
                        self.spend(1)?;
                        if !self.included(&node.directives, "INLINE_FRAGMENT")? {
                            inner.owner = Owner::Dead;
                        }
                        if let Some(condition) = condition {
                            self.narrow(&mut inner, condition, None, node.location, level.depth)?;
                        }
                        inner.next = node.first;
                        frames.push(inner);
                    }
                    NodeKind::Spread { name } => {
                        self.spend(1)?;
                        if !self.included(&node.directives, "FRAGMENT_SPREAD")? {
                            inner.owner = Owner::Dead;
                        }
                        let Some(&at) = self.fragments.get(name) else { continue };
                        let fragment = &self.document.fragments[at];
                        self.narrow(&mut inner, fragment.condition, Some(name), node.location, level.depth)?;
                        if seen.insert((at, inner.owner, inner.conditions.clone(), inner.guards.clone())) {
                            inner.next = Some(fragment.selections.start);
                            frames.push(inner);
                        }
                    }
                }
            }
        }
        self.below(groups, level.depth + 1, levels);
        Ok(())
    }

    /// Adds a field to the selections that share its response key.
    fn enter(
        &mut self,
        group: &mut Vec<Entry<'x>>,
        node: NodeId,
        key: &'a str,
        frame: Frame<'x>,
        chosen: Chosen,
    ) -> Result<(), GqlError> {
        let sets = self.document.selections[node as usize].first;
        let mut merged = None;
        for (at, entry) in group.iter().enumerate() {
            self.work = self.work.saturating_sub(1);
            let other = self.document.selections[entry.node as usize].location;
            self.agree(key, entry, &frame, node, &chosen, other)?;
            if entry.owner == frame.owner && frame.owner != Owner::Dead && entry.conditions == frame.conditions {
                merged = Some(at);
            }
        }
        if let Some(at) = merged {
            let known = &mut group[at].sets;
            if let Some(set) = sets
                && known.last() != Some(&set)
                && !known.contains(&set)
            {
                self.work = self.work.saturating_sub(known.len() as u64);
                known.push(set);
            }
            return self.spend(1);
        }
        let id = self.emit(node, key, &frame, &chosen)?;
        group.push(Entry {
            owner: frame.owner,
            conditions: frame.conditions,
            guards: frame.guards,
            node,
            chosen,
            id,
            sets: sets.into_iter().collect(),
        });
        Ok(())
    }

    /// Checks that two selections with one response key can both be answered.
    fn agree(
        &mut self,
        key: &str,
        entry: &Entry<'x>,
        frame: &Frame<'x>,
        node: NodeId,
        chosen: &Chosen,
        other: Location,
    ) -> Result<(), GqlError> {
        let why = if !never_meet(&entry.guards, &frame.guards) && entry.chosen.def.name != chosen.def.name {
            format!("\"{}\" and \"{}\" are different fields", entry.chosen.def.name, chosen.def.name)
        } else if !never_meet(&entry.guards, &frame.guards) && !self.equal_arguments(entry, node, chosen)? {
            "they have differing arguments".to_owned()
        } else if !self.same_shape(&entry.chosen.def.ty, &chosen.def.ty) {
            format!("they return conflicting types \"{}\" and \"{}\"", entry.chosen.def.ty, chosen.def.ty)
        } else {
            return Ok(());
        };
        let message = format!(
            "Fields \"{key}\" conflict because {why}. \
             Use different aliases on the fields to fetch both if this was intentional."
        );
        let mut error = GqlError::validation(message, other);
        error.locations.push(self.document.selections[node as usize].location);
        Err(error)
    }

    fn equal_arguments(&mut self, entry: &Entry<'x>, node: NodeId, chosen: &Chosen) -> Result<bool, GqlError> {
        if entry.node == node || Rc::ptr_eq(&entry.chosen.args, &chosen.args) {
            return Ok(true);
        }
        self.spend(chosen.weight)?;
        Ok(entry.chosen.args == chosen.args)
    }

    fn same_shape(&self, one: &TypeRef, other: &TypeRef) -> bool {
        match (one, other) {
            (TypeRef::NonNull(one), TypeRef::NonNull(other)) | (TypeRef::List(one), TypeRef::List(other)) => {
                self.same_shape(one, other)
            }
            (TypeRef::Named(one), TypeRef::Named(other)) => {
                one == other || (self.composite(one) && self.composite(other))
            }
            _ => false,
        }
    }

    fn composite(&self, name: &str) -> bool {
        self.schema.types.get(name).is_some_and(|def| def.is_composite())
    }

    /// Writes a selection to the operation, unless it is never run.
    fn emit(&mut self, node: NodeId, key: &str, frame: &Frame<'x>, chosen: &Chosen) -> Result<Owner, GqlError> {
        self.expanded += 1;
        if self.expanded > self.limit {
            let at = self.document.selections[node as usize].location;
            return Err(GqlError::bound("selected fields after fragments are expanded", self.limit, Some(at)));
        }
        if frame.owner == Owner::Dead {
            return Ok(Owner::Dead);
        }
        let alias = if *key == *chosen.def.name { chosen.def.name.clone() } else { Name::from(key) };
        let location = self.document.selections[node as usize].location;
        let target = self.target(frame.ty, chosen);
        let id = self.out.selections.len() as SelectionId;
        let conditions = frame.conditions.clone();
        self.out.selections.push(Selection { alias, target, conditions, children: Vec::new(), location });
        match frame.owner {
            Owner::Selection(owner) => self.out.selections[owner as usize].children.push(id),
            _ => self.out.roots.push(id),
        }
        Ok(Owner::Selection(id))
    }

    fn target(&self, parent: &TypeDef, chosen: &Chosen) -> Target {
        let def = &chosen.def;
        match &*def.name {
            "__typename" => Target::Typename,
            "__schema" => Target::Schema,
            "__type" => match chosen.args.first() {
                Some((_, Value::String(name))) => Target::Type(name.clone()),
                _ => Target::Type(Name::from("")),
            },
            _ if builtin::is_introspection(&parent.name) => Target::Introspection {
                field: def.name.clone(),
                include_deprecated: chosen.args.iter().any(|(_, value)| *value == Value::Bool(true)),
            },
            _ => Target::Field { parent: parent.name.clone(), def: def.clone(), args: chosen.args.to_vec() },
        }
    }

    /// Plans the levels below the groups of this one.
    fn below(&mut self, groups: Vec<Vec<Entry<'x>>>, depth: u32, levels: &mut Vec<Level<'x>>) {
        for group in groups.into_iter().rev() {
            let mut parts: Vec<Part<'x>> = Vec::new();
            for entry in group {
                let Some(ty) = self.schema.types.get(entry.chosen.def.ty.base()) else { continue };
                for first in entry.sets {
                    parts.push(Part { owner: entry.id, ty, first, guards: entry.guards.clone() });
                }
            }
            let Some((first, rest)) = parts.split_first() else { continue };
            if rest.iter().all(|part| part.guards == first.guards) {
                let none = Guards::default();
                parts.iter_mut().for_each(|part| part.guards = none.clone());
            }
            levels.push(Level { depth, parts });
        }
    }

    /// Enters a fragment on the type called `condition`.
    fn narrow(
        &mut self,
        frame: &mut Frame<'x>,
        condition: &str,
        fragment: Option<&str>,
        at: Location,
        depth: u32,
    ) -> Result<(), GqlError> {
        let Some(ty) = self.schema.types.get(condition) else {
            return Err(GqlError::validation(format!("Unknown type \"{condition}\"."), at));
        };
        if !ty.is_composite() {
            let which = fragment.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let message = format!("Fragment{which} cannot condition on non composite type \"{condition}\".");
            return Err(GqlError::validation(message, at));
        }
        let outer = std::mem::replace(&mut frame.ty, ty);
        if is_a(outer, condition) {
            return Ok(());
        }
        if let Some(exact) = frame.exact {
            if !is_a(exact, condition) {
                frame.owner = Owner::Dead;
                if matches!(ty.kind, TypeKind::Object(_)) {
                    guard(frame, depth, ty);
                }
            }
            return Ok(());
        }
        if matches!(ty.kind, TypeKind::Object(_)) {
            if frame.conditions.iter().any(|known| !is_a(ty, known)) {
                frame.owner = Owner::Dead;
            }
            frame.exact = Some(ty);
            frame.conditions = vec![ty.name.clone()];
            guard(frame, depth, ty);
        } else if !frame.conditions.contains(&ty.name) {
            frame.conditions.push(ty.name.clone());
            frame.conditions.sort_unstable();
        }
        Ok(())
    }

    /// Finds the field and coerces its arguments.
    fn choose(
        &mut self,
        node: NodeId,
        parent: &'x TypeDef,
        name: &str,
        given: &[Argument<'a>],
        at: Location,
    ) -> Result<Chosen, GqlError> {
        let def = self.field(parent, name, at)?;
        let has_children = self.document.selections[node as usize].first.is_some();
        let returns = def.ty.base();
        let composite = match self.schema.types.get(returns) {
            Some(returned) => returned.is_composite(),
            None if is_id(self.schema, returns) => false,
            None => return Err(GqlError::validation(format!("Unknown type \"{returns}\"."), at)),
        };
        if has_children && !composite {
            let ty = &def.ty;
            let message = format!("Field \"{name}\" must not have a selection since type \"{ty}\" has no subfields.");
            return Err(GqlError::validation(message, at));
        }
        if given.is_empty() && def.args.is_empty() {
            return Ok(Chosen { def, args: Rc::default(), weight: 0 });
        }
        if self.fragments.is_empty() {
            return self.coerce_arguments(parent, def, given, at);
        }
        let key = (node, Arc::as_ptr(&def));
        if let Some(known) = self.arguments.get(&key) {
            let known = known.clone();
            self.spend(1 + known.weight)?;
            return Ok(known);
        }
        let chosen = self.coerce_arguments(parent, def, given, at)?;
        self.arguments.insert(key, chosen.clone());
        Ok(chosen)
    }

    fn field(&self, parent: &TypeDef, name: &str, at: Location) -> Result<Arc<FieldDef>, GqlError> {
        if let Some(def) = parent.field(name) {
            return Ok(def.clone());
        }
        let is_root = parent.name == self.schema.query;
        match name {
            "__typename" => return Ok(self.meta.typename.clone()),
            "__schema" if is_root => return Ok(self.meta.schema.clone()),
            "__type" if is_root => return Ok(self.meta.ty.clone()),
            _ => {}
        }
        let names = parent.fields().map(|fields| fields.list.as_slice()).unwrap_or_default();
        let near = did_you_mean(name, names.iter().map(|def| &*def.name));
        let message = format!("Cannot query field \"{name}\" on type \"{}\".{near}", parent.name);
        Err(GqlError::validation(message, at))
    }

    fn coerce_arguments(
        &mut self,
        parent: &TypeDef,
        def: Arc<FieldDef>,
        given: &[Argument<'a>],
        at: Location,
    ) -> Result<Chosen, GqlError> {
        for (position, argument) in given.iter().enumerate() {
            if given[..position].iter().any(|before| before.name == argument.name) {
                let message = format!("There can be only one argument named \"{}\".", argument.name);
                return Err(GqlError::validation(message, argument.location));
            }
            if def.arg(argument.name).is_none() {
                let near = did_you_mean(argument.name, def.args.iter().filter(|arg| !arg.hidden).map(|arg| &*arg.name));
                let (parent, field) = (&parent.name, &def.name);
                let message = format!("Unknown argument \"{}\" on field \"{parent}.{field}\".{near}", argument.name);
                return Err(GqlError::validation(message, argument.location));
            }
        }
        let mut args = Vec::with_capacity(given.len());
        for arg in &def.args {
            let written = given.iter().find(|argument| argument.name == &*arg.name);
            let required = arg.ty.is_non_null() && arg.default.is_none();
            let value = match written {
                None => None,
                Some(argument) if argument.value == crate::document::Literal::Null => Some(Value::Null),
                Some(argument) => self
                    .coercer
                    .coerce(&argument.value, &arg.ty, arg.default.is_some())
                    .map_err(|why| GqlError::validation(why, argument.location))?,
            };
            match value {
                Some(value) if value != Value::Null || !arg.ty.is_non_null() => args.push((arg.name.clone(), value)),
                None if !required => {}
                _ => {
                    let what = if written.is_some() { "it is null" } else { "it was not provided" };
                    let (parent, field, name, ty) = (&parent.name, &def.name, &arg.name, &arg.ty);
                    let place = written.map_or(at, |argument| argument.location);
                    let message = format!(
                        "Field \"{field}\" argument \"{name}\" of type \"{ty}\" is required, but {what} (on type \"{parent}\")."
                    );
                    return Err(GqlError::validation(message, place));
                }
            }
        }
        let weight = args.iter().map(|(_, value)| weight(value)).sum();
        Ok(Chosen { def, args: Rc::new(args), weight })
    }

    /// Whether `@skip` and `@include` leave the selection in.
    fn included(&self, range: &std::ops::Range<u32>, place: &str) -> Result<bool, GqlError> {
        let directives = self.document.directives_of(range);
        let mut included = true;
        for (at, directive) in directives.iter().enumerate() {
            let Directive { name, location, .. } = directive;
            if !matches!(*name, "skip" | "include") {
                return Err(foreign_directive(self.schema, name, place, *location));
            }
            if directives[..at].iter().any(|before| before.name == *name) {
                let message = format!("The directive \"@{name}\" can only be used once at this location.");
                return Err(GqlError::validation(message, *location));
            }
            included &= self.condition(directive)? == (*name == "include");
        }
        Ok(included)
    }

    fn condition(&self, directive: &Directive<'a>) -> Result<bool, GqlError> {
        let (name, location) = (directive.name, directive.location);
        let given = self.document.arguments_of(&directive.arguments);
        if let Some(unknown) = given.iter().find(|argument| argument.name != "if") {
            let message = format!("Unknown argument \"{}\" on directive \"@{name}\".", unknown.name);
            return Err(GqlError::validation(message, unknown.location));
        }
        if let Some(second) = given.get(1) {
            return Err(GqlError::validation("There can be only one argument named \"if\".", second.location));
        }
        let ty = TypeRef::NonNull(Box::new(TypeRef::Named(Name::from("Boolean"))));
        let value = match given.first() {
            None => None,
            Some(argument) => {
                let coerced = self.coercer.coerce(&argument.value, &ty, false);
                coerced.map_err(|why| GqlError::validation(why, argument.location))?
            }
        };
        match value {
            Some(Value::Bool(value)) => Ok(value),
            _ => {
                let message = format!(
                    "Directive \"@{name}\" argument \"if\" of type \"{ty}\" is required, but it was not provided."
                );
                Err(GqlError::validation(message, location))
            }
        }
    }

    /// Counts work that the document causes beyond its own size.
    fn spend(&mut self, amount: u64) -> Result<(), GqlError> {
        match self.work.checked_sub(amount) {
            Some(left) if left > 0 => {
                self.work = left;
                Ok(())
            }
            _ => Err(GqlError::bound("selected fields after fragments are expanded", self.limit, None)),
        }
    }
}

fn is_a(ty: &TypeDef, name: &str) -> bool {
    *ty.name == *name || ty.fields().is_some_and(|fields| fields.interfaces.iter().any(|known| **known == *name))
}

fn guard<'x>(frame: &mut Frame<'x>, depth: u32, ty: &'x TypeDef) {
    let guards = Rc::make_mut(&mut frame.guards);
    if guards.len() == GUARDS {
        guards.remove(0);
    }
    guards.push((depth, &ty.name));
}

/// Whether two selections belong to objects that cannot be the same: at some depth one is of one
/// object type and the other of another.
fn never_meet(one: &Guards<'_>, other: &Guards<'_>) -> bool {
    one.iter().any(|(depth, name)| other.iter().any(|(at, known)| at == depth && known != name))
}

/// How much a value costs to compare and to copy.
fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => 1 + text.len() as u64 / 256,
        Value::List(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Value::Object(fields) => 1 + fields.iter().map(|(_, value)| weight(value)).sum::<u64>(),
        _ => 1,
    }
}
