//! GraphQL text: parsed, and checked against the newest schema.

use std::sync::{Arc, LazyLock};

use rondel_api::Surface;
use rondel_gql::document::Document;
use rondel_gql::{Limits, Request, Schema, prepare};

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let mut surface = Surface::new();
    rondel_api::register_core(&mut surface);
    rondel_api::registry(&surface).expect("the schema is whole").project(rondel_version::ENGINE)
});

/// Reads the input as text.
pub fn run(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let limits = Limits::default();
    let parsed = Document::parse(text, &limits).is_ok();
    let request = Request { query: text, ..Request::default() };
    let prepared = prepare(&SCHEMA, &request, &limits).is_ok();
    assert!(parsed || !prepared, "what is no document was prepared");
}
