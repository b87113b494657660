//! SDKs and entrypoints: the providers of a module's runtime.

pub mod entrypoint;
pub mod runtime;
pub mod sdk_module;
