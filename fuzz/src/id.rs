//! IDs: what can be read means the same when it is written and read again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rondel_call::{SealKey, decode, encode};

/// Reads the input as what is inside of an ID, and as an ID.
pub fn run(input: &[u8]) {
    read(&format!("R{}", URL_SAFE_NO_PAD.encode(input)));
    read(&String::from_utf8_lossy(input));
}

fn read(text: &str) {
    let key = SealKey::derived(&[7; 32]);
    let Ok(call) = decode(text, &key) else { return };
    let again = decode(&encode(&call, &key), &key).expect("what was written can be read");
    assert_eq!(again.digest(), call.digest());
}
