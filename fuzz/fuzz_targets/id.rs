//! IDs: what can be read means the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rondel_call::{decode, encode};

fuzz_target!(|text: &str| {
    let Ok(call) = decode(text) else { return };
    let again = decode(&encode(&call)).expect("what was written can be read");
    assert_eq!(again.digest(), call.digest());
});
