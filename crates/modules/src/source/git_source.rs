//! Modules in git repositories: resolves a reference to a commit and a folder.

use std::sync::Arc;

use rondel_fault::{Fault, Kind, Result, nearest};
use rondel_model::git::{GitRemote, GitSource, GitTree};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, EgressScope, Fs, FsOp, Snapshot};
use rondel_module_model::config::module_config::{ConfigFormat, DAGGER_JSON};
use rondel_module_model::source::git_origin::{GitOrigin, ReferenceParts};
use rondel_ports::git::{Reference, References, is_commit};
use rondel_session::{Caller, client};
use rondel_surface::git;

use crate::source::resolve_options::ResolveOptions;
use crate::source::vanity;

/// The ref of `version` of the module in the folder `root`. A tag of the folder takes precedence.
fn pick(references: &References, root: &str, version: Option<&str>) -> Option<Reference> {
    let Some(version) = version else { return references.head.clone() };
    let number = version.strip_prefix('v').unwrap_or(version);
    let tagged = number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.');
    let mut names = Vec::new();
    if tagged && !root.is_empty() {
        names.push(format!("refs/tags/{root}/{version}"));
    }
    if tagged {
        names.push(format!("refs/tags/{version}"));
    }
    names.iter().find_map(|name| references.find(name)).or_else(|| references.find(version))
}

/// The repository at an address, and the refs that its server lists.
async fn asked(caller: &Arc<Caller>, url: &str, egress: EgressScope) -> Result<(GitRemote, References)> {
    let remote = git::remote(caller, GitRemote::at(url, egress)).await?;
    let known = git::known(caller, &remote).await?;
    let remote = GitRemote { access: known.access.clone(), ..remote };
    Ok((remote, known.references.clone()))
}

/// Resolves `reference` to a commit, and finds the folder of the module in it.
///
/// # Errors
/// When there is no such repository, version or module, or the server refuses.
pub(crate) async fn locate(
    caller: &Arc<Caller>,
    reference: &str,
    options: ResolveOptions<'_>,
) -> Result<(GitOrigin, String)> {
    let doing = || format!("find the module `{reference}`");
    let parts = ReferenceParts::of(reference);
    let me = client(caller);
    let egress = options.egress.unwrap_or(me.op_cx.egress);
    let (found, root) = repository(caller, &parts, egress).await.map_err(|e| e.context(doing()))?;
    let (remote, references) = found;
    let named = pick(&references.1, &root, parts.version);
    let pinned = match options.pin {
        "" => None,
        pin if is_commit(pin) => Some(pin.to_owned()),
        pin => references.1.find(pin).map(|found| found.commit),
    };
    let missing = || {
        let version = parts.version.unwrap_or("HEAD");
        let fault = Fault::not_found(format!("the repository `{}` has no version `{version}`", references.0));
        let names = references.1.all.iter().filter_map(|reference| {
            let name = reference.name.strip_prefix("refs/tags/").or_else(|| reference.name.strip_prefix("refs/heads/"));
            name.filter(|name| !name.is_empty())
        });
        let fault = match nearest(version, names) {
            Some(near) => fault.with_hint(format!("did you mean `{near}`?")),
            None => fault,
        };
        fault.context(doing())
    };
    let commit = pinned.or_else(|| named.as_ref().map(|named| named.commit.clone())).ok_or_else(missing)?;
    let name = named.map_or_else(|| commit.clone(), |named| named.name);
    let shown = name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned();
    let version = parts.version.map_or(shown, ToOwned::to_owned);
    let whole = files(caller, &remote, &commit).await.map_err(|e| e.context(doing()))?;
    let seal = match egress {
        EgressScope::Anywhere => rondel_surface::egress_seal::seal(me, &remote.url),
        EgressScope::Outside => "".into(),
    };
    let url = remote.url.to_string();
    let origin = GitOrigin { url, clone_ref: references.0, version, name, commit, whole, seal };
    let root = module_folder(caller, &origin, &root, options).await.map_err(|e| e.context(doing()))?;
    Ok((origin, root))
}

async fn repository(
    caller: &Arc<Caller>,
    parts: &ReferenceParts<'_>,
    egress: EgressScope,
) -> Result<((GitRemote, (String, References)), String)> {
    let mut first = None;
    for (clone_ref, root) in parts.candidates() {
        match asked(caller, &clone_ref, egress).await {
            Ok((remote, references)) => return Ok(((remote, (clone_ref, references)), root)),
            Err(fault) if matches!(fault.kind(), Kind::User | Kind::Denied) => _ = first.get_or_insert(fault),
            Err(fault) => return Err(fault),
        }
    }
    if let Some(host) = parts.vanity_host()
        && let Some(found) = vanity::repository(caller, host, &parts.path, egress).await?
    {
        let (remote, references) = asked(caller, &found.url, egress).await?;
        let (clone_ref, root) = parts.split(found.parts);
        return Ok(((remote, (clone_ref, references)), root));
    }
    Err(first.unwrap_or_else(|| Fault::user("it names no repository")))
}

async fn files(caller: &Arc<Caller>, remote: &GitRemote, commit: &str) -> Result<Snapshot> {
    let me = client(caller);
    let tree = GitTree {
        source: GitSource::Remote(remote.clone().into()),
        commit: commit.into(),
        name: "".into(),
        depth: 1,
        tags: false,
        discard_git_dir: true,
    };
    me.services.ops.tree(&me.op_cx, &Fs::new(FsOp::Git(Box::new(tree)))).await
}

/// The folder of the configuration: `root` or the nearest folder above.
async fn module_folder(
    caller: &Arc<Caller>,
    origin: &GitOrigin,
    root: &str,
    options: ResolveOptions<'_>,
) -> Result<String> {
    let me = client(caller);
    let fs = Fs::known(origin.whole.clone());
    let is_there = async |path: AbsPath| {
        let place = TreePath { fs: fs.clone(), path };
        me.services.ops.stat(&me.op_cx, &place, true).await.map(|found| found.is_some())
    };
    let start = AbsPath::new(root);
    if !is_there(start.clone()).await? {
        return Err(Fault::user(format!("the repository `{}` has no folder `{root}`", origin.clone_ref)));
    }
    let mut at = Some(start.clone());
    while let Some(folder) = at {
        for format in ConfigFormat::ALL {
            if is_there(folder.join(format.file_name())).await? {
                return Ok(folder.relative().to_owned());
            }
        }
        at = folder.parent().filter(|_| !options.exact);
    }
    if options.allow_missing {
        return Ok(start.relative().to_owned());
    }
    let folder = if root.is_empty() { "." } else { root };
    Err(Fault::user(format!("no `{DAGGER_JSON}` in `{folder}` of `{}` or above it", origin.clone_ref)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_folders_come_first() {
        let one = |name: &str, n: u8| Reference { name: name.into(), commit: format!("{n:040x}") };
        let all = vec![one("refs/heads/main", 1), one("refs/tags/sub/v1.0.0", 2), one("refs/tags/v1.0.0", 3)];
        let references = References { head: Some(all[0].clone()), all, ..References::default() };
        let check = |root: &str, version: Option<&str>, want: Option<&str>| {
            assert_eq!(pick(&references, root, version).map(|found| found.name).as_deref(), want, "{root} {version:?}");
        };
        check("sub", Some("v1.0.0"), Some("refs/tags/sub/v1.0.0"));
        check("other", Some("v1.0.0"), Some("refs/tags/v1.0.0"));
        check("sub", Some("main"), Some("refs/heads/main"));
        check("", None, Some("refs/heads/main"));
        check("", Some("sub/v1.0.0"), Some("refs/tags/sub/v1.0.0"));
        check("", Some("v2.0.0"), None);
    }
}
