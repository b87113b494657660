//! Shared by the crates that define fields of the API: registration of fields, addresses of git
//! repositories, egress seals, and values that fields of several crates take.
//!
//! *Invariants.* No field of the API is registered here. The schema text is not known here.

pub mod api_error;
pub mod egress_seal;
pub mod git;
pub mod host_socket;
pub mod snapshot_object;
pub mod surface;

pub use surface::{Surface, legacy_load};
