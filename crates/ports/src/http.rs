//! Downloads of files by URL.

use std::path::Path;
use std::time::SystemTime;

use rondel_digest::Sha256Digest;
use rondel_events::Emitter;
use rondel_fault::Result;
use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::egress::EgressScope;
use crate::network::Dial;
use crate::secrets::Plaintext;

/// HTTP cache validators of a file, sent back when the file is requested again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header, verbatim.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Returns whether there is no validator.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// A file to fetch.
pub struct Request<'a> {
    /// Its address.
    pub url: &'a str,
    /// The value of the `Authorization` header. Sent to the host of the URL only, not to hosts of
    /// redirects.
    pub authorization: Option<&'a Plaintext>,
    /// `ETag` and `Last-Modified` of the cached copy. Empty if there is none.
    pub known: &'a Validators,
    /// Connects to the host, if it is a service of the session. `None` resolves the name.
    pub dial: Option<Dial>,
    /// Which hosts the request and its redirects may reach, if names are resolved.
    pub egress: EgressScope,
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cached copy is current.
    Unchanged,
    /// The file was downloaded.
    Fetched(Fetched),
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The validators of the response.
    pub validators: Validators,
    /// The digest of its content.
    pub digest: Sha256Digest,
    /// Modification time, if the server told it.
    pub modified: Option<SystemTime>,
}

/// Downloads files.
pub trait Http: Send + Sync {
    /// Downloads the file of `request` to `into`, or finds that the cached copy is current. A
    /// bounded number of redirects is followed. A request is repeated only if its connection was
    /// reset.
    ///
    /// # Errors
    /// When the URL is no HTTP URL, the host cannot be reached, the response is no success
    /// (`Denied` if it asks for authorization), the body ends too early, or the disk is full. The
    /// content of `into` is then undefined.
    fn fetch<'a>(
        &'a self,
        request: Request<'a>,
        into: &'a Path,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<Answer>>;
}
