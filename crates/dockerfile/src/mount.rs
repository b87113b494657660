//! Options of `RUN --mount`.

use rondel_model::exec::Sharing;

use crate::error::{Error, Location};

/// One `--mount`, variables expanded.
#[derive(Debug, Clone)]
pub(crate) struct MountSpec {
    pub(crate) kind: MountKind,
    pub(crate) target: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) id: Option<String>,
    /// The variable of a secret. Empty is the name of the secret.
    pub(crate) env: Option<String>,
    pub(crate) read_only: Option<bool>,
    pub(crate) required: bool,
    pub(crate) sharing: Sharing,
    pub(crate) size: Option<u64>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// The kind of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind,
    Cache,
    Temp,
    Secret,
    Ssh,
}

impl MountSpec {
    /// `uid:gid`, when one of both was given.
    pub(crate) fn owner(&self) -> Option<String> {
        match (self.uid, self.gid) {
            (None, None) => None,
            (uid, gid) => Some(format!("{}:{}", uid.unwrap_or_default(), gid.unwrap_or_default())),
        }
    }
}

/// The options of one `--mount` as they were written. Only `from` is known before variables are.
#[derive(Debug, Clone)]
pub(crate) struct MountOptions {
    fields: Vec<(String, Option<String>)>,
    /// The stage or image. Stages are put in order by it, so it takes no variables.
    pub(crate) from: Option<String>,
}

impl MountOptions {
    /// Splits `type=cache,target=/x,…`. A field in quotes may hold a comma.
    pub(crate) fn split(text: &str, location: &Location) -> Result<Self, Error> {
        let field = |field: String| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
            None => (field.trim().to_ascii_lowercase(), None),
        };
        let fields: Vec<_> = csv_fields(text).into_iter().map(field).collect();
        let last = fields.iter().rfind(|(key, _)| key == "from").map(|(_, value)| value.clone().unwrap_or_default());
        if last.as_deref() == Some("") {
            return Err(location.error("`` is no value for `from` of a mount"));
        }
        Ok(Self { fields, from: last })
    }

    /// The mount, with `expand` applied to every value but that of `from`. An option that becomes
    /// empty by it is as if it were not there, where that makes sense.
    pub(crate) fn resolve(
        &self,
        location: &Location,
        expand: impl Fn(&str) -> Result<String, Error>,
    ) -> Result<MountSpec, Error> {
        let mut spec = MountSpec::bind(self.from.clone());
        for (key, written) in self.fields.iter().filter(|(key, _)| key != "from") {
            let value = written.as_deref().map(&expand).transpose()?;
            spec.set(key, value.as_deref(), location)?;
        }
        let needs_target = matches!(spec.kind, MountKind::Bind | MountKind::Cache | MountKind::Temp);
        if needs_target && spec.target.is_none() {
            return Err(location.error("a mount of this type needs a `target`"));
        }
        Ok(spec)
    }
}

impl MountSpec {
    /// A bind mount that nothing is known of but where it comes from.
    fn bind(from: Option<String>) -> Self {
        Self {
            kind: MountKind::Bind,
            target: None,
            source: None,
            from,
            id: None,
            env: None,
            read_only: None,
            required: false,
            sharing: Sharing::Shared,
            size: None,
            mode: None,
            uid: None,
            gid: None,
        }
    }

    fn set(&mut self, key: &str, value: Option<&str>, location: &Location) -> Result<(), Error> {
        let invalid = || location.error(format!("`{}` is no value for `{key}` of a mount", value.unwrap_or_default()));
        let truth = || match value.map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "t" | "1") => Ok(true),
            Some("false" | "f" | "0") => Ok(false),
            Some(_) => Err(invalid()),
        };
        let given = || value.ok_or_else(invalid);
        let text = || given().map(|value| Some(value.to_owned()).filter(|value| !value.is_empty()));
        let number = || value.and_then(|value| value.parse().ok()).ok_or_else(invalid);
        match key {
            "type" => self.kind = kind_of(given()?).ok_or_else(invalid)?,
            "target" | "dst" | "destination" => self.target = text()?,
            "source" | "src" => self.source = text()?,
            "id" => self.id = text()?,
            "env" => self.env = Some(given()?.to_owned()),
            "ro" | "readonly" => self.read_only = Some(truth()?),
            "rw" | "readwrite" => self.read_only = Some(!truth()?),
            "required" => self.required = truth()?,
            "sharing" => self.sharing = sharing(given()?).ok_or_else(invalid)?,
            "size" => self.size = Some(value.and_then(size).ok_or_else(invalid)?),
            "mode" => self.mode = Some(value.and_then(|v| u32::from_str_radix(v, 8).ok()).ok_or_else(invalid)?),
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            _ => return Err(location.error(format!("a mount has no option `{key}`"))),
        }
        Ok(())
    }
}

/// The fields of one line of CSV.
fn csv_fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}

fn kind_of(text: &str) -> Option<MountKind> {
    match &*text.to_ascii_lowercase() {
        "bind" => Some(MountKind::Bind),
        "cache" => Some(MountKind::Cache),
        "tmpfs" => Some(MountKind::Temp),
        "secret" => Some(MountKind::Secret),
        "ssh" => Some(MountKind::Ssh),
        _ => None,
    }
}

fn sharing(text: &str) -> Option<Sharing> {
    match &*text.to_ascii_lowercase() {
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
    use crate::words::Expander;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<MountSpec, Error> {
        let location = Source::new("Dockerfile").at(2, "RUN");
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let expander = Expander { escape: '\\', lookup: &lookup };
        MountOptions::split(text, &location)?
            .resolve(&location, |text| expander.word(text).map_err(|message| location.error(message)))
    }

    #[test]
    fn mounts() {
        let spec = read("type=cache,target=/c,id=x,sharing=locked,uid=7,mode=0700,ro", &[]).expect("is read");
        assert_eq!(
            (spec.kind, spec.sharing, spec.mode, spec.read_only),
            (MountKind::Cache, Sharing::Locked, Some(0o700), Some(true))
        );
        assert_eq!(spec.owner().as_deref(), Some("7:0"));
        assert_eq!(read("type=tmpfs,target=/t,size=64m", &[]).expect("is read").size, Some(64 << 20));
        assert_eq!(read("target=/t,rw", &[]).expect("is read").read_only, Some(false));
        assert!(read("type=secret,id=x,required", &[]).expect("is read").required);
        assert_eq!(read("\"target=/a,b\",ro", &[]).expect("is read").target.as_deref(), Some("/a,b"));
        for bad in [
            "type=x,target=/t",
            "type=bind",
            "type=cache,target=/c,odd=1",
            "type=tmpfs,target=/t,size=x",
            "required=x",
            "target=/t,from=",
            "target=/t,uid=$MISSING",
            "target",
        ] {
            assert!(read(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_stand_in_every_option_but_from() {
        let variables = [
            ("T", "cache"),
            ("S", "locked"),
            ("U", "7"),
            ("M", "0711"),
            ("B", "true"),
            ("P", "/p"),
            ("N", "1"),
            ("E", ""),
        ];
        let all = "type=$T,sharing=${S},uid=$U,gid=${G:-33},mode=$M,readonly=$B,id=i$P,source=$P,target=/t$P,from=b";
        let spec = read(all, &variables).expect("is read");
        assert_eq!((spec.kind, spec.sharing), (MountKind::Cache, Sharing::Locked));
        assert_eq!((spec.owner().as_deref(), spec.mode), (Some("7:33"), Some(0o711)));
        assert_eq!((spec.read_only, spec.id.as_deref()), (Some(true), Some("i/p")));
        assert_eq!((spec.source.as_deref(), spec.target.as_deref()), (Some("/p"), Some("/t/p")));
        assert_eq!(spec.from.as_deref(), Some("b"));
        let spec = read("type=tmpfs,target=/t,size=${N}m", &variables).expect("is read");
        assert_eq!(spec.size, Some(1 << 20));
        let spec = read("type=secret,id=x,env=V$U,required=$B,target=$E", &variables).expect("is read");
        assert_eq!((spec.env.as_deref(), spec.required, spec.target), (Some("V7"), true, None));
        let spec = read("target=/t,from=$P", &variables).expect("is read");
        assert_eq!(spec.from.as_deref(), Some("$P"));
    }
}
