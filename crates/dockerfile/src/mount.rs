//! Options of `RUN --mount`.

use rondel_model::exec::Sharing;

use crate::error::{Error, Spot};

/// One `--mount`, variables not expanded.
#[derive(Debug, Clone)]
pub(crate) struct MountSpec {
    pub(crate) kind: MountKind,
    pub(crate) target: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) env: Option<String>,
    pub(crate) read_only: Option<bool>,
    pub(crate) required: bool,
    pub(crate) sharing: Sharing,
    pub(crate) size: Option<u64>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind,
    Cache,
    Temp,
    Secret,
    Ssh,
}

impl MountSpec {
    /// `uid:gid`, when one of both was said.
    pub(crate) fn owner(&self) -> Option<String> {
        match (self.uid, self.gid) {
            (None, None) => None,
            (uid, gid) => Some(format!("{}:{}", uid.unwrap_or_default(), gid.unwrap_or_default())),
        }
    }
}

/// Reads `type=cache,target=/x,…`.
pub(crate) fn read(text: &str, spot: &Spot) -> Result<MountSpec, Error> {
    let mut spec = MountSpec {
        kind: MountKind::Bind,
        target: None,
        source: None,
        from: None,
        id: None,
        env: None,
        read_only: None,
        required: false,
        sharing: Sharing::Shared,
        size: None,
        mode: None,
        uid: None,
        gid: None,
    };
    let mut kind = None;
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let key = key.trim().to_ascii_lowercase();
        let invalid = || spot.error(format!("`{}` is no value for `{key}` of a mount", value.unwrap_or_default()));
        let truth = || match value.map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(invalid()),
        };
        let text = || value.filter(|value| !value.is_empty()).map(ToOwned::to_owned).ok_or_else(invalid);
        let number = || value.and_then(|value| value.parse().ok()).ok_or_else(invalid);
        match &*key {
            "type" => kind = Some(kind_of(&text()?).ok_or_else(invalid)?),
            "target" | "dst" | "destination" => spec.target = Some(text()?),
            "source" | "src" => spec.source = Some(text()?),
            "from" => spec.from = Some(text()?),
            "id" => spec.id = Some(text()?),
            "env" => spec.env = Some(text()?),
            "ro" | "readonly" => spec.read_only = Some(truth()?),
            "rw" | "readwrite" => spec.read_only = Some(!truth()?),
            "required" => spec.required = truth()?,
            "sharing" => spec.sharing = sharing(&text()?).ok_or_else(invalid)?,
            "size" => spec.size = Some(value.and_then(size).ok_or_else(invalid)?),
            "mode" => spec.mode = Some(value.and_then(|v| u32::from_str_radix(v, 8).ok()).ok_or_else(invalid)?),
            "uid" => spec.uid = Some(number()?),
            "gid" => spec.gid = Some(number()?),
            _ => return Err(spot.error(format!("a mount has no option `{key}`"))),
        }
    }
    spec.kind = kind.unwrap_or(MountKind::Bind);
    let needs_target = matches!(spec.kind, MountKind::Bind | MountKind::Cache | MountKind::Temp);
    if needs_target && spec.target.is_none() {
        return Err(spot.error("a mount of this type needs a `target`"));
    }
    Ok(spec)
}

fn kind_of(text: &str) -> Option<MountKind> {
    match text {
        "bind" => Some(MountKind::Bind),
        "cache" => Some(MountKind::Cache),
        "tmpfs" => Some(MountKind::Temp),
        "secret" => Some(MountKind::Secret),
        "ssh" => Some(MountKind::Ssh),
        _ => None,
    }
}

fn sharing(text: &str) -> Option<Sharing> {
    match text {
        "shared" => Some(Sharing::Shared),
        "private" => Some(Sharing::Private),
        "locked" => Some(Sharing::Locked),
        _ => None,
    }
}

/// A size in bytes, with a unit or without.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let shift = match lower[digits..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    lower[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Source;

    #[test]
    fn mounts() {
        let spot = Source::new("Dockerfile").at(2, "RUN");
        let spec = read("type=cache,target=/c,id=x,sharing=locked,uid=7,mode=0700,ro", &spot).expect("is read");
        assert_eq!(
            (spec.kind, spec.sharing, spec.mode, spec.read_only),
            (MountKind::Cache, Sharing::Locked, Some(0o700), Some(true))
        );
        assert_eq!(spec.owner().as_deref(), Some("7:0"));
        assert_eq!(read("type=tmpfs,target=/t,size=64m", &spot).expect("is read").size, Some(64 << 20));
        assert_eq!(read("target=/t,rw", &spot).expect("is read").read_only, Some(false));
        assert!(read("type=secret,id=x,required", &spot).expect("is read").required);
        for bad in
            ["type=x,target=/t", "type=bind", "type=cache,target=/c,odd=1", "type=tmpfs,target=/t,size=x", "required=x"]
        {
            assert!(read(bad, &spot).is_err(), "{bad}");
        }
    }
}
