//! `GitRepository` and `GitRef`: repositories on servers and in directories, and their refs.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, EGRESS_SEAL, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::git::{GitAccess, GitRef, GitRemote, GitRepository, GitSource, GitTree};
use rondel_model::git_address;
use rondel_model::{Changeset, Directory, EgressScope, Fs, FsOp, Platform, SecretRef, Snapshot, SocketRef, Value};
use rondel_ports::git::{Reference, is_commit};
use rondel_query::{Node, Outcome};
use rondel_session::client::ops_and_context;
use rondel_session::{Args, ResolverContext, client};
use rondel_surface::snapshot_object::imported_directory;
use rondel_surface::{Surface, egress_seal, git};
use rondel_version::View;

use crate::inputs;
use crate::types::http::{found_service, with_service};
use crate::types::{changeset, directory};

/// Views from this one on tell branches, tags and commits apart.
const STRICT: View = View::new(0, 19, 0);
const REPOSITORY: &str = "GitRepository";
const REF: &str = "GitRef";

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "git", repository);
    surface.field("Query", "_gitRef", known);
    surface.prepare("Query", "git", |cx, args| {
        Box::pin(async move { Ok(egress_seal::with_seal(&cx, with_service(&cx, args)?, "url")) })
    });
    surface.field("Query", "_gitRepository", at_commit);
    surface.field("Directory", "asGit", as_git);
    surface.field(REPOSITORY, "head", |cx, node, _| async move { found(&cx, &node, "HEAD").await });
    surface.field(REPOSITORY, "ref", |cx, node, args| async move { found(&cx, &node, &args.str("name")?).await });
    surface.field(REPOSITORY, "branch", |cx, node, args| async move {
        let name = below(&cx, "refs/heads/", &args.str("name")?);
        found(&cx, &node, &name).await
    });
    surface.field(REPOSITORY, "tag", |cx, node, args| async move {
        let name = below(&cx, "refs/tags/", &args.str("name")?);
        found(&cx, &node, &name).await
    });
    surface.field(REPOSITORY, "commit", commit);
    surface.field(REPOSITORY, "latestVersion", latest_version);
    surface.field(REPOSITORY, "tags", |cx, node, args| async move { names(&cx, &node, &args, "refs/tags/").await });
    surface.field(
        REPOSITORY,
        "branches",
        |cx, node, args| async move { names(&cx, &node, &args, "refs/heads/").await },
    );
    surface.field(REPOSITORY, "withAuthToken", |_, node, args| async move {
        let secret = args.object("token").await?.get::<SecretRef>()?.clone();
        with_access(&node, |access| access.token = Some(secret))
    });
    surface.field(REPOSITORY, "withAuthHeader", |_, node, args| async move {
        let secret = args.object("header").await?.get::<SecretRef>()?.clone();
        with_access(&node, |access| access.header = Some(secret))
    });
    surface.plain(REPOSITORY, "url", |it: &GitRepository, _| {
        Ok(Value::string(match &it.source {
            GitSource::Remote(remote) => remote.url.clone(),
            GitSource::Local(_) => "".into(),
        }))
    });
    surface.field(REPOSITORY, "uncommitted", uncommitted);
    surface.plain(REF, "commit", |it: &GitRef, _| Ok(Value::string(it.commit.clone())));
    surface.plain(REF, "ref", |it: &GitRef, _| Ok(Value::string(it.name.clone())));
    surface.depends_on_client("Query", &["git", "_gitRepository"]).depends_on_client(
        REPOSITORY,
        &["head", "ref", "branch", "tag", "commit", "latestVersion", "tags", "branches"],
    );
    surface.field(REF, "tree", tree);
    surface.field(REF, "commonAncestor", common_ancestor);
}

async fn repository(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let agent = match args.opt_object("sshAuthSocket").await? {
        Some(node) => Some(node.get::<SocketRef>()?.clone()),
        None => None,
    };
    let secret = async |name: &str| match args.opt_object(name).await? {
        Some(node) => node.get::<SecretRef>().cloned().map(Some),
        None => Ok(None),
    };
    let access = GitAccess {
        username: args.opt_str("httpAuthUsername")?.unwrap_or_default(),
        token: secret("httpAuthToken").await?,
        header: secret("httpAuthHeader").await?,
        known_hosts: args.opt_str("sshKnownHosts")?.unwrap_or_default(),
        agent,
    };
    let url = args.str("url")?;
    let given = inputs::service(&args, "experimentalServiceHost").await?;
    let service = match given {
        None => found_service(&cx, &args, &url)?,
        given => given,
    };
    let egress = egress_seal::of(&args, &url);
    let remote = git::remote(&cx.caller, GitRemote { url, access, service, egress }).await?;
    let source = GitSource::Remote(remote.into());
    let repository = GitRepository { source, discard_git_dir: !args.bool("keepGitDir")?, head: None };
    Ok(Value::object(REPOSITORY, repository).into())
}

async fn as_git(_: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let source = GitSource::Local(directory::of(&node)?.place.clone());
    Ok(Value::object(REPOSITORY, GitRepository { source, discard_git_dir: false, head: None }).into())
}

fn with_access(node: &Node, change: impl FnOnce(&mut GitAccess)) -> Result<Outcome> {
    let mut repository = node.get::<GitRepository>()?.clone();
    if let GitSource::Remote(remote) = &mut repository.source {
        change(&mut remote.access);
    }
    Ok(Value::object(REPOSITORY, repository).into())
}

/// The full name of a branch or tag, in views that tell them apart.
fn below(cx: &ResolverContext, folder: &str, name: &str) -> String {
    match cx.view >= STRICT {
        true => format!("{folder}{}", name.strip_prefix(folder).unwrap_or(name)),
        false => name.to_owned(),
    }
}

async fn commit(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let id = args.str("id")?;
    if cx.view >= STRICT && !is_commit(&id) {
        // Users match on this text; see behaviour GIT-004.
        return Err(Fault::user(format!("invalid commit SHA: \"{id}\"")).with_hint("use `ref` for other names"));
    }
    found(&cx, &node, &id).await
}

async fn found(cx: &ResolverContext, node: &Node, name: &str) -> Result<Outcome> {
    ref_outcome(cx, git::find(&cx.caller, node.get()?, name).await?)
}

/// A ref as an object of the API. The call of a public ref holds the commit. A private ref, or one
/// of a service, stays the call of the client, so that the client that loads it needs access too.
fn ref_outcome(cx: &ResolverContext, found: GitRef) -> Result<Outcome> {
    let rebind = match &found.repository.source {
        GitSource::Remote(remote) if remote.is_public() => {
            let mut spec = CallSpec::new(REF, "_gitRef")
                .arg("url", inputs::string(&remote.url))
                .arg("name", inputs::string(&found.name))
                .arg("commit", inputs::string(&found.commit));
            if found.repository.discard_git_dir {
                spec = spec.arg("discardGitDir", Literal::Bool(true));
            }
            if remote.egress == EgressScope::Anywhere {
                let seal = egress_seal::seal(client(&cx.caller), &remote.url);
                spec = spec.arg(EGRESS_SEAL, Literal::String(seal));
            }
            Some(Call::new(None, spec))
        }
        _ => None,
    };
    Ok(Outcome { value: Value::object(REF, found), rebind })
}

/// A ref from an ID.
async fn known(_: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let (url, name, commit) = (args.str("url")?, args.str("name")?, args.str("commit")?);
    git_address::scheme(&url)?;
    if !is_commit(&commit) || !(name.starts_with("refs/") || name == commit) {
        return Err(Fault::user("the ID of a git ref is damaged"));
    }
    let egress = egress_seal::of(&args, &url);
    let source = GitSource::Remote(GitRemote::at(url, egress).into());
    let repository = GitRepository { source, discard_git_dir: args.bool("discardGitDir")?, head: None };
    Ok(Value::object(REF, GitRef { repository, name, commit }).into())
}

/// A repository with a given `HEAD`: that of a module, at the commit of the module.
async fn at_commit(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let url = args.str("url")?;
    let egress = egress_seal::of(&args, &url);
    let remote = git::remote(&cx.caller, GitRemote::at(url, egress)).await?;
    let head = Some((args.str("name")?, args.str("commit")?));
    let repository = GitRepository { source: GitSource::Remote(remote.into()), discard_git_dir: false, head };
    Ok(Value::object(REPOSITORY, repository).into())
}

async fn latest_version(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (_, references) = git::refs_of(&cx.caller, node.get()?).await?;
    let tags = references.all.iter().filter_map(|known| known.name.strip_prefix("refs/tags/"));
    let tag = git::latest(tags).ok_or_else(|| Fault::user("no valid semver tags found"))?;
    found(&cx, &node, &format!("refs/tags/{tag}")).await
}

/// The names below `folder` that match a pattern, or all.
async fn names(cx: &ResolverContext, node: &Node, args: &Args, folder: &str) -> Result<Outcome> {
    let patterns = args.strings("patterns")?;
    let (_, references) = git::refs_of(&cx.caller, node.get()?).await?;
    let wanted = |known: &&Reference| patterns.is_empty() || patterns.iter().any(|p| matches(p, &known.name));
    let names = references.all.iter().filter(wanted).filter_map(|known| known.name.strip_prefix(folder));
    Ok(Value::strings(names.map(ToOwned::to_owned)).into())
}

/// Whether `pattern` matches `name` or its last parts, as in `git ls-remote`.
fn matches(pattern: &str, name: &str) -> bool {
    let starts = std::iter::once(0).chain(name.match_indices('/').map(|(at, _)| at + 1));
    starts.into_iter().any(|start| wild(pattern.as_bytes(), &name.as_bytes()[start..]))
}

/// Glob match: `*` matches any text, slashes included, `?` one character, `[…]` one of a set.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    // Where to continue after a mismatch: after the last star, one character further.
    let (mut at, mut from, mut again) = (0, 0, None);
    while from < text.len() || at < pattern.len() {
        let step = match (pattern.get(at), text.get(from)) {
            (Some(b'*'), _) => {
                again = Some((at, from + 1));
                Some((at + 1, from))
            }
            (Some(b'?'), Some(_)) => Some((at + 1, from + 1)),
            (Some(b'['), Some(c)) => set(&pattern[at..], *c).map(|length| (at + length, from + 1)),
            (Some(p), Some(c)) if p == c => Some((at + 1, from + 1)),
            _ => None,
        };
        match (step, again) {
            (Some(next), _) => (at, from) = next,
            (None, Some((star, next))) if next <= text.len() => (at, from) = (star, next),
            _ => return false,
        }
    }
    true
}

/// The length of the set at the start of `pattern`, or `None` if `c` is not in it.
fn set(pattern: &[u8], c: u8) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
    let (inverted, members) = match &pattern[1..end] {
        [b'!' | b'^', members @ ..] => (true, members),
        members => (false, members),
    };
    let (mut inside, mut at) = (false, 0);
    while at < members.len() {
        if let [low, b'-', high, ..] = members[at..] {
            inside |= (low..=high).contains(&c);
            at += 3;
        } else {
            inside |= members[at] == c;
            at += 1;
        }
    }
    (inside != inverted).then_some(end + 1)
}

/// The uncommitted changes. Empty unless the repository is a directory with a work tree.
async fn uncommitted(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let (ops, op_cx) = ops_and_context(&cx);
    let found = match &node.get::<GitRepository>()?.source {
        GitSource::Local(place) => ops.git_uncommitted(&op_cx, place).await?,
        GitSource::Remote(_) => None,
    };
    let (before, after) = found.map_or((Snapshot::empty(), Snapshot::empty()), |it| (it.before, it.after));
    let [before, after] = [before, after].map(|files| Directory::root(Fs::known(files), Platform::native()));
    Ok(changeset::value(Changeset { before, after }).into())
}

async fn tree(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    for gone in ["sshKnownHosts", "sshAuthSocket"] {
        if args.given(gone) {
            return Err(Fault::user(format!("`{gone}` is no longer supported on `tree`")).with_hint("pass it to `git`"));
        }
    }
    let GitRef { repository, name, commit } = node.get::<GitRef>()?.clone();
    let depth = u32::try_from(args.opt_int("depth")?.unwrap_or(1)).unwrap_or(0);
    let private = matches!(&repository.source, GitSource::Remote(remote) if !remote.is_public());
    let tree = GitTree {
        source: repository.source,
        commit,
        name,
        depth,
        tags: args.bool("includeTags")?,
        discard_git_dir: repository.discard_git_dir || args.bool("discardGitDir")?,
    };
    let fs = Fs::new(FsOp::Git(Box::new(tree)));
    if private {
        // IDENTITY: content of a private repository, or from a service, is identified by the
        // content alone.
        let (ops, op_cx) = ops_and_context(&cx);
        return Ok(imported_directory(ops.tree(&op_cx, &fs).await?));
    }
    Ok(directory::value(Directory::root(fs, Platform::native())).into())
}

async fn common_ancestor(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let other = args.object("other").await?;
    let (one, other) = (node.get::<GitRef>()?, other.get::<GitRef>()?);
    let (ops, op_cx) = ops_and_context(&cx);
    let sources = ((&one.repository.source, &*one.commit), (&other.repository.source, &*other.commit));
    let found = ops.git_common_ancestor(&op_cx, sources.0, sources.1).await?;
    let commit: Arc<str> = match found {
        Some(commit) => commit.into(),
        None => {
            let (one, other) = (&one.commit, &other.commit);
            return Err(Fault::user(format!("no common ancestor found for `{one}` and `{other}`")));
        }
    };
    ref_outcome(&cx, GitRef { repository: one.repository.clone(), name: commit.clone(), commit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_the_last_parts_of_names() {
        let check =
            |pattern: &str, name: &str, want: bool| assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        check("v*", "refs/tags/v1.0", true);
        check("v*", "refs/tags/sdk/go/v1.0", true);
        check("v1", "refs/tags/v10", false);
        check("refs/tags/v*", "refs/tags/v1", true);
        check("refs/tags/v*", "refs/tags/sdk/v1", false);
        check("sdk/go/v*", "refs/tags/sdk/go/v2", true);
        check("sdk/*", "refs/tags/sdk/go/v2", true);
        check("v[0-9].?", "refs/tags/v1.2", true);
        check("v[!0-9]*", "refs/tags/v1.2", false);
        check("*", "refs/heads/main", true);
        check("a*b*c", "refs/heads/axxbyyc", true);
        check("", "refs/heads/main", false);
    }
}
