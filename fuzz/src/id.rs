//! IDs: what can be read means the same when it is written and read again.

use rondel_call::{SealKey, decode, encode, seal};

/// Reads the input as a recipe that the engine sealed, and as an ID.
pub fn run(input: &[u8]) {
    let key = SealKey::derived(&[7; 32]);
    for text in [seal(input, &key), String::from_utf8_lossy(input).into_owned()] {
        let Ok(call) = decode(&text, &key) else { continue };
        let again = decode(&encode(&call, &key), &key).expect("what was written can be read");
        assert_eq!(again.digest(), call.digest());
    }
}
