//! Rules that hold for a whole document, whatever the schema: unique names, known and used
//! fragments, no fragment within itself.

use std::collections::HashMap;

use crate::document::{Document, NodeKind};
use crate::error::GqlError;
use crate::types::Schema;

/// The fragments of a document by name.
pub(crate) type FragmentIndex<'a> = HashMap<&'a str, usize>;

/// Checks the document and returns its fragments by name.
pub(crate) fn check<'a>(document: &Document<'a>, schema: &Schema) -> Result<FragmentIndex<'a>, GqlError> {
    operations_are_distinct(document)?;
    let index = fragments_are_distinct(document)?;
    let spreads = known_spreads(document, &index)?;
    no_fragment_within_itself(document, &spreads)?;
    every_fragment_is_used(document, &index, &spreads)?;
    for operation in &document.operations {
        definition_directives(document, schema, &operation.directives, "QUERY")?;
    }
    for fragment in &document.fragments {
        definition_directives(document, schema, &fragment.directives, "FRAGMENT_DEFINITION")?;
    }
    Ok(index)
}

fn operations_are_distinct(document: &Document<'_>) -> Result<(), GqlError> {
    let mut seen = HashMap::new();
    for operation in &document.operations {
        match operation.name {
            None if document.operations.len() > 1 => {
                let message = "This anonymous operation must be the only defined operation.";
                return Err(GqlError::validation(message, operation.location));
            }
            Some(name) if seen.insert(name, ()).is_some() => {
                let message = format!("There can be only one operation named \"{name}\".");
                return Err(GqlError::validation(message, operation.location));
            }
            _ => {}
        }
    }
    Ok(())
}

fn fragments_are_distinct<'a>(document: &Document<'a>) -> Result<FragmentIndex<'a>, GqlError> {
    let mut index = HashMap::new();
    for (at, fragment) in document.fragments.iter().enumerate() {
        if index.insert(fragment.name, at).is_some() {
            let message = format!("There can be only one fragment named \"{}\".", fragment.name);
            return Err(GqlError::validation(message, fragment.location));
        }
    }
    Ok(index)
}

/// The fragments that each fragment spreads.
fn known_spreads(document: &Document<'_>, index: &FragmentIndex<'_>) -> Result<Vec<Vec<usize>>, GqlError> {
    for node in &document.selections {
        if let NodeKind::Spread { name } = node.kind
            && !index.contains_key(name)
        {
            return Err(GqlError::validation(format!("Unknown fragment \"{name}\"."), node.location));
        }
    }
    let spreads = document.fragments.iter().map(|fragment| spread_in(document, index, &fragment.selections));
    Ok(spreads.collect())
}

fn spread_in(document: &Document<'_>, index: &FragmentIndex<'_>, range: &std::ops::Range<u32>) -> Vec<usize> {
    let mut found: Vec<usize> = document.selections[range.start as usize..range.end as usize]
        .iter()
        .filter_map(|node| match node.kind {
            NodeKind::Spread { name } => index.get(name).copied(),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn no_fragment_within_itself(document: &Document<'_>, spreads: &[Vec<usize>]) -> Result<(), GqlError> {
    const NEW: u8 = 0;
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![NEW; spreads.len()];
    for start in 0..spreads.len() {
        if state[start] != NEW {
            continue;
        }
        state[start] = OPEN;
        let mut path = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            let Some(&to) = spreads[*at].get(*next) else {
                state[*at] = DONE;
                path.pop();
                continue;
            };
            *next += 1;
            match state[to] {
                NEW => {
                    state[to] = OPEN;
                    path.push((to, 0));
                }
                OPEN => return Err(cycle(document, &path, to)),
                _ => {}
            }
        }
    }
    Ok(())
}

fn cycle(document: &Document<'_>, path: &[(usize, usize)], to: usize) -> GqlError {
    let begin = path.iter().position(|(at, _)| *at == to).unwrap_or(0);
    let via: Vec<String> =
        path[begin + 1..].iter().take(10).map(|(at, _)| format!("\"{}\"", document.fragments[*at].name)).collect();
    let via = if via.is_empty() { String::new() } else { format!(" via {}", via.join(", ")) };
    let fragment = &document.fragments[to];
    let message = format!("Cannot spread fragment \"{}\" within itself{via}.", fragment.name);
    GqlError::validation(message, fragment.location)
}

fn every_fragment_is_used(
    document: &Document<'_>,
    index: &FragmentIndex<'_>,
    spreads: &[Vec<usize>],
) -> Result<(), GqlError> {
    let mut used = vec![false; spreads.len()];
    let mut work: Vec<usize> = Vec::new();
    for operation in &document.operations {
        work.extend(spread_in(document, index, &operation.selections));
    }
    while let Some(at) = work.pop() {
        if !std::mem::replace(&mut used[at], true) {
            work.extend(&spreads[at]);
        }
    }
    match used.iter().position(|used| !used) {
        None => Ok(()),
        Some(at) => {
            let fragment = &document.fragments[at];
            Err(GqlError::validation(format!("Fragment \"{}\" is never used.", fragment.name), fragment.location))
        }
    }
}

/// Directives that stand where `@skip` and `@include` may not.
fn definition_directives(
    document: &Document<'_>,
    schema: &Schema,
    range: &std::ops::Range<u32>,
    place: &str,
) -> Result<(), GqlError> {
    match document.directives_of(range).first() {
        None => Ok(()),
        Some(directive) => Err(foreign_directive(schema, directive.name, place, directive.location)),
    }
}

/// The error for a directive that is unknown or stands in the wrong place.
pub(crate) fn foreign_directive(schema: &Schema, name: &str, place: &str, at: crate::operation::Location) -> GqlError {
    let known = matches!(name, "skip" | "include") || schema.directives.iter().any(|known| &*known.name == name);
    let message = match known {
        true => format!("Directive \"@{name}\" may not be used on {place}."),
        false => format!("Unknown directive \"@{name}\"."),
    };
    GqlError::validation(message, at)
}
