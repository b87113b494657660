//! Files of variables: written again they say the same.

use std::collections::BTreeMap;

use rondel_api::dotenv::Dotenv;

/// Reads the input as text.
pub fn run(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let Ok(file) = Dotenv::parse(text) else { return };
    let outside = BTreeMap::from([("A".to_owned(), "outside".to_owned())]);
    let _ = file.all(&outside);
    let _ = file.refers_to();
    let _ = file.namespace("A", &outside);
    let again = Dotenv::parse(&file.text()).expect("what was written can be read");
    assert_eq!(again.all_raw(), file.all_raw());
}
