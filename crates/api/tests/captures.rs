//! What the official clients send parses and validates against the view it was made for.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use rondel_api::Surface;
use rondel_gql::{Limits, Request};
use serde_json::Value;

/// One recorded request per line: `{case, view, query, variables?, operationName?}`. IDs are those of the recording server.
const CAPTURES: &str = include_str!("data/captures.jsonl");

/// Requests that a server must refuse, or that need types which only a module provides.
const REFUSED: &[(&str, &str)] = &[
    ("MyModule", "types of the recorded module itself"),
    ("myModule", "the constructor of the recorded module"),
    ("{dep{", "the constructor of a dependency"),
    ("dep: dep", "the constructor of a dependency"),
    ("depMod", "the constructor of a dependency"),
];

#[test]
fn every_recorded_request_validates_under_its_view() {
    let mut surface = Surface::new();
    rondel_api::register_core(&mut surface);
    let registry = rondel_api::registry(&surface).unwrap();
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut checked = 0;
    for line in CAPTURES.lines() {
        let capture: Value = serde_json::from_str(line).unwrap();
        let query = capture["query"].as_str().unwrap();
        if REFUSED.iter().any(|(part, _)| query.contains(part)) {
            continue;
        }
        let schema = registry.project(capture["view"].as_str().unwrap().parse().unwrap());
        let variables = capture["variables"].as_object();
        let request = Request { query, operation_name: capture["operationName"].as_str(), variables };
        checked += 1;
        if let Err(e) = rondel_gql::prepare(&schema, &request, &Limits::default()) {
            wrong.entry(e.message).or_default().push(capture["case"].as_str().unwrap().to_owned());
        }
    }
    assert!(wrong.is_empty(), "of {checked} requests these are refused:\n{wrong:#?}");
    assert!(checked > 400, "{checked}");
}
