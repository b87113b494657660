//! Schemas of clients, with the modules that they are served.

pub mod client_schema;
