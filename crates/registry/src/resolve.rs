//! From a reference and a platform to one image, through the sources in their order.

use oci_spec::image::{Descriptor, ImageIndex};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Code, Fault, Kind, Result};
use rondel_model::Platform;
use rondel_model::image::ImageRef;
use rondel_ports::images::{Credentials, ResolvedImage};

use crate::config::MirrorLocation;
use crate::layout::Layout;
use crate::manifest::{self, ConfigFacts, MAX_CONFIG, MAX_MANIFEST, ManifestOrIndex};
use crate::platforms;
use crate::registry::Registry;
use crate::remote::{Endpoint, Remote, TagDigest};

/// Nested or nameless manifests that are looked into before giving up.
const MAX_OPENED_MANIFESTS: usize = 64;

/// A source that may have the image.
pub(crate) struct Source {
    /// As shown to users.
    pub(crate) origin: String,
    pub(crate) place: SourceLocation,
}

/// The location of a source.
pub(crate) enum SourceLocation {
    /// A layout folder. A tag alone may name the image there.
    Layout(std::path::PathBuf, bool),
    /// A registry, with the credentials that the caller gave for it.
    Registry(Endpoint, Option<Credentials>),
}

/// A source that was opened.
pub(crate) enum OpenSource<'a> {
    Layout(Layout, bool),
    Remote(Box<Remote<'a>>),
}

/// What a reference resolves to.
struct ResolvedRoot {
    digest: Option<Sha256Digest>,
    document: ManifestOrIndex,
}

impl Registry {
    /// The places to look at for `reference`, in order.
    pub(crate) fn sources(&self, reference: &ImageRef, credentials: Option<Credentials>) -> Result<Vec<Source>> {
        let mut all = Vec::new();
        for mirror in self.config.mirrors.iter().filter(|m| m.serves(reference)) {
            match &mirror.location {
                MirrorLocation::Layout(path) => all.push(Source {
                    origin: format!("mirror {}", path.display()),
                    place: SourceLocation::Layout(path.clone(), mirror.serves_only(reference)),
                }),
                MirrorLocation::Url(_) if self.config.offline => {}
                MirrorLocation::Url(url) => {
                    let endpoint = Endpoint::mirror(url, reference)?;
                    all.push(Source {
                        origin: format!("mirror {url}"),
                        place: SourceLocation::Registry(endpoint, None),
                    });
                }
            }
        }
        if !self.config.offline {
            all.push(Source {
                origin: format!("registry {}", reference.registry),
                place: SourceLocation::Registry(Endpoint::of(reference), credentials),
            });
        }
        Ok(all)
    }

    /// Opens a source.
    pub(crate) async fn open(&self, place: SourceLocation, reference: &ImageRef) -> Result<OpenSource<'_>> {
        match place {
            SourceLocation::Layout(path, tag_alone) => {
                blocking(move || Layout::open(path)).await.map(|l| OpenSource::Layout(l, tag_alone))
            }
            SourceLocation::Registry(endpoint, given) => {
                self.remote(endpoint, reference, given).await.map(|remote| OpenSource::Remote(Box::new(remote)))
            }
        }
    }

    pub(crate) async fn resolve_image(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        exact: bool,
        credentials: Option<Credentials>,
    ) -> Result<ResolvedImage> {
        let mut failures: Vec<(String, Option<Fault>)> = Vec::new();
        for Source { origin, place } in self.sources(reference, credentials)? {
            let found = match self.open(place, reference).await {
                Ok(source) => source.image(reference, platform, exact, &origin).await,
                Err(fault) => Err(fault),
            };
            match found {
                Ok(Some(image)) => return Ok(image),
                Ok(None) => failures.push((origin, None)),
                Err(fault) => {
                    tracing::debug!(%fault, origin, "the image was not taken from here");
                    failures.push((origin, Some(fault)));
                }
            }
        }
        Err(self.not_found(reference, failures))
    }

    /// The digest that the first source which has `reference` gives for it.
    pub(crate) async fn head_digest_of(
        &self,
        reference: &ImageRef,
        credentials: Option<Credentials>,
    ) -> Option<Sha256Digest> {
        for Source { place, .. } in self.sources(reference, credentials).ok()? {
            let source = self.open(place, reference).await.ok()?;
            match source.tag_digest(reference).await.ok()? {
                TagDigest::Known(digest) => return Some(digest),
                TagDigest::Missing => {}
                TagDigest::Unknown => return None,
            }
        }
        None
    }

    /// One error for the failures of all sources: the last one counts, unless it is that the
    /// network is down and another source had more to say.
    fn not_found(&self, reference: &ImageRef, mut failures: Vec<(String, Option<Fault>)>) -> Fault {
        let decided = |fault: &Option<Fault>| fault.as_ref().is_some_and(|f| f.kind() != Kind::Environment);
        let last = failures.len().checked_sub(1);
        let chosen = match last {
            Some(last) if failures[last].1.as_ref().is_some_and(|f| f.kind() == Kind::Environment) => {
                failures.iter().position(|(_, f)| decided(f)).unwrap_or(last)
            }
            Some(last) if failures[last].1.is_none() => failures.iter().position(|(_, f)| f.is_some()).unwrap_or(last),
            last => last.unwrap_or_default(),
        };
        let main = if failures.is_empty() { None } else { failures.remove(chosen).1.map(Ok).or(Some(Err(()))) };
        let offline = "no registry was asked, because the configuration says `offline`: pull the image into a mirror \
                       (`[[mirrors]]`), or remove `offline`";
        let mirror = "without the network, name a mirror that has the image: `[[mirrors]]` in the configuration";
        let fault = match main {
            Some(Ok(fault)) => fault.context(format!("cannot find the image `{reference}`")),
            _ => Fault::not_found(format!("there is no image `{reference}`")),
        };
        let fault = match (self.config.offline, fault.kind()) {
            // A source has the image, and it is not a valid one.
            (true, Kind::User) if fault.code() != Code::NotFound => fault,
            (true, _) => fault.with_hint(offline),
            (false, Kind::Environment) => fault.with_hint(mirror),
            _ => fault,
        };
        failures.into_iter().fold(fault, |fault, (origin, other)| {
            let why = other.map_or_else(|| "it has no such image".to_owned(), |f| f.full_message());
            fault.with_hint(format!("not taken from {origin}: {why}"))
        })
    }
}

impl OpenSource<'_> {
    async fn image(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        exact: bool,
        origin: &str,
    ) -> Result<Option<ResolvedImage>> {
        let what = format!("`{reference}`");
        let Some(root) = self.root(reference, &what).await? else {
            return Ok(None);
        };
        let (digest, manifest, named) = match root.document {
            ManifestOrIndex::Manifest(manifest) => {
                let digest = root.digest.ok_or_else(|| Fault::bug("a manifest has no digest"))?;
                (digest, manifest, None)
            }
            ManifestOrIndex::Index(index) => {
                let candidates = self.candidates(&index, &what).await?;
                let (digest, named) = platforms::choose(&candidates, platform, exact, &what)?.clone();
                let bytes = self.need(digest, MAX_MANIFEST, true).await?;
                let ManifestOrIndex::Manifest(manifest) = ManifestOrIndex::parse(&bytes, None, &what)? else {
                    return Err(Fault::user(format!("{what} has an index where a manifest should be")));
                };
                (digest, manifest, named)
            }
        };
        let config_digest = manifest::digest_of(manifest.config())?;
        let bytes = self.need(config_digest, MAX_CONFIG, false).await?;
        let facts = ConfigFacts::parse(&bytes, &what)?;
        let found = told(facts.platform(), named);
        if exact && !platforms::fits(&found, platform) {
            return Err(platforms::missing(std::iter::once(&found), platform, &what));
        }
        let layers = manifest::layers(&manifest, &facts, &what)?;
        Ok(Some(ResolvedImage {
            reference: reference.pinned(root.digest.unwrap_or(digest)),
            origin: origin.to_owned(),
            manifest: digest,
            config: verbatim(bytes, &what)?,
            platform: found,
            layers,
        }))
    }

    async fn tag_digest(&self, reference: &ImageRef) -> Result<TagDigest> {
        match self {
            Self::Remote(remote) => remote.tag_digest(&name_of(reference)).await,
            Self::Layout(layout, tag_alone) => {
                let (layout, wanted, tag_alone) = (layout.clone(), reference.clone(), *tag_alone);
                blocking(move || match layout.find(&wanted, tag_alone)?.as_slice() {
                    [] => Ok(TagDigest::Missing),
                    [one] => manifest::digest_of(one).map(TagDigest::Known),
                    _ => Ok(TagDigest::Unknown),
                })
                .await
            }
        }
    }

    async fn root(&self, reference: &ImageRef, what: &str) -> Result<Option<ResolvedRoot>> {
        match self {
            Self::Remote(remote) => {
                let Some(served) = remote.document(&name_of(reference), reference.digest).await? else {
                    return Ok(None);
                };
                let document = ManifestOrIndex::parse(&served.bytes, served.media_type.as_deref(), what)?;
                Ok(Some(ResolvedRoot { digest: Some(served.digest), document }))
            }
            Self::Layout(layout, tag_alone) => {
                let (layout, wanted, tag_alone, what) =
                    (layout.clone(), reference.clone(), *tag_alone, what.to_owned());
                blocking(move || root_in_layout(&layout, &wanted, tag_alone, &what)).await
            }
        }
    }

    /// The images of an index, with what their descriptors say. Nested indexes are opened, and what
    /// names no platform is looked into.
    async fn candidates(
        &self,
        index: &ImageIndex,
        what: &str,
    ) -> Result<Vec<(Platform, (Sha256Digest, Option<Platform>))>> {
        let mut found = Vec::new();
        let mut looks = 0;
        let mut waiting: Vec<Descriptor> = index.manifests().iter().rev().cloned().collect();
        while let Some(descriptor) = waiting.pop() {
            let media_type = descriptor.media_type().as_ref();
            let (nested, manifest) = (manifest::is_index(media_type), manifest::is_manifest(media_type));
            if !nested && !manifest {
                continue;
            }
            let digest = manifest::digest_of(&descriptor)?;
            match platforms::of(&descriptor) {
                Some(None) => continue,
                Some(Some(platform)) if !nested => {
                    found.push((platform.clone(), (digest, Some(platform))));
                    continue;
                }
                _ => {}
            }
            looks += 1;
            if looks > MAX_OPENED_MANIFESTS {
                return Err(Fault::user(format!("{what} is an index of too many indexes")));
            }
            match ManifestOrIndex::parse(&self.need(digest, MAX_MANIFEST, true).await?, Some(media_type), what)? {
                ManifestOrIndex::Index(inner) => waiting.extend(inner.manifests().iter().rev().cloned()),
                ManifestOrIndex::Manifest(manifest) => {
                    let config = self.need(manifest::digest_of(manifest.config())?, MAX_CONFIG, false).await?;
                    if let Ok(facts) = ConfigFacts::parse(&config, what) {
                        found.push((facts.platform(), (digest, None)));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The bytes of something that a document refers to.
    async fn need(&self, digest: Sha256Digest, limit: u64, manifest: bool) -> Result<Vec<u8>> {
        let found = match self {
            Self::Remote(remote) if manifest => {
                remote.document(&digest.to_string(), Some(digest)).await?.map(|served| served.bytes)
            }
            Self::Remote(remote) => remote.blob(digest, limit).await?,
            Self::Layout(layout, _) => {
                let layout = layout.clone();
                blocking(move || layout.read(digest, limit)).await?
            }
        };
        found.ok_or_else(|| Fault::user(format!("the image is incomplete: `{digest}` is missing")))
    }
}

/// What a registry is asked for: a digest or a tag.
fn name_of(reference: &ImageRef) -> String {
    let name = reference.digest.map(|d| d.to_string()).or_else(|| reference.tag.clone());
    name.unwrap_or_else(|| "latest".to_owned())
}

fn root_in_layout(layout: &Layout, reference: &ImageRef, tag_alone: bool, what: &str) -> Result<Option<ResolvedRoot>> {
    let found = layout.find(reference, tag_alone)?;
    let [one] = found.as_slice() else {
        if found.is_empty() {
            return Ok(None);
        }
        let index = manifest::write_index(found, rondel_ports::images::MediaTypes::Oci)?;
        return Ok(Some(ResolvedRoot { digest: None, document: ManifestOrIndex::parse(&index.bytes, None, what)? }));
    };
    let digest = manifest::digest_of(one)?;
    let missing = || Fault::user(format!("`{}` names {what}, but lacks `{digest}`", layout.path().display()));
    let bytes = layout.read(digest, MAX_MANIFEST)?.ok_or_else(missing)?;
    let document = ManifestOrIndex::parse(&bytes, Some(one.media_type().as_ref()), what)?;
    Ok(Some(ResolvedRoot { digest: Some(digest), document }))
}

/// The platform of the configuration, with the variant of the index where the configuration has
/// none.
fn told(platform: Platform, named: Option<Platform>) -> Platform {
    match named {
        Some(named) if named.os == platform.os && named.architecture == platform.architecture => named,
        _ => platform,
    }
}

/// The configuration as it is.
pub(crate) fn verbatim(bytes: Vec<u8>, what: &str) -> Result<Box<serde_json::value::RawValue>> {
    let text = String::from_utf8(bytes)
        .map_err(|e| Fault::user(format!("the configuration of {what} is no text")).caused_by(e))?;
    serde_json::value::RawValue::from_string(text)
        .map_err(|e| Fault::user(format!("the configuration of {what} is no JSON")).caused_by(e))
}

/// Runs something that blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.attempt(|| "finish work on the disk".into())?
}
