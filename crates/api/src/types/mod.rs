//! The types of the core API, one file or directory each.

pub mod address;
pub mod cache_volume;
pub mod changeset;
pub mod container;
pub mod directory;
pub mod engine;
pub mod env_file;
pub mod error;
pub mod file;
pub mod git;
pub mod host;
pub mod http;
pub mod json_value;
pub mod plain_objects;
pub mod query;
pub mod search;
pub mod secret;
pub mod service;
pub mod socket;
pub mod terminal;
pub mod tunnel;
