//! SDKs and entrypoints: what makes the runtime of a module or serves its functions.

pub mod entrypoint;
pub mod runtime;
pub mod sdk_module;
