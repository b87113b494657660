//! A toy API through its views: what is projected, what is shared, what is told about it.

use std::sync::Arc;

use rondel_gql::types::{FieldDef, FieldResolver, Fields, Name, Schema, TypeDef, TypeKind, TypeRef};
use rondel_gql::{Limits, Request, prepare};
use rondel_schema::{Extension, IntrospectionCache, LegacyLoad, Registry, Scope, extend, introspect, schema_json, sdl};
use rondel_version::View;

const TOY: &str = include_str!("toy.graphql");

fn nothing() -> FieldResolver {
    FieldResolver(Arc::new(()))
}

fn registry(legacy: bool) -> Registry {
    let mut builder = Registry::from_sdl(TOY).expect("the toy text");
    builder.attach_with(|info| {
        let skipped = matches!((info.type_name, info.field), ("Query", "unattached") | ("File", "ping"));
        (!skipped).then(nothing)
    });
    builder.finish(legacy.then(|| Arc::new(|_: &str| nothing()) as LegacyLoad))
}

fn view(text: &str) -> View {
    text.parse().expect("a version")
}

fn answer(schema: &Schema, query: &str) -> serde_json::Value {
    let operation =
        prepare(schema, &Request { query, ..Request::default() }, &Limits::default()).expect("a valid query");
    let text = introspect(schema, &operation, operation.roots[0]).expect("an answer");
    serde_json::from_str(&text).expect("JSON")
}

fn accepts(schema: &Schema, query: &str) -> Result<(), String> {
    prepare(schema, &Request { query, ..Request::default() }, &Limits::default())
        .map(drop)
        .map_err(|error| error.message)
}

#[test]
fn views_differ_only_where_gates_say() {
    let registry = registry(false);
    let cases = [
        ("v0.11.9", "{container{export}}", true),
        ("v0.12.0", "{container{export}}", false),
        ("v0.12.0", "{container{export(path:\"x\")}}", true),
        ("v0.11.9", "{old{endpoint}}", true),
        ("v0.12.0", "{old{endpoint}}", false),
        ("v0.18.19", "{container{withDirectory(directory:\"x\",path:\"/\"){id}}}", true),
        ("v0.19.0", "{container{withDirectory(directory:\"x\",path:\"/\"){id}}}", false),
        ("v0.19.0", "{container{withDirectory(source:\"x\",path:\"/\"){id}}}", true),
        ("v0.11.0", "{pack(level:GZIP)}", true),
        ("v0.11.0", "{__schemaVersion}", true),
        ("v0.21.8", "{container{withHost(host:\"x\",newer:\"y\"){id}}}", true),
        ("v0.21.8", "{container{sync ping}}", true),
        ("v0.21.8", "{unattached{id}}", false),
    ];
    for (version, query, expected) in cases {
        let found = accepts(&registry.project(view(version)), query);
        assert_eq!(found.is_ok(), expected, "{version} {query}: {found:?}");
    }
    let keep = |version| {
        let schema = registry.project(view(version));
        let arg = schema.types["Query"].field("git").and_then(|field| field.arg("keep").cloned()).expect("an argument");
        arg.default.as_ref().map(ToString::to_string)
    };
    assert_eq!((keep("v0.13.3"), keep("v0.13.4")), (Some("false".into()), Some("true".into())));
}

#[test]
fn what_stays_the_same_is_shared() {
    let registry = registry(true);
    let (old, new) = (registry.project(view("v0.11.9")), registry.project(view("v0.21.8")));
    assert!(Arc::ptr_eq(&new, &registry.project(view("v0.20.0"))), "no gate lies between the two");
    assert!(!Arc::ptr_eq(&old, &new));
    for name in ["Host", "GitRef", "File", "Protocol", "PortForward", "String", "Node"] {
        assert!(Arc::ptr_eq(&old.types[name], &new.types[name]), "{name}");
    }
    let field = |schema: &Schema, name| schema.types["Container"].field(name).cloned().expect("a field");
    assert!(Arc::ptr_eq(&field(&old, "sync"), &field(&new, "sync")));
    assert!(!Arc::ptr_eq(&field(&old, "export"), &field(&new, "export")));
}

#[test]
fn what_nothing_evaluates_or_reaches_is_dropped() {
    let registry = registry(false);
    assert_eq!(registry.missing(), ["Query.unattached", "File.ping"]);
    let schema = registry.project(view("v0.21.8"));
    for name in ["Lonely", "Terminal", "_Private", "Unused"] {
        assert!(!schema.types.contains_key(name), "{name}");
    }
    assert!(schema.types["Kept"].field("host").is_some());
    assert!(schema.types["Syncer"].field("sync").is_some());
    assert!(schema.types["Syncer"].field("ping").is_none(), "one implementer lacks it");
    let old = registry.project(view("v0.11.0"));
    assert!(old.types.contains_key("Terminal"));
    let export = |schema: &Schema| schema.types["Exportable"].field("export").is_some();
    assert_eq!((export(&old), export(&schema)), (false, true), "an implementer's older form does not fit");
}

#[test]
fn internal_fields_are_found_and_not_listed() {
    let registry = registry(false);
    let now = view("v0.21.8");
    assert!(registry.lookup("Query", "__schemaVersion", now).is_some());
    assert!(registry.lookup("Query", "container", now).is_some());
    assert!(registry.lookup("Query", "old", now).is_none());
    assert!(registry.lookup("Nope", "old", now).is_none());
    let shown = answer(&registry.project(now), "{__type(name:\"Query\"){fields{name}}}").to_string();
    assert!(shown.contains("container") && !shown.contains("__schemaVersion"), "{shown}");
}

#[test]
fn fields_say_what_they_are() {
    let mut builder = Registry::from_sdl(TOY).expect("the toy text");
    let all = builder.fields();
    let find = |ty, name| all.iter().find(|info| info.type_name == ty && info.field == name).copied().expect("a field");
    assert!(find("Query", "git").versioned);
    // A field that a later view lost, or that lost an argument, can only be found again under the
    // view of the call.
    assert!(find("Query", "old").versioned && find("Container", "withDirectory").versioned);
    assert!(!find("Container", "sync").versioned);
    let export: Vec<bool> = all.iter().filter(|info| info.field == "export").map(|info| info.versioned).collect();
    assert_eq!(export, [true, false]);
    assert_eq!(find("Query", "pack").scope, Some(Scope::Session));
    assert!(find("Query", "__schemaVersion").internal);
    assert!(find("Container", "export").gate.admits(view("v0.11.0")));
    assert!(builder.attach("Query", "git", nothing()).is_ok());
    let error = builder.attach("Query", "nope", nothing()).expect_err("no such field");
    assert_eq!(error.message(), "cannot attach behaviour to `Query.nope`: the schema has no such field");
}

#[test]
fn bad_text_is_told() {
    let cases = [
        ("type Query { a: Nope }", "cannot read `Nope` in `Query` of the schema text: it is used and not defined"),
        ("type Foo { a: Int }", "cannot read the schema text: it has no root type `Query`"),
        ("type Query { a: Int } type Query { b: Int }", "cannot read the schema text: type `Query` is defined twice"),
        (
            "type Query { a: Int @since(v: \"x\") }",
            "cannot read `a` in `Query` of the schema text: `@since`: `x` is not a version of the form v1.2.3",
        ),
        (
            "type Query { a: Int @scope(per: WEEK) }",
            "cannot read `a` in `Query` of the schema text: `@scope(per: WEEK)` is unknown",
        ),
        (
            "type Query { a: E } enum E { A @alias(of: \"B\") }",
            "cannot read `A` in `E` of the schema text: `@alias` names `B`, which is no member",
        ),
        ("type Query {\n a Int }", "cannot read the schema text, line 2 column 4"),
    ];
    for (text, expected) in cases {
        let error = Registry::from_sdl(text).err().expect("an error");
        assert_eq!(error.message(), expected);
    }
}

#[test]
fn legacy_ids_exist_before_v0_22() {
    let registry = registry(true);
    let schema = registry.project(view("v0.21.8"));
    assert_eq!(
        accepts(&schema, "query($x:ContainerID!){loadContainerFromID(id:$x){id}}"),
        Err("Variable \"$x\" of required type \"ContainerID!\" was not provided.".into())
    );
    assert_eq!(accepts(&schema, "{loadSyncerFromID(id:\"x\"){id}}"), Ok(()));
    for name in ["QueryID", "NodeID", "_PrivateID", "TerminalID"] {
        assert!(!schema.types.contains_key(name), "{name}");
    }
    let later = registry.project(view("v0.22.0"));
    assert!(!later.types.contains_key("ContainerID"));
    assert!(accepts(&later, "{loadContainerFromID(id:\"x\"){id}}").is_err());
}

fn module_type(name: &str, fields: &[(&str, &str)], interface: bool) -> Arc<TypeDef> {
    let defs = fields.iter().map(|(field, ty)| {
        Arc::new(FieldDef {
            name: Name::from(*field),
            description: "".into(),
            args: vec![],
            ty: TypeRef::NonNull(Box::new(TypeRef::Named(Name::from(*ty)))),
            deprecated: None,
            directives: vec![],
            resolver: nothing(),
        })
    });
    let fields = Fields::new(defs, vec![]);
    let kind = if interface { TypeKind::Interface(fields) } else { TypeKind::Object(fields) };
    Arc::new(TypeDef { name: name.into(), description: "".into(), kind, directives: vec![] })
}

#[test]
fn modules_extend_a_schema() {
    let registry = registry(true);
    let now = view("v0.21.8");
    let base = registry.project(now);
    let maker = module_type("Maker", &[("id", "ID"), ("make", "Container")], false);
    let root = module_type("X", &[("maker", "Maker")], false);
    let named = module_type("MakerNamed", &[("id", "ID")], true);
    let extension = Extension {
        types: vec![maker, named],
        query_fields: root.fields().expect("fields").list.clone(),
        implements: vec![("File".into(), "MakerNamed".into())],
        legacy_load: Some(Arc::new(|_: &str| nothing())),
    };
    let schema = extend(&base, now, extension.clone());
    assert_eq!(
        accepts(
            &schema,
            "{maker{make{id}} loadMakerFromID(id:\"x\"){id} loadMakerNamedFromID(id:\"x\"){id} container{id}}"
        ),
        Ok(())
    );
    assert!(Arc::ptr_eq(&base.types["Container"], &schema.types["Container"]));
    assert!(!base.types.contains_key("Maker") && base.types["Query"].field("maker").is_none());
    let possible = answer(&schema, "{__type(name:\"MakerNamed\"){possibleTypes{name}}}");
    assert_eq!(possible, serde_json::json!({"possibleTypes": [{"name": "File"}]}));
    assert!(accepts(&extend(&base, view("v0.22.0"), extension), "{loadMakerFromID(id:\"x\"){id}}").is_err());
}

#[test]
fn introspection_tells_what_clients_need() {
    let schema = registry(false).project(view("v0.21.8"));
    let level = answer(
        &schema,
        "{__type(name:\"Level\"){kind fields{name} enumValues{name directives{name args{name value}}}}}",
    );
    assert_eq!(
        level,
        serde_json::json!({"kind": "ENUM", "fields": null, "enumValues": [
        {"name": "Gzip", "directives": []}, {"name": "Zstd", "directives": []},
        {"name": "GZIP", "directives": [{"name": "enumValue", "args": [{"name": "value", "value": "\"Gzip\""}]}]},
        {"name": "NEW", "directives": []}]})
    );
    let container = answer(
        &schema,
        "{__type(name:\"Container\"){n:name interfaces{name} fields{name} \
        all:fields(includeDeprecated:true){name isDeprecated deprecationReason description args{name} directives{name}}}}",
    );
    let names: Vec<&str> =
        container["fields"].as_array().expect("a list").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, ["id", "sync", "ping", "export", "withDirectory", "withHost"]);
    assert_eq!(
        container["interfaces"],
        serde_json::json!([{"name": "Node"}, {"name": "Syncer"}, {"name": "Exportable"}])
    );
    assert_eq!(
        container["all"][6],
        serde_json::json!({"name": "gone", "isDeprecated": true, "deprecationReason": "Use `ping`.",
        "description": "", "args": [], "directives": [{"name": "deprecated"}, {"name": "experimental"}]})
    );
    assert_eq!(container["all"][5]["args"], serde_json::json!([{"name": "host"}]), "hidden arguments are not listed");
    assert_eq!(container["all"][4]["args"], serde_json::json!([{"name": "source"}, {"name": "path"}]));
    let input = answer(
        &schema,
        "{__type(name:\"PortForward\"){inputFields{name defaultValue type{kind name ofType{name}}} isOneOf}}",
    );
    assert_eq!(
        input["inputFields"][2],
        serde_json::json!({"name": "protocol", "defaultValue": "TCP",
        "type": {"kind": "ENUM", "name": "Protocol", "ofType": null}})
    );
    assert_eq!(
        input["inputFields"][0]["type"],
        serde_json::json!({"kind": "NON_NULL", "name": null, "ofType": {"name": "Int"}})
    );
    let old = registry(false).project(view("v0.11.0"));
    let level = answer(&old, "{__type(name:\"Level\"){enumValues{name}}}");
    assert_eq!(level, serde_json::json!({"enumValues": [{"name": "Gzip"}, {"name": "Zstd"}]}));
    assert_eq!(answer(&schema, "{__type(name:\"Nope\"){name}}"), serde_json::Value::Null);
    let roots = answer(&schema, "{__schema{__typename queryType{name} mutationType{name} directives{name}}}");
    assert_eq!(
        roots,
        serde_json::json!({"__typename": "__Schema", "queryType": {"name": "Query"}, "mutationType": null,
        "directives": [{"name": "skip"}, {"name": "include"}, {"name": "deprecated"}, {"name": "expectedType"},
            {"name": "enumValue"}, {"name": "experimental"}]})
    );
}

/// Every type that is mentioned exists; every object and enum has members; interfaces are
/// implemented.
fn check_valid(schema: &Schema) {
    for ty in schema.types.values() {
        let known =
            |reference: &TypeRef| assert!(schema.types.contains_key(reference.base()), "{} uses {reference}", ty.name);
        match &ty.kind {
            TypeKind::Scalar => {}
            TypeKind::Enum(members) => assert!(members.iter().any(|member| !member.hidden), "{}", ty.name),
            TypeKind::Input(fields) => fields.iter().for_each(|field| known(&field.ty)),
            TypeKind::Object(fields) | TypeKind::Interface(fields) => {
                assert!(!fields.list.is_empty(), "{}", ty.name);
                for field in &fields.list {
                    known(&field.ty);
                    field.args.iter().for_each(|arg| known(&arg.ty));
                }
                for interface in fields.interfaces.iter().filter_map(|name| schema.types[name].fields()) {
                    for field in &interface.list {
                        assert!(fields.get(&field.name).is_some(), "{} lacks {}", ty.name, field.name);
                    }
                }
            }
        }
    }
}

#[test]
fn every_view_is_a_valid_schema() {
    let registry = registry(true);
    let mut views = vec![view("v0.9.9")];
    views.extend(registry.boundaries());
    for view in views {
        let schema = registry.project(view);
        check_valid(&schema);
        let text = sdl(&schema);
        let again = rondel_gql::builtin::schema(&text, |_, _| nothing()).expect("printed text parses");
        assert_eq!(sdl(&again), text, "{view}");
    }
}

#[test]
fn the_file_for_generators_hides_types() {
    let schema = registry(true).project(view("v0.21.8"));
    let text = schema_json(&schema, view("v0.21.8"), &["Host"]).expect("a file");
    assert_eq!(text, schema_json(&schema, view("v0.21.8"), &["Host"]).expect("a file"));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["__schemaVersion"], "v0.21.8");
    for hidden in ["\"Host\"", "\"HostID\"", "loadHostFromID", "\"host\""] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    assert!(text.contains("\"withHost\"") && text.contains("\"ContainerID\""));
    let whole = schema_json(&schema, view("v0.21.8"), &[]).expect("a file");
    assert!(whole.contains("\"HostID\""));
    let names: Vec<&str> =
        json["__schema"]["types"].as_array().expect("types").iter().filter_map(|ty| ty["name"].as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn answers_are_cached_per_schema_and_selection() {
    let registry = registry(true);
    let cache = IntrospectionCache::default();
    let ask = |schema: &Arc<Schema>, query: &str| {
        let operation =
            prepare(schema, &Request { query, ..Request::default() }, &Limits::default()).expect("a valid query");
        cache.get(schema, &operation, operation.roots[0]).expect("an answer")
    };
    let (old, new) = (registry.project(view("v0.11.0")), registry.project(view("v0.21.8")));
    let first = ask(&new, "{__schema{types{name}}}");
    assert!(Arc::ptr_eq(&first, &ask(&new, "query Other { __schema { types { name } } }")));
    assert!(!Arc::ptr_eq(&first, &ask(&new, "{__schema{types{n:name}}}")));
    assert!(!Arc::ptr_eq(&first, &ask(&old, "{__schema{types{name}}}")));
    for at in 0..100 {
        ask(&new, &format!("{{__schema{{types{{n{at}:name}}}}}}"));
    }
}

#[test]
fn endless_introspection_is_refused() {
    let schema = registry(false).project(view("v0.21.8"));
    let deep = format!("{{__schema{{types{}name{}}}}}", "{fields{type".repeat(60) + "{", "}".repeat(121));
    let operation =
        prepare(&schema, &Request { query: &deep, ..Request::default() }, &Limits::default()).expect("a valid query");
    let error = introspect(&schema, &operation, operation.roots[0]).expect_err("too much");
    assert!(error.message().starts_with("cannot introspect: "), "{error}");
}
