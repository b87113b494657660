//! No text makes the parser or the validator panic.

use std::sync::Arc;

use proptest::prelude::*;
use rondel_gql::types::FieldResolver;
use rondel_gql::{Limits, Request, Schema, builtin, prepare, sdl};

fn toy() -> Schema {
    builtin::schema(include_str!("toy.graphql"), |_, _| FieldResolver(Arc::new(()))).expect("the toy schema")
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "$",
    "!",
    "=",
    "@",
    "...",
    "on",
    "query",
    "fragment",
    "F",
    "id",
    "node",
    "container",
    "Container",
    "Node",
    "Syncer",
    "file",
    "name",
    "from",
    "address",
    "withExec",
    "args",
    "\"x\"",
    "\"\"\"b\\\"\"\"\"\"\"",
    "1",
    "-2.5e3",
    "null",
    "true",
    "skip",
    "include",
    "if",
    "__typename",
    "__schema",
    "types",
    "x",
    " ",
    "\n",
    "#c\n",
    "\u{feff}",
    "\"\\uD83D\"",
    "\"\\u{110000}\"",
    "é",
    "\\",
    "\"",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        let schema = toy();
        let _ = prepare(&schema, &Request { query: &text, ..Request::default() }, &Limits::default());
        let _ = sdl::parse(&text);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let text = pieces.join(" ");
        let schema = toy();
        let _ = prepare(&schema, &Request { query: &text, ..Request::default() }, &Limits::default());
        let dense = pieces.concat();
        let _ = prepare(&schema, &Request { query: &dense, ..Request::default() }, &Limits::default());
        let _ = sdl::parse(&dense);
    }
}
