//! Files by address.

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

/// What a server said with a file, and is told when it is asked for the file again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The tag of this form of the file.
    pub etag: Option<String>,
    /// When it was modified, in the server's words.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// A file to fetch.
pub struct Request<'a> {
    /// Its address.
    pub url: &'a str,
    /// What authorizes whoever asks, word for word. It is told to the host of the address, and to no other.
    pub authorization: Option<&'a Plaintext>,
    /// What was said with the form of it that is here already; empty when there is none.
    pub known: &'a Validators,
    /// How its host is reached, when it is none that names are found for.
    pub dial: Option<Dial>,
    /// How far the request and its redirects may lead, when names are found.
    pub egress: EgressScope,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is what is here already.
    Unchanged,
    /// It was written.
    Fetched(Fetched),
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What was said with it.
    pub validators: Validators,
    /// The digest of its content.
    pub digest: Sha256Digest,
    /// When it was modified, when that was said.
    pub modified: Option<SystemTime>,
}

/// Fetches files.
pub trait Http: Send + Sync {
    /// Writes the file at the address of `request` to `into`, or finds that it is what is known. Redirects are followed,
    /// a bounded number of times. A request is made again only when its connection was reset.
    ///
    /// # Errors
    /// No address of the web, a host that cannot be reached, an answer that is no success (`Denied` when it asks for
    /// authorization), a body that ends too early, a full disk. What `into` holds then is of no use.
    fn fetch<'a>(
        &'a self,
        request: Request<'a>,
        into: &'a Path,
        progress: &'a Emitter,
    ) -> BoxFuture<'a, Result<Answer>>;
}
