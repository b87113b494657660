//! Names of the type system.

use std::sync::Arc;

/// A name of the type system. Shared, because the same few names occur everywhere.
pub type Name = Arc<str>;
