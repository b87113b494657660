//! The configuration of an image.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::table::Table;

/// The part of an image's configuration that containers carry, in the field names of the OCI image
/// specification. Unknown fields are kept, so that fields of other builders survive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// The user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Exposed ports such as `80/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Table<serde_json::Value>>,
    /// The environment, `NAME=value` by name, in order.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::table::entries")]
    pub env: Option<Table<Arc<str>>>,
    /// The entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Table<serde_json::Value>>,
    /// Everything else.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl ImageConfig {
    /// Sets the variable `name`. An existing one keeps its position.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.get_or_insert_default().set(name, format!("{name}={value}").into());
    }
}
