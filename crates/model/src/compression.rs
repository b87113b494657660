//! Compression of image layers, with every name that it has.
//!
//! A further compression is a new variant of [`Compression`]. The build then breaks at each place
//! that has to know it: the names below, and where the store and the registry pack and unpack.

/// How the bytes of a layer are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The names of one compression.
struct Names {
    /// In keys of this engine.
    key: &'static str,
    /// What follows `tar` and its separator in media types.
    suffix: &'static str,
    /// The media type of the OCI image specification.
    oci_media_type: &'static str,
    /// The member of the API's enum `ImageLayerCompression`.
    api: &'static str,
    /// The bytes that compressed data starts with. `None`: data of any other start counts as not
    /// compressed.
    magic: Option<&'static [u8]>,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; Self::Zstd.index() + 1] = [Self::None, Self::Gzip, Self::Zstd];

    /// The position in [`Compression::ALL`], which has to grow with this.
    const fn index(self) -> usize {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Zstd => 2,
        }
    }

    const fn names(self) -> Names {
        match self {
            Self::None => Names {
                key: "none",
                suffix: "",
                oci_media_type: "application/vnd.oci.image.layer.v1.tar",
                api: "Uncompressed",
                magic: None,
            },
            Self::Gzip => Names {
                key: "gzip",
                suffix: "gzip",
                oci_media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
                api: "Gzip",
                magic: Some(&[0x1f, 0x8b]),
            },
            Self::Zstd => Names {
                key: "zstd",
                suffix: "zstd",
                oci_media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
                api: "Zstd",
                magic: Some(&[0x28, 0xb5, 0x2f, 0xfd]),
            },
        }
    }

    /// The name in keys.
    // IDENTITY: part of keys of archives; it must not change.
    pub fn key_name(self) -> &'static str {
        self.names().key
    }

    /// What follows `tar` and its separator in media types: `gzip`, `zstd` or nothing.
    // IDENTITY: part of keys of packed layers; it must not change.
    pub fn suffix(self) -> &'static str {
        self.names().suffix
    }

    /// The compression with this suffix.
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.suffix() == suffix)
    }

    /// The media type of a layer (OCI image specification, `layer.md`).
    pub fn oci_media_type(self) -> &'static str {
        self.names().oci_media_type
    }

    /// The compression of a layer of this media type. An unknown ending counts as not compressed.
    pub fn of_media_type(media_type: &str) -> Self {
        let suffix = media_type.rsplit(['+', '.']).next().unwrap_or_default();
        Self::of_suffix(suffix).unwrap_or(Self::None)
    }

    /// The compression of data that starts with `start`.
    pub fn detect(start: &[u8]) -> Self {
        let starts = |known: &Self| known.names().magic.is_some_and(|magic| start.starts_with(magic));
        Self::ALL.into_iter().find(starts).unwrap_or(Self::None)
    }

    /// The compression that a member of the API's enum names: `Gzip`, or `GZIP` since v0.18.11.
    pub fn of_api_name(name: &str) -> Option<Self> {
        let is_named = |known: &Self| name == known.names().api || name == known.names().api.to_ascii_uppercase();
        Self::ALL.into_iter().find(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_compression() {
        for (at, compression) in Compression::ALL.into_iter().enumerate() {
            assert_eq!(compression.index(), at);
            let names = compression.names();
            assert_eq!(Compression::of_suffix(names.suffix), Some(compression));
            assert_eq!(Compression::of_media_type(names.oci_media_type), compression);
            assert_eq!(Compression::of_api_name(names.api), Some(compression));
            assert_eq!(Compression::of_api_name(&names.api.to_ascii_uppercase()), Some(compression));
            assert_eq!(Compression::detect(names.magic.unwrap_or(b"plain")), compression);
        }
        assert_eq!(Compression::of_api_name("EStarGZ"), None);
        assert_eq!(Compression::of_media_type("application/vnd.docker.image.rootfs.diff.tar.gzip"), Compression::Gzip);
        assert_eq!(Compression::detect(b""), Compression::None);
    }
}
