//! Conformance of types to interfaces of modules: docs/protocol.md#interfaces.
//!
//! Conformance is structural. The type has each function of the interface. It accepts every
//! argument that the interface allows, or a conforming type, and returns what the interface says,
//! or a conforming type. Types that refer to one another conform unless something contradicts it.

use std::collections::{HashMap, HashSet};

use rondel_gql::types::{ArgDef, FieldDef as Field, Name, TypeDef as Type, TypeKind, TypeRef};

/// Types by name.
pub(crate) type TypesByName<'a> = HashMap<&'a str, &'a Type>;

/// The pairs of object and interface that conform, among the objects in `types` and the interfaces
/// called `interfaces`. The root type `root` is left out.
pub(crate) fn conforming<'a>(types: &TypesByName<'a>, root: &str, interfaces: &[&'a Name]) -> Vec<(Name, Name)> {
    let find = |name: &str| types.get(name).copied();
    let is_object = |ty: &&&Type| matches!(ty.kind, TypeKind::Object(_)) && *ty.name != *root;
    let mut objects: Vec<&Name> = types.values().filter(is_object).map(|ty| &ty.name).collect();
    objects.sort();
    let of = |interface: &&Name| -> Vec<(Name, Name)> {
        let objects = objects.iter().filter(|object| conforms(&find, object, interface));
        objects.map(|object| ((*object).clone(), (*interface).clone())).collect()
    };
    interfaces.iter().flat_map(of).collect()
}

/// Whether the type `ty` conforms to the interface `interface`. `find` looks types up.
pub(crate) fn conforms<'a>(find: &impl Fn(&str) -> Option<&'a Type>, ty: &str, interface: &str) -> bool {
    holds(find, (Name::from(ty), Name::from(interface)), &mut HashSet::new())
}

/// Whether the first of `pair` conforms to the second if the pairs in `assumed` hold. Adds the
/// pairs that it assumes.
fn holds<'a>(find: &impl Fn(&str) -> Option<&'a Type>, pair: Pair, assumed: &mut HashSet<Pair>) -> bool {
    let mut pending = vec![pair];
    // An assumption is refuted by one pair that does not hold. What is never refuted holds: this is
    // the greatest fixpoint.
    while let Some(pair) = pending.pop() {
        if pair.0 == pair.1 || assumed.contains(&pair) {
            continue;
        }
        let (Some(own), Some(TypeKind::Interface(wanted))) =
            (find(&pair.0).and_then(Type::fields), find(&pair.1).map(|ty| &ty.kind))
        else {
            return false;
        };
        assumed.insert(pair);
        for field in wanted.list.iter().filter(|field| &*field.name != "id") {
            let Some(needed) = own.get(&field.name).and_then(|own| covers(own, field)) else { return false };
            pending.extend(needed.result);
            for (given, taken) in needed.args {
                let mut trial = assumed.clone();
                if holds(find, (given.clone(), taken.clone()), &mut trial) {
                    *assumed = trial;
                } else {
                    // A function that accepts less than the interface allows is checked when it is
                    // called. It may be called with arguments that it accepts, as with a type whose
                    // functions accept its own companions.
                    pending.push((taken, given));
                }
            }
        }
    }
    true
}

/// A type, and an interface that it must conform to.
type Pair = (Name, Name);

/// The pairs that must conform for a function to be callable as another one.
struct Needed {
    /// The pair of the result types.
    result: Option<Pair>,
    /// For each argument whose types differ: the given type and the accepted type, one of which
    /// must conform to the other.
    args: Vec<Pair>,
}

/// The pairs that must conform for `own` to be callable as `wanted`. `None` when it never is.
fn covers(own: &Field, wanted: &Field) -> Option<Needed> {
    let optional = |arg: &ArgDef| !arg.ty.is_non_null() || arg.default.is_some();
    if !own.args.iter().all(|mine| wanted.arg(&mine.name).is_some() || optional(mine)) {
        return None;
    }
    let mut args = Vec::new();
    for arg in &wanted.args {
        let mine = own.arg(&arg.name)?;
        // As input an object is an ID. Its type is in the directive of the argument.
        args.extend(fits(&arg.ty, arg.expected_type(), &mine.ty, mine.expected_type())?);
    }
    Some(Needed { result: fits(&own.ty, None, &wanted.ty, None)?, args })
}

/// The pair that must conform for a value of type `given` to be used as `wanted`. `Some(None)` when
/// it always can, `None` when it never can.
fn fits(given: &TypeRef, of: Option<&str>, wanted: &TypeRef, wanted_of: Option<&str>) -> Option<Option<(Name, Name)>> {
    let named = |name: &Name, of: Option<&str>| match of {
        Some(of) if &**name == "ID" => Name::from(of),
        _ => name.clone(),
    };
    match (given, wanted) {
        (TypeRef::NonNull(given), TypeRef::NonNull(wanted)) => fits(given, of, wanted, wanted_of),
        (TypeRef::NonNull(given), wanted) => fits(given, of, wanted, wanted_of),
        (TypeRef::List(given), TypeRef::List(wanted)) => fits(given, of, wanted, wanted_of),
        (TypeRef::Named(given), TypeRef::Named(wanted)) => {
            let (given, wanted) = (named(given, of), named(wanted, wanted_of));
            Some((given != wanted).then_some((given, wanted)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: &str = r#"
directive @expectedType(name: String!) on ARGUMENT_DEFINITION | FIELD_DEFINITION
interface Duck { quack: String! eat(d: ID! @expectedType(name: "Directory")): String! }
interface Friend { pal: Duck! }
interface Flock { all: [Duck!]! next: Flock }
interface Feeder { feed(d: ID! @expectedType(name: "Mallard")): String! }
interface Companion { name: String! }
interface Host { welcome(other: ID! @expectedType(name: "Companion")): Host! }
interface Loud { quack(times: Int): String }
type Directory { entries: [String!]! }
type Mallard { quack: String! eat(d: ID! @expectedType(name: "Directory")): String! }
type Wrong { quack: String! eat(d: ID! @expectedType(name: "File")): String! }
type Any { quack: String! eat(d: ID): String! }
type Owner { pal: Mallard! }
type Stranger { pal: Wrong! }
type Pond { all: [Mallard!]! next: Pond }
type Puddle { all: [Mallard!]! next: Gap }
type Gap { all: [Wrong!]! next: Puddle }
type Maybe { all: [Mallard]! next: Pond }
type AnyFeeder { feed(d: ID! @expectedType(name: "Duck")): String! }
type FileFeeder { feed(d: ID! @expectedType(name: "Friend")): String! }
type Loudest { quack(times: Int, unit: String = "x"): String! }
type Picky { quack(times: Int!): String! }
type Needy { quack(times: Int, unit: String!): String! }
type Guest { name: String! }
type Mute { age: Int! }
type Inn { welcome(other: ID! @expectedType(name: "Guest")): Inn! }
type OpenInn { welcome(other: ID! @expectedType(name: "Companion")): OpenInn! }
type Cell { welcome(other: ID! @expectedType(name: "Mute")): Cell! }
type ShutInn { welcome(other: ID! @expectedType(name: "Guest")): Cell! }
type Query { x: Int }
"#;

    fn check_conforming(interface: &str, want: &[&str]) {
        let schema = rondel_gql::builtin::schema(TYPES, rondel_gql::builtin::nothing).expect("a schema");
        let types = schema.types.values().map(|ty| (&*ty.name, &**ty)).collect();
        let found = conforming(&types, "Query", &[&interface.into()]);
        let found: Vec<&str> = found.iter().map(|(object, _)| &**object).collect();
        assert_eq!(found, want, "{interface}");
    }

    #[test]
    fn what_conforms() {
        check_conforming("Duck", &["Mallard"]);
        check_conforming("Friend", &["Owner"]);
        check_conforming("Flock", &["Pond"]);
        check_conforming("Feeder", &["AnyFeeder"]);
        check_conforming("Loud", &["Loudest"]);
        check_conforming("Host", &["Inn", "OpenInn"]);
    }

    #[test]
    fn interfaces_conform_to_interfaces() {
        let schema = rondel_gql::builtin::schema(TYPES, rondel_gql::builtin::nothing).expect("a schema");
        let find = |name: &str| schema.types.get(name).map(|ty| &**ty);
        assert!(conforms(&find, "Friend", "Friend") && !conforms(&find, "Duck", "Friend"));
        assert!(!conforms(&find, "Mallard", "Directory") && !conforms(&find, "Missing", "Duck"));
    }
}
