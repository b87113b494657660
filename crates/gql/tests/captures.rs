//! What official clients were seen to send must parse: one request per distinct shape, long strings
//! shortened.

use rondel_gql::Limits;
use rondel_gql::document::Document;

#[test]
fn every_captured_query_parses() {
    let mut count = 0;
    for line in include_str!("data/captures.txt").lines() {
        let body: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        let query = body["query"].as_str().expect("a query");
        if let Err(error) = Document::parse(query, &Limits::default()) {
            panic!("{error} at {:?} in {query}", error.locations);
        }
        count += 1;
    }
    assert!(count > 100, "only {count} shapes");
}
