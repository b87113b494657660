//! Two.
pub fn x() {}
