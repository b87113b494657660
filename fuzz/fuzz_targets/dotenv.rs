//! Files of variables: written again they say the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use rondel_api::dotenv::Dotenv;

fuzz_target!(|text: &str| {
    let Ok(file) = Dotenv::parse(text) else { return };
    let outside = BTreeMap::from([("A".to_owned(), "outside".to_owned())]);
    let _ = file.all(&outside);
    let _ = file.refers_to();
    let _ = file.namespace("A", &outside);
    let again = Dotenv::parse(&file.text()).expect("what was written can be read");
    assert_eq!(again.all_raw(), file.all_raw());
});
