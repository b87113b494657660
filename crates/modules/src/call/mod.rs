//! Calls of functions: values to JSON and back, arguments, the process that answers.

pub mod codec;
pub mod context_args;
pub mod function_call;
