//! What differs between the API that a version had and the API that this engine serves for it.

use std::collections::BTreeMap;

use crate::table::{Arg, Kind, Name, Shape, Type};

/// How close the two have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The same members, nothing else.
    Exact,
    /// All members, none relaxed; and what a later version added without a gate.
    Superset,
}

/// What came of a comparison.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Members that the version had.
    pub(crate) compared: usize,
    /// Those that are as they were.
    pub(crate) agree: usize,
    /// Members that later versions added, and that this engine serves.
    pub(crate) added: usize,
    /// What differs, one line each.
    pub(crate) differences: Vec<String>,
}

/// Compares; `later` has all members that a later version had.
pub(crate) fn compare(
    want: &BTreeMap<Name, Shape>,
    have: &BTreeMap<Name, Shape>,
    later: &[BTreeMap<Name, Shape>],
    rule: Rule,
) -> Outcome {
    let mut outcome = Outcome { compared: want.len(), ..Outcome::default() };
    for (name, shape) in want {
        let found = match have.get(name) {
            None => vec!["is missing".to_owned()],
            Some(ours) => {
                let known = |arg: &Arg| later.iter().any(|shapes| has_arg(shapes, name, arg));
                differences(name.kind, shape, ours, rule, &known)
            }
        };
        outcome.agree += usize::from(found.is_empty());
        outcome.differences.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    for name in have.keys().filter(|name| !want.contains_key(name)) {
        match rule == Rule::Superset && later.iter().any(|shapes| shapes.contains_key(name)) {
            true => outcome.added += 1,
            false => outcome.differences.push(format!("{name}: no such version has it")),
        }
    }
    outcome
}

fn has_arg(shapes: &BTreeMap<Name, Shape>, name: &Name, arg: &Arg) -> bool {
    shapes.get(name).is_some_and(|shape| shape.args.iter().any(|known| known.name == arg.name))
}

fn differences(kind: Kind, want: &Shape, have: &Shape, rule: Rule, known: &dyn Fn(&Arg) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    if rule == Rule::Exact {
        if want.args != have.args {
            found.push(format!("takes ({}), not ({})", shown(&have.args), shown(&want.args)));
        }
        let same = (&want.ty, &want.value, sorted(&want.words)) == (&have.ty, &have.value, sorted(&have.words));
        if !same {
            found.push(format!("is {}, not {}", described(have), described(want)));
        }
        if (want.deprecated, want.experimental) != (have.deprecated, have.experimental) {
            found.push(format!("is marked {}, not {}", marks(have), marks(want)));
        }
        return found;
    }
    if !fits(&have.ty.with_one_id(), &want.ty.with_one_id()) || (kind == Kind::InputField && have.ty != want.ty) {
        found.push(format!("is {}, not {}", have.ty, want.ty));
    }
    if want.value.is_some() && want.value != have.value {
        found.push(format!("means {:?}, not {:?}", have.value, want.value));
    }
    found.extend(want.words.iter().filter(|w| !have.words.contains(w)).map(|w| format!("lacks `{w}`")));
    if (want.deprecated && !have.deprecated) || (want.experimental && !have.experimental) {
        found.push(format!("is marked {}, not {}", marks(have), marks(want)));
    }
    for arg in &want.args {
        match have.args.iter().find(|ours| ours.name == arg.name) {
            None => found.push(format!("argument `{arg}` is missing")),
            Some(ours) if !accepts(ours, arg) => found.push(format!("argument `{ours}` was `{arg}`")),
            Some(_) => {}
        }
    }
    for arg in have.args.iter().filter(|ours| !want.args.iter().any(|arg| arg.name == ours.name)) {
        // A directive is applied by the engine, so nobody has to know its arguments.
        let optional = kind == Kind::Directive || arg.default.is_some() || !arg.ty.text.ends_with('!');
        if !optional || !known(arg) {
            found.push(format!("argument `{arg}` is new and {}", if optional { "of no version" } else { "required" }));
        }
    }
    found
}

/// Whether everything that was a value of `want` can be expected of `have`, and nothing else: null
/// may go, not come.
fn fits(have: &Type, want: &Type) -> bool {
    let (mut ours, mut theirs) = (&*have.text, &*want.text);
    loop {
        match (ours.strip_suffix('!'), theirs.strip_suffix('!')) {
            (None, Some(_)) => return false,
            (inner, outer) => (ours, theirs) = (inner.unwrap_or(ours), outer.unwrap_or(theirs)),
        }
        let list = |text: &'_ str| text.starts_with('[') && text.ends_with(']');
        if !list(ours) || !list(theirs) {
            return ours == theirs && (want.of.is_none() || have.of == want.of);
        }
        (ours, theirs) = (&ours[1..ours.len() - 1], &theirs[1..theirs.len() - 1]);
    }
}

/// Whether an argument takes what it took: a default and a deprecation may be added, nothing else
/// may change.
fn accepts(ours: &Arg, arg: &Arg) -> bool {
    ours.ty.with_one_id() == arg.ty.with_one_id()
        && (arg.default.is_none() || ours.default == arg.default)
        && (!arg.deprecated || ours.deprecated)
}

fn sorted(words: &[String]) -> Vec<&String> {
    let mut words: Vec<&String> = words.iter().collect();
    words.sort();
    words
}

fn shown(args: &[Arg]) -> String {
    args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn described(shape: &Shape) -> String {
    let value = shape.value.as_ref().map_or(String::new(), |value| format!(" = {value}"));
    format!("`{}{value}{}`", shape.ty, shape.words.join(" & "))
}

fn marks(shape: &Shape) -> String {
    let marks = [("deprecated", shape.deprecated), ("experimental", shape.experimental)];
    let marks: Vec<&str> = marks.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
    if marks.is_empty() { "as nothing".into() } else { marks.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    /// Compares two lines, each a field `A.b` of a table, without the columns before its arguments.
    fn check(rule: Rule, want: &'static str, have: &str, expected: &[&str]) {
        let table = |cells: &str| {
            let line = format!("v0.21.8\tfield\tA\tb\t{cells}");
            Table::of(Box::leak(line.into_boxed_str())).at("v0.21.8")
        };
        let later = [table("x: Int; y: Int!; z: Int = 1\tString!")];
        let outcome = compare(&table(want), &table(have), &later, rule);
        assert_eq!(outcome.differences, expected, "{want} / {have}");
    }

    #[test]
    fn the_newest_version_is_compared_exactly() {
        check(Rule::Exact, "x: Int\tString!", "x: Int\tString!", &[]);
        check(Rule::Exact, "x: Int\tString!", "x: Int!\tString!", &["A.b: takes (x: Int!), not (x: Int)"]);
        check(Rule::Exact, "\tString!", "\tString", &["A.b: is `String`, not `String!`"]);
        check(Rule::Exact, "\tString!\tdeprecated", "\tString!", &["A.b: is marked as nothing, not deprecated"]);
        check(
            Rule::Exact,
            "x: Int\tString!",
            "x: Int; z: Int = 1\tString!",
            &["A.b: takes (x: Int, z: Int = 1), not (x: Int)"],
        );
    }

    #[test]
    fn an_older_version_keeps_what_it_had() {
        let check = |want, have, expected: &[&str]| check(Rule::Superset, want, have, expected);
        check("\tString!", "x: Int; z: Int = 1\tString!", &[]);
        check("\tString!", "y: Int!\tString!", &["A.b: argument `y: Int!` is new and required"]);
        check("\tString!", "w: Int\tString!", &["A.b: argument `w: Int` is new and of no version"]);
        check("w: Int\tString!", "\tString!", &["A.b: argument `w: Int` is missing"]);
        check("x: Int = 1\tString!", "x: Int = 2\tString!", &["A.b: argument `x: Int = 2` was `x: Int = 1`"]);
        check("x: Int\tString!", "x: Int = 2 [deprecated]\tString!", &[]);
        check("x: CID!\tString!", "x: ID!<C>\tString!", &[]);
        check("x: CID!\tString!", "x: ID!<D>\tString!", &["A.b: argument `x: ID!<D>` was `x: CID!`"]);
        check("\t[String]", "\t[String!]!", &[]);
        check("\t[String!]!", "\t[String!]", &["A.b: is [String!], not [String!]!"]);
        check("\tCID!", "\tID!<C>", &[]);
        check("\tString!", "\tString!\tdeprecated", &[]);
        check("\tString!\tdeprecated", "\tString!", &["A.b: is marked as nothing, not deprecated"]);
    }
}
