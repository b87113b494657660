//! Schemas of clients with the modules that they see.

pub mod client_schema;
