//! One.
fn main() {}
