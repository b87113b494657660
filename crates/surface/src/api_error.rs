//! The data of the API's `Error`.

/// An error that a module function returns.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The message.
    pub message: String,
    /// Further values for the caller: names and JSON values, in order.
    pub values: Vec<(String, serde_json::Value)>,
}
