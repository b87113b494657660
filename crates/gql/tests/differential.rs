//! The same verdict as an independent implementation, on documents that our leniencies do not
//! touch.

use std::sync::Arc;

use apollo_compiler::{ExecutableDocument, Schema as Reference};
use rondel_gql::types::FieldResolver;
use rondel_gql::{Limits, Request, builtin, prepare};

const DOCUMENTS: &[&str] = &[
    "{ files { name } }",
    "{ files { nope } }",
    "{ container { from(address: \"a\") { stdout } } }",
    "{ container { from { stdout } } }",
    "{ container { from(address: \"a\", x: 1) { stdout } } }",
    "{ container { from(address: \"a\", address: \"b\") { stdout } } }",
    "query A { files { name } } query A { files { name } }",
    "query A { files { name } } { files { name } }",
    "{ ...F } fragment F on Query { files { name } }",
    "{ ...F } fragment F on Query { ...F }",
    "{ ...F } fragment F on Query { ...G } fragment G on Query { files { ...H } } fragment H on File { name }",
    "{ ...F }",
    "{ files { name } } fragment F on Query { files { name } }",
    "{ ...F } fragment F on Nope { name }",
    "{ ...F } fragment F on Kind { name }",
    "{ node(id: \"x\") { id ... on Container { stdout } } }",
    "{ node(id: \"x\") { stdout } }",
    "{ node(id: \"x\") { ... on File { x: size } ... on Container { x: size } } }",
    "{ node(id: \"x\") { ... on File { x: size } ... on Container { x: stdout } } }",
    "{ node(id: \"x\") { ... on File { x: name } ... on Container { x: stdout } } }",
    "{ files { x: name x: size } }",
    "{ files { x: name x: name } }",
    "{ files { contents(offset: 1) contents(offset: 1) } }",
    "{ files { contents(offset: 1) contents(offset: 2) } }",
    "{ files { contents contents(offset: 2) } }",
    "{ container { file { x: name } } container { file { x: size } } }",
    "{ container { file { x: name } } container { file { y: size } } }",
    "query ($n: Int!) { count(n: $n) }",
    "query ($n: Int) { count(n: $n) }",
    "query ($n: Int = 1) { count(n: $n) }",
    "query ($n: String!) { count(n: $n) }",
    "query ($n: Int!) { files { name } }",
    "{ count(n: $n) }",
    "query ($n: Int!, $n: Int!) { count(n: $n) }",
    "query ($n: File) { count(n: $n) }",
    "query ($n: Nope) { count(n: $n) }",
    "query ($l: [[Int!]]) { count(n: 1, list: $l) }",
    "query ($l: [Int!]) { count(n: 1, list: $l) }",
    "query ($m: Int) { file(path: \"x\", mode: $m) { name } }",
    "{ files { name @skip(if: true) } }",
    "{ files { name @skip } }",
    "{ files { name @skip(if: true) @skip(if: false) } }",
    "{ files { name @skip(unless: true) } }",
    "query ($b: Boolean!) { files { name @include(if: $b) } }",
    "query ($b: Boolean) { files { name @include(if: $b) } }",
    "{ files { name @nope } }",
    "{ files { name @deprecated } }",
    "query @skip(if: true) { files { name } }",
    "{ platform(kind: LONG) }",
    "{ platform(kind: NOPE) }",
    "{ platform(kinds: [LONG SHORT]) }",
    "{ platform(kinds: LONG) }",
    "{ container { build(buildArgs: [{name: \"a\", value: \"b\"}]) { id } } }",
    "{ container { build(buildArgs: [{name: \"a\", value: \"b\", x: 1}]) { id } } }",
    "{ container { build(ports: [{frontend: 1}]) { id } } }",
    "{ container { build(ports: {backend: 1, protocol: UDP}) { id } } }",
    "{ container { id { x } } }",
    "{ __typename files { __typename } }",
    "{ __schema { types { name fields { name args { name } } } } __type(name: \"File\") { kind } }",
    "{ files { __schema { types { name } } } }",
    "{ __type { kind } }",
    "{ count(n: true) }",
    "{ count(n: 1.5) }",
    "{ file(path: true) { name } }",
    "mutation { x }",
    "subscription { x }",
    "{ }",
    "{ files { } }",
    "{ files { name }",
    "{ files { name } } }",
    "{ files(: 1) { name } }",
    "{ files() { name } }",
    "query ( { files { name } }",
    "query () { files { name } }",
    "{ ... { files { name } } }",
    "{ ... on Query { files { name } } }",
    "{ ... on Query @include(if: true) { files { name } } }",
    "{ ... }",
    "fragment on on Query { files { name } }",
    "{ count(n: 00) }",
    "{ count(n: 1a) }",
    "{ count(n: -) }",
    "{ file(path: \"\\u00e9\") { name } }",
    "{ file(path: \"\\q\") { name } }",
    "{ file(path: \"\"\"block\"\"\") { name } }",
    "{ file(path: \"open) { name } }",
    "{ files { name } } # comment",
    "{ files, { name, } }",
    "{ % }",
    "",
];

#[test]
fn verdicts_agree() {
    let text = include_str!("toy.graphql");
    let ours = builtin::schema(text, |_, _| FieldResolver(Arc::new(()))).expect("the toy schema");
    let reference = Reference::parse_and_validate(text, "toy.graphql").expect("a valid schema");
    let variables = serde_json::json!({"n": 1, "b": true, "l": [[1]], "m": 1});
    let mut differing = Vec::new();
    for document in DOCUMENTS {
        let expected = ExecutableDocument::parse_and_validate(&reference, *document, "document.graphql");
        let request = Request {
            query: document,
            operation_name: document.contains("query A").then_some("A"),
            variables: variables.as_object(),
        };
        let found = prepare(&ours, &request, &Limits::default());
        let bad_value = |message: &str| message.contains("got an invalid value");
        if expected.is_ok() != found.is_ok() && !found.as_ref().is_err_and(|error| bad_value(&error.message)) {
            let why = expected.err().map(|error| error.to_string());
            differing.push(format!(
                "{document}\n  ours: {:?}\n  reference: {why:?}",
                found.err().map(|error| error.message)
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
