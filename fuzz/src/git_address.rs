//! Addresses of git repositories.

use rondel_model::git_address::{Address, is_git, scheme};
use rondel_surface::git::latest;

/// Reads the input as text.
pub fn run(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let address = Address::parse(text);
    assert!(!address.url.contains('#'));
    let _ = is_git(text);
    if scheme(&address.url).is_ok() {
        assert!(!address.url.starts_with('-'), "it would be an option of `git`");
        assert!(!address.url.contains(char::is_control));
    }
    let _ = latest(text.lines());
}
