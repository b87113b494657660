//! Errors of unpacking.

use std::io;

use rondel_fault::{Fault, Kind};

/// The error for an archive that cannot be decoded.
pub(super) fn damaged(error: io::Error) -> Fault {
    Fault::environment("the archive is damaged").caused_by(error)
}

/// The error for a failed write. The disk is to blame, unless the archive asks for an impossible
/// name or value.
pub(super) fn disk(attempted: &str, error: io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => Kind::User,
        _ => Kind::Environment,
    };
    Fault::new(kind, format!("cannot {attempted}")).caused_by(error)
}
