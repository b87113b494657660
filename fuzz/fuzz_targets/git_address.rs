//! Addresses of git repositories.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rondel_api::git::{Address, is_git, latest, scheme};

fuzz_target!(|text: &str| {
    let address = Address::parse(text);
    assert!(!address.url.contains('#'));
    let _ = is_git(text);
    if scheme(&address.url).is_ok() {
        assert!(!address.url.starts_with('-'), "it would be an option of `git`");
        assert!(!address.url.contains(char::is_control));
    }
    let _ = latest(text.lines());
});
