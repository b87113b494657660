//! Calls of functions: values to JSON and back, arguments, the process that answers.

pub mod api_error;
pub mod codec;
pub mod context_args;
pub mod field_resolvers;
pub mod function_call;
pub mod run;
