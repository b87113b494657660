//! Documents against a toy schema: what is accepted, what it becomes, what is refused and in which
//! words.

use std::sync::Arc;

use rondel_gql::types::{EnumValue, FieldResolver, Name, TypeKind};
use rondel_gql::{ErrorKind, Limits, Operation, Request, Schema, SelectionId, Target, builtin, prepare};

fn toy() -> Schema {
    let mut schema =
        builtin::schema(include_str!("toy.graphql"), |_, _| FieldResolver(Arc::new(()))).expect("the toy schema");
    let kind = Arc::make_mut(schema.types.get_mut("Kind").expect("an enum"));
    let TypeKind::Enum(members) = &mut kind.kind else { panic!("no enum") };
    for (name, alias_of, hidden) in [("long", Some("LONG"), false), ("OLD", None, true), ("short", Some("SHORT"), true)]
    {
        members.push(Arc::new(EnumValue {
            name: name.into(),
            description: "".into(),
            deprecated: None,
            alias_of: alias_of.map(Name::from),
            hidden,
            directives: vec![],
        }));
    }
    let query = Arc::make_mut(schema.types.get_mut("Query").expect("the root"));
    let TypeKind::Object(fields) = &mut query.kind else { panic!("no object") };
    for field in &mut fields.list {
        if &*field.name == "file" {
            let field = Arc::make_mut(field);
            Arc::make_mut(&mut field.args[3]).hidden = true;
        }
    }
    schema
}

fn render(operation: &Operation, ids: &[SelectionId], out: &mut String) {
    for (at, id) in ids.iter().enumerate() {
        let selection = &operation.selections[*id as usize];
        if at > 0 {
            out.push(' ');
        }
        let name = match &selection.target {
            Target::Field { def, args, .. } => {
                let args: Vec<String> = args.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                if args.is_empty() { def.name.to_string() } else { format!("{}({})", def.name, args.join(", ")) }
            }
            Target::Typename => "__typename".to_owned(),
            Target::Schema => "__schema".to_owned(),
            Target::Type(name) => format!("__type({name})"),
            Target::Introspection { field, include_deprecated } => {
                format!("%{field}{}", if *include_deprecated { "+" } else { "" })
            }
        };
        let plain = name.split('(').next().unwrap_or("").trim_start_matches('%').trim_end_matches('+');
        if *plain != *selection.alias {
            out.push_str(&format!("{}=", selection.alias));
        }
        out.push_str(&name);
        if !selection.conditions.is_empty() {
            out.push_str(&format!("<{}>", selection.conditions.join("&")));
        }
        if !selection.children.is_empty() {
            out.push('{');
            render(operation, &selection.children, out);
            out.push('}');
        }
    }
}

fn run(query: &str, variables: &str) -> Result<String, String> {
    let variables: serde_json::Value = serde_json::from_str(variables).expect("variables");
    let request = Request { query, operation_name: None, variables: variables.as_object() };
    let operation = prepare(&toy(), &request, &Limits::default()).map_err(|error| error.message)?;
    let mut out = String::new();
    render(&operation, &operation.roots, &mut out);
    Ok(out)
}

#[track_caller]
fn check_ok(query: &str, expected: &str) {
    assert_eq!(run(query, "{}"), Ok(expected.to_owned()), "{query}");
}

#[track_caller]
fn check_with(query: &str, variables: &str, expected: &str) {
    assert_eq!(run(query, variables), Ok(expected.to_owned()), "{query} {variables}");
}

#[track_caller]
fn check_error(query: &str, expected: &str) {
    assert_eq!(run(query, "{}"), Err(expected.to_owned()), "{query}");
}

#[test]
fn shapes() {
    check_ok("{container{from(address:\"a\"){stdout}}}", "container{from(address: \"a\"){stdout}}");
    check_ok("\u{feff}query Q { c: container { id, id, x: id } } # end", "c=container{id x=id}");
    check_ok("{container{id} container{size}}", "container{id size}");
    check_ok("{container ...F} fragment F on Query {container{id}}", "container{id}");
    check_ok(
        "{node(id:\"x\"){id ... on Container{id stdout} ... on Node{__typename}}}",
        "node(id: \"x\"){id id<Container> stdout<Container> __typename}",
    );
    check_ok(
        "{node(id:1){... on Syncer{sync ... on Container{size} ... on File{name}}}}",
        "node(id: \"1\"){sync<Syncer> size<Container>}",
    );
    check_ok("{container{... on Node{id} ... on File{name}}}", "container{id}");
    check_ok(
        "{a:container@skip(if:true){id} b:container@include(if:true){id @include(if:false) size}}",
        "b=container{size}",
    );
    check_ok("{files}", "files");
    check_ok(
        "{__schema{types{name fields(includeDeprecated:true){name}}} __type(name:\"X\"){kind} __typename}",
        "__schema{%types{%name %fields+{%name}}} __type(X){%kind} __typename",
    );
}

#[test]
fn leniencies() {
    check_ok("{platform(kind:\"SHORT\")}", "platform(kind: SHORT)");
    check_ok("{platform(kind:long, kinds:[OLD \"short\"])}", "platform(kind: LONG, kinds: [OLD, SHORT])");
    check_ok("{platform(kind:null)}", "platform(kind: null)");
    check_ok("{platform(kinds:LONG)}", "platform(kinds: [LONG])");
    check_ok("{count(n:\"9223372036854775807\", list:1)}", "count(n: 9223372036854775807, list: [[1]])");
    check_ok("{count(n:3.0)}", "count(n: 3)");
    check_ok(
        "{file(path:12,mode:\"7\",ratio:\"1.5\",deep:\"true\")}",
        "file(path: \"12\", mode: 7, ratio: 1.5, deep: true)",
    );
    check_ok("{file(path:\"\",ratio:2)}", "file(path: \"\", ratio: 2.0)");
    check_ok("{container{withFile(source:12345){id}}}", "container{withFile(source: \"12345\"){id}}");
    check_ok(
        "{container{build(buildArgs:[{name:\"A\",value:\"1\"},{name:\"B\"}]){id}}}",
        "container{build(buildArgs: [{name: \"A\", value: \"1\"}, {name: \"B\", value: \"\"}]){id}}",
    );
    check_ok(
        "{container{build(ports:[{frontend:null,backend:80}]){id}}}",
        "container{build(ports: [{backend: 80, protocol: TCP}]){id}}",
    );
    check_ok("{json(value:\"[1]\")}", "json(value: \"[1]\")");
    check_ok("{json(value:{a:[1 2.5 x null]})}", "json(value: {a: [1, 2.5, x, null]})");
}

#[test]
fn variables() {
    check_with(
        "query($x:ContainerID!){container{withFile(source:$x){id}}}",
        r#"{"x":"abc"}"#,
        "container{withFile(source: \"abc\"){id}}",
    );
    check_with(
        "query($k:Kind,$n:Int!){platform(kind:$k) count(n:$n)}",
        r#"{"k":"long","n":5}"#,
        "platform(kind: LONG) count(n: 5)",
    );
    check_with("query($k:Kind=SHORT){platform(kind:$k)}", "{}", "platform(kind: SHORT)");
    check_with("query($k:Kind){platform(kind:$k)}", "{}", "platform");
    check_with("query($k:Kind=SHORT){platform(kind:$k)}", r#"{"k":null}"#, "platform(kind: null)");
    check_with(
        "query($b:[BuildArg!]){container{build(buildArgs:$b){id}}}",
        r#"{"b":[{"name":"A"}]}"#,
        "container{build(buildArgs: [{name: \"A\", value: \"\"}]){id}}",
    );
    check_with("query($s:Boolean!){container @skip(if:$s){id} files{name}}", r#"{"s":true}"#, "files{name}");
    check_error("query($n:Int!){count(n:$n)}", "Variable \"$n\" of required type \"Int!\" was not provided.");
    check_error(
        "query($n:Int){count(n:$n)}",
        "Variable \"$n\" of type \"Int\" used in position expecting type \"Int!\".",
    );
    check_error("query($n:Int=1){files{name}}", "Variable \"$n\" is never used.");
    check_error("query Q($n:Int=1){files{name}}", "Variable \"$n\" is never used in operation \"Q\".");
    check_error("{count(n:$n)}", "Variable \"$n\" is not defined.");
    check_error("query($n:Nope){count(n:$n)}", "Unknown type \"Nope\".");
    check_error("query($n:File){count(n:$n)}", "Variable \"$n\" cannot be non-input type \"File\".");
    let bad = run("query($n:Int!){count(n:$n)}", r#"{"n":"x"}"#);
    assert_eq!(
        bad,
        Err("Variable \"$n\" got an invalid value; Int cannot represent non-integer value: \"x\"".to_owned())
    );
}

#[test]
fn strings() {
    check_ok(r#"{file(path:"a\n\t\"\\\/\u0041\u{1F600}\uD83D\uDE00 é")}"#, "file(path: \"a\\n\\t\\\"\\\\/A😀😀 é\")");
    check_ok(r#"{file(path:"x\ud83dy\udc00")}"#, "file(path: \"x\u{fffd}y\u{fffd}\")");
    check_ok(
        "{file(path:\"\"\"\n    one\r\n      two \\\"\"\"\n\n  \"\"\")}",
        "file(path: \"one\\n  two \\\"\\\"\\\"\")",
    );
    check_error("{file(path:\"a\nb\")}", "Syntax Error: Unterminated string.");
    check_error(r#"{file(path:"\x")}"#, "Syntax Error: Invalid character escape sequence: \"\\x\")}\".");
}

#[test]
fn refusals() {
    check_error("{bar}", "Cannot query field \"bar\" on type \"Query\".");
    check_error("{fils}", "Cannot query field \"fils\" on type \"Query\". Did you mean \"file\" or \"files\"?");
    check_error(
        "{container(platfrm:\"x\"){id}}",
        "Unknown argument \"platfrm\" on field \"Query.container\". Did you mean \"platform\"?",
    );
    check_error(
        "{container{from{id}}}",
        "Field \"from\" argument \"address\" of type \"String!\" is required, but it was not provided (on type \"Container\").",
    );
    check_error(
        "{container{from(address:null){id}}}",
        "Field \"from\" argument \"address\" of type \"String!\" is required, but it is null (on type \"Container\").",
    );
    check_error("{container{id{x}}}", "Field \"id\" must not have a selection since type \"ID!\" has no subfields.");
    check_error(
        "{files{name name:size}}",
        "Fields \"name\" conflict because \"name\" and \"size\" are different fields. \
         Use different aliases on the fields to fetch both if this was intentional.",
    );
    check_error(
        "{x:count(n:1) x:count(n:2)}",
        "Fields \"x\" conflict because they have differing arguments. \
         Use different aliases on the fields to fetch both if this was intentional.",
    );
    check_error(
        "{node(id:1){... on File{x:size} ... on Container{x:stdout}}}",
        "Fields \"x\" conflict because they return conflicting types \"Int!\" and \"String!\". \
         Use different aliases on the fields to fetch both if this was intentional.",
    );
    check_error(
        "{node(id:1){... on Container{f:file{x:size}} ... on Syncer{... on Container{f:file{x:name}}}}}",
        "Fields \"x\" conflict because \"size\" and \"name\" are different fields. \
         Use different aliases on the fields to fetch both if this was intentional.",
    );
    check_error("{container{build(ports:[{backend:1,x:2}]){id}}}", "Field \"x\" is not defined by type \"Port\".");
    check_error(
        "{container{build(ports:{backend:1,backend:2}){id}}}",
        "There can be only one input field named \"backend\".",
    );
    check_error(
        "{container{build(ports:[{frontend:1}]){id}}}",
        "Field \"Port.backend\" of required type \"Int!\" was not provided.",
    );
    check_error(
        "{platform(kind:LONGG)}",
        "Value \"LONGG\" does not exist in \"Kind\" enum. Did you mean \"LONG\" or \"long\"?",
    );
    check_error("{file(path:foo){id}}", "String cannot represent a non string value: foo");
    check_error(
        "{count(n:9223372036854775808)}",
        "Int cannot represent non 64-bit signed integer value: 9223372036854775808",
    );
    check_error("{container{withExec(args:[\"a\" null]){id}}}", "Expected value of type \"String!\", found null.");
    check_error("{node(id:1){... on Nope{id}}}", "Unknown type \"Nope\".");
    check_error("{node(id:1){... on Kind{id}}}", "Fragment cannot condition on non composite type \"Kind\".");
    check_error(
        "{...F} fragment F on Query{...G} fragment G on Query{...F}",
        "Cannot spread fragment \"F\" within itself via \"G\".",
    );
    check_error("{...F}", "Unknown fragment \"F\".");
    check_error("{files{name}} fragment F on Query{files{name}}", "Fragment \"F\" is never used.");
    check_error("{files @nope {name}}", "Unknown directive \"@nope\".");
    check_error("{files @deprecated {name}}", "Directive \"@deprecated\" may not be used on FIELD.");
    check_error("mutation{x}", "Schema is not configured to execute mutation operation.");
    check_error(
        "query A{files{name}} query B{files{name}}",
        "Must provide operation name if query contains multiple operations.",
    );
    check_error("{files{name}} query B{files{name}}", "This anonymous operation must be the only defined operation.");
    check_error("{files{}}", "Syntax Error: Expected Name, found \"}\".");
    check_error("{files", "Syntax Error: Expected Name, found <EOF>.");
    check_error("", "Syntax Error: Unexpected <EOF>.");
    check_error("{count(n:01)}", "Syntax Error: Invalid number, expected digit but got: '1'.");
    check_error("{count(n:1 n:2)}", "There can be only one argument named \"n\".");
}

#[test]
fn places_count_characters() {
    let request = Request { query: "{\n  a: \"é\"\n}", ..Request::default() };
    let error = prepare(&toy(), &request, &Limits::default()).expect_err("no name after the colon");
    assert_eq!((error.locations[0].line, error.locations[0].column, error.kind), (2, 6, ErrorKind::Syntax));
    let request = Request { query: "{file(path:\"éé\"){nope}}", ..Request::default() };
    let error = prepare(&toy(), &request, &Limits::default()).expect_err("no such field");
    assert_eq!((error.locations[0].line, error.locations[0].column, error.kind), (1, 18, ErrorKind::Validation));
}

#[test]
fn operations_are_chosen_by_name() {
    let schema = toy();
    let query = "query A{files{name}} query B{container{id}}";
    let named = |operation_name| Request { query, operation_name, variables: None };
    let chosen = prepare(&schema, &named(Some("B")), &Limits::default()).expect("an operation");
    assert_eq!(&*chosen.selections[0].alias, "container");
    let error = prepare(&schema, &named(Some("C")), &Limits::default()).expect_err("no such operation");
    assert_eq!(error.message, "Unknown operation named \"C\".");
}

#[test]
fn depth_costs_nothing() {
    let schema = toy();
    for depth in [5_000, 20_000] {
        let mut query = String::from("{container");
        for _ in 0..depth {
            query.push_str("{... on Container{withExec(args:[\"x\"])");
        }
        query.push_str("{id}");
        query.push_str(&"}".repeat(depth * 2 + 1));
        let request = Request { query: &query, ..Request::default() };
        let operation = prepare(&schema, &request, &Limits::default()).expect("a deep document");
        assert_eq!(operation.selections.len(), depth + 2);
    }
}

#[test]
fn bombs_are_refused() {
    let schema = toy();
    let mut twice = String::from("{container{...F0}}");
    for at in 0..40 {
        twice.push_str(&format!(
            "fragment F{at} on Container{{a:withExec(args:[]){{...F{n}}} b:withExec(args:[]){{...F{n}}}}}",
            n = at + 1
        ));
    }
    twice.push_str("fragment F40 on Container{id}");
    let mut overlap = String::from("{");
    for at in 0..3_000 {
        overlap.push_str(&format!("node(id:1){{... on Container{{file{{contents(offset:{at})}}}}}}"));
    }
    overlap.push('}');
    let nested = format!("{{json(value:{})}}", "[".repeat(100_000));
    let many = format!("{{{}}}", "files{name}".repeat(600_000));
    let cases: [(&str, &str); 4] = [
        (&twice, "Document is refused: it has more than 200000 selected fields after fragments are expanded."),
        (
            &overlap,
            "Fields \"contents\" conflict because they have differing arguments. \
         Use different aliases on the fields to fetch both if this was intentional.",
        ),
        (&nested, "Document is refused: it has more than 200 nested values."),
        (&many, "Document is refused: it has more than 2000000 tokens."),
    ];
    for (query, expected) in cases {
        let request = Request { query, ..Request::default() };
        assert_eq!(prepare(&schema, &request, &Limits::default()).expect_err("a bomb").message, expected);
    }
    let request = Request { query: "{files{name}}", ..Request::default() };
    let small = Limits { bytes: 4, ..Limits::default() };
    assert_eq!(
        prepare(&schema, &request, &small).expect_err("too long").message,
        "Document is refused: it has more than 4 bytes."
    );
}

#[test]
fn selections_that_overlap_are_merged_for_an_object() {
    let query =
        "{node(id:1){... on Container{file{name}} ... on Syncer{... on Container{file{size}}} ... on Node{id} id}}";
    let operation =
        prepare(&toy(), &Request { query, ..Request::default() }, &Limits::default()).expect("an operation");
    let node = &operation.selections[operation.roots[0] as usize];
    let found = operation.applicable(&node.children, |name| matches!(&**name, "Container" | "Node" | "Syncer"));
    let names: Vec<(&str, usize)> =
        found.iter().map(|one| (&*operation.selections[one.id as usize].alias, one.children.len())).collect();
    assert_eq!(names, [("file", 2), ("id", 0)]);
}

#[test]
fn schema_text_survives_printing() {
    let schema = toy();
    let text = rondel_gql::print(&schema);
    let again = builtin::schema(&text, |_, _| FieldResolver(Arc::new(()))).expect("printed text parses");
    assert_eq!(rondel_gql::print(&again), text);
    assert!(!text.contains("deep"), "hidden arguments are not printed");
}
