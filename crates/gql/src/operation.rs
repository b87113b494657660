//! The validated operation that the executor walks. It is flat, so that depth needs no recursion.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{FieldDef, Name};
use crate::value::Value;

/// Position of a [`Selection`] in [`Operation::selections`].
pub type SelectionId = u32;

/// One operation, ready to run: fragments are expanded, variables substituted, `@skip` and
/// `@include` applied, equal response keys merged, values coerced to the argument types.
#[derive(Debug, Default)]
pub struct Operation {
    /// Every selection; parents come before their children.
    pub selections: Vec<Selection>,
    /// The selections on the root type, in order.
    pub roots: Vec<SelectionId>,
}

/// One selected field.
#[derive(Debug)]
pub struct Selection {
    /// The key in the response.
    pub alias: Name,
    /// The selected fields.
    pub target: Target,
    /// The runtime types for which it is selected, when it stands in fragments with type
    /// conditions: the object's type must be, or implement, every one of them. Empty: always.
    pub conditions: Vec<Name>,
    /// The selections on what the field returns, in order. Empty for leaves. Two of them share a
    /// response key only where their conditions differ; [`Operation::applicable`] merges those for
    /// an object.
    pub children: Vec<SelectionId>,
    /// Where it stands in the document.
    pub location: Location,
}

/// What a selection selects.
#[derive(Debug, Clone)]
pub enum Target {
    /// A field of the schema.
    Field {
        /// The type on which it was selected (an object or interface).
        parent: Name,
        /// The field.
        def: Arc<FieldDef>,
        /// The arguments that were given, coerced; a `null` for an argument counts as not given,
        /// and so do arguments that were left out. Defaults are *not* filled in.
        args: Vec<(Name, Value)>,
    },
    /// `__typename`.
    Typename,
    /// `__schema`.
    Schema,
    /// `__type(name:)`.
    Type(Name),
    /// A field of an introspection type, below `__schema` or `__type`.
    Introspection {
        /// The field's name.
        field: Name,
        /// `includeDeprecated`, where the field has it.
        include_deprecated: bool,
    },
}

/// A place in a document, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Location {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A selection that applies to an object, with what is selected below it.
#[derive(Debug, Clone)]
pub struct Applicable<'o> {
    /// The selection.
    pub id: SelectionId,
    /// The selections on what it returns. More than its own when other selections with the same
    /// response key and other conditions apply to the object as well: those are the same call,
    /// answered once.
    pub children: Cow<'o, [SelectionId]>,
}

impl Operation {
    /// The selections of `children` that apply to one object, each response key once, in order.
    /// `is_a` says whether the object's type is, or implements, the type of that name.
    pub fn applicable<'o>(
        &'o self,
        children: &'o [SelectionId],
        mut is_a: impl FnMut(&Name) -> bool,
    ) -> Vec<Applicable<'o>> {
        let mut found: Vec<Applicable<'o>> = Vec::with_capacity(children.len());
        let mut by_alias: HashMap<&'o str, usize> = HashMap::new();
        for &id in children {
            let selection = &self.selections[id as usize];
            if !selection.conditions.iter().all(&mut is_a) {
                continue;
            }
            let next = found.len();
            let at = if children.len() == 1 { next } else { *by_alias.entry(&*selection.alias).or_insert(next) };
            match found.get_mut(at) {
                Some(known) => known.children.to_mut().extend_from_slice(&selection.children),
                None => found.push(Applicable { id, children: Cow::Borrowed(&selection.children) }),
            }
        }
        found
    }
}
