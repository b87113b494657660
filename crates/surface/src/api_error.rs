//! The data of the API's `Error`.

/// An error that a module function returns.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// What went wrong.
    pub message: String,
    /// What else the caller should know: name and JSON value, in order.
    pub values: Vec<(String, serde_json::Value)>,
}
