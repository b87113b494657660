//! Image references.

use std::fmt;
use std::str::FromStr;

use rondel_digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// A reference to an image, fully qualified: `docker.io/library/alpine:3.20@sha256:…`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ImageRef {
    /// The registry, such as `docker.io` or `localhost:5000`.
    pub registry: String,
    /// The repository, such as `library/alpine`.
    pub repository: String,
    /// The tag. `latest` if neither tag nor digest was given.
    pub tag: Option<String>,
    /// The digest, when the reference is pinned.
    pub digest: Option<Sha256Digest>,
}

/// The text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference `{text}`: {reason}")]
pub struct InvalidReference {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl FromStr for ImageRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let fail = |reason| InvalidReference { text: text.to_owned(), reason };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest =
                    digest.parse().map_err(|_| fail("the digest is not of the form sha256:<64 hexadecimal digits>"))?;
                (rest, Some(digest))
            }
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|t| !is_tag(t)) {
            return Err(fail("the tag has characters that a tag cannot have"));
        }
        let (registry, repository) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => ("docker.io", rest.to_owned()),
            None => ("docker.io", format!("library/{rest}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let repository = match (registry, repository.contains('/')) {
            ("docker.io", false) => format!("library/{repository}"),
            _ => repository,
        };
        if !repository.split('/').all(is_component) {
            return Err(fail("a repository has lower-case letters, digits and single separators between slashes"));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().enumerate().all(|(i, b)| word(b) || (i > 0 && (b == b'.' || b == b'-')))
}

fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&a), Some(&b)) if word(a) && word(b))
        && bytes.iter().all(|&b| word(b) || matches!(b, b'.' | b'_' | b'-'))
}

impl ImageRef {
    /// The same reference, pinned to `digest`.
    #[must_use]
    pub fn pinned(&self, digest: Sha256Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl ImageRef {
    /// The reference as people write it: without the default registry, and without the digest if
    /// there is a tag.
    pub fn familiar(&self) -> String {
        let digest = self.digest.filter(|_| self.tag.is_none());
        let full = Self { digest, ..self.clone() }.to_string();
        let short = full.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
        short.map(ToOwned::to_owned).unwrap_or(full)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_qualified() {
        let check =
            |text: &str, want: &str| assert_eq!(text.parse::<ImageRef>().map(|r| r.to_string()), Ok(want.into()));
        check("alpine", "docker.io/library/alpine:latest");
        check("alpine:3.20", "docker.io/library/alpine:3.20");
        check("a/b", "docker.io/a/b:latest");
        check("localhost:5000/x:y", "localhost:5000/x:y");
        check("localhost/x", "localhost/x:latest");
        check("docker.io/alpine", "docker.io/library/alpine:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("r.example/x@{digest}"), &format!("r.example/x@{digest}"));
        let familiar = |text: &str, want: &str| {
            assert_eq!(text.parse::<ImageRef>().map(|r| r.familiar()), Ok(want.into()));
        };
        familiar("alpine:3.20", "alpine:3.20");
        familiar("a/b", "a/b:latest");
        familiar(&format!("docker.io/library/alpine:3@{digest}"), "alpine:3");
        familiar(&format!("r.example/library/x@{digest}"), &format!("r.example/library/x@{digest}"));
        for bad in ["", "UPPER/x", "a//b", "x:", "x@sha256:12", "a b", "r.example/"] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
