//! Copies files that patterns pick into a tree, by the rules of `COPY` and `ADD` of Dockerfiles.
//! The picked files are hashed first, so the cache key depends only on them and not on the rest of
//! the source.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::op::{CopyPattern, Filter, ISOLATED, TreePath};
use rondel_model::pattern::{Descend, Glob, Matcher};
use rondel_model::{AbsPath, Snapshot};
use rondel_ports::snapshots::Label;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::copy::{Copier, Destination};
use crate::filter::{glob, has_wildcards};
use crate::hardlink_copy::LinkOrigin;
use crate::owner::{self, Ids};
use crate::root::{
    Root, check_names, failed, find_dir, inner, kind, names, open_dir, open_dir_at, open_parent, stat_at,
};
use crate::tree_hash::TreeHasher;
use crate::work_layer::{NewLayer, with_hardlinks};
use crate::{Ops, dedup_layers, key, unpack};

/// The pivot point of `COPY --parents`: directories before it are not created in the target.
const PIVOT: &str = "/./";

/// A file or directory that was picked.
#[derive(Clone)]
struct PickedPath {
    /// Its path without symlinks, relative to the source.
    at: PathBuf,
    /// The requested path after the pivot.
    asked: PathBuf,
    /// Where `asked` starts in the source.
    pivot: PathBuf,
    stat: Stat,
    /// The paths of a directory that pass. `None` is all.
    chosen: Option<HashSet<PathBuf>>,
}

/// The compiled ignore and exclude patterns of a copy.
struct PickRules {
    ignore: Matcher,
    exclude: Matcher,
    /// There are no patterns, so everything passes.
    open: bool,
}

impl Ops {
    /// Evaluates a copy by pattern.
    pub(crate) async fn copy_pattern(
        self: &std::sync::Arc<Self>,
        op: &CopyPattern,
        base: Snapshot,
        source: Snapshot,
    ) -> Result<Snapshot> {
        let whole = key::copy_pattern(op, &base, Ok(&source));
        if let Some(snapshot) = self.stored::<Snapshot>(&whole, &self.stats.files_cached, |s| vec![s]) {
            return Ok(snapshot);
        }
        let (picking, tree) = (op.clone(), source.clone());
        let picked = self.blocking(move |ops| identity(ops, &picking, &tree)).await?;
        let (op, below) = (op.clone(), base.clone());
        let snapshot = self
            .files(key::copy_pattern(&op, &base, Err(picked)), move |store| {
                let tree = dedup_layers::view(store, &source)?;
                let (dir, path) = find_dir(Root(tree.root.as_fd()), &op.source.path)?;
                let from = Root(dir.as_fd());
                let items = pick(&op, from)?;
                let layer = NewLayer { base: &below, label: Label::default(), times: true };
                with_hardlinks(store, &layer, &source, |root, link_source| {
                    // Two picked paths may have one name, and the overlay would look it up again
                    // after the link.
                    let link_source = link_source.filter(|_| items.len() == 1);
                    apply(&op, from, items.clone(), root, link_source.map(|link_source| (link_source, &*path)))
                })
            })
            .await?;
        self.store(&whole, &snapshot)?;
        Ok(snapshot)
    }
}

/// Makes a tree with only the content at `place`.
pub(crate) fn isolate(
    store: &dyn rondel_ports::snapshots::Snapshots,
    source: &Snapshot,
    place: &TreePath,
) -> Result<Snapshot> {
    let tree = dedup_layers::view(store, source)?;
    let root = Root(tree.root.as_fd());
    let fail = |e| failed(e, "read", place.path.as_str());
    let found = root.find(inner(&place.path), true).map_err(fail)?;
    let stat = found.stat.ok_or_else(|| not_found(place.path.as_str()))?;
    let path = AbsPath::new(ISOLATED);
    let is_dir = kind(&stat) == FileType::Directory;
    let origin = if is_dir { &*found.path } else { found.path.parent().unwrap_or(Path::new("")) };
    let layer = NewLayer { base: &Snapshot::empty(), label: Label::default(), times: place.fs.sets_times() };
    with_hardlinks(store, &layer, source, |target, link_source| {
        let origin = link_source.map(|link_source| (link_source, origin));
        let destination = Destination { target, path: &path, is_dir: false, origin };
        if is_dir {
            let from = root.open_dir(&found.path).map_err(fail)?;
            return destination.directory(&mut Copier::new(), from.as_fd(), &stat);
        }
        let (holder, name) = open_parent(root, &found.path).map_err(fail)?;
        destination.file(&Copier::new(), holder.as_fd(), name, OsString::new(), &stat)
    })
}

/// The digest of everything that is picked.
fn identity(ops: &Ops, op: &CopyPattern, source: &Snapshot) -> Result<Digest> {
    let tree = dedup_layers::view(&*ops.ports.snapshots, source)?;
    let dir = open_dir(Root(tree.root.as_fd()), &op.source.path)?;
    let root = Root(dir.as_fd());
    let mut digests = Vec::new();
    for item in pick(op, root)? {
        let fail = |e| failed(e, "read", &item.at);
        let mut hash = TreeHasher::of_chosen(item.chosen.as_ref(), op.source.fs.sets_times());
        hash.record(item.asked.as_os_str().as_bytes());
        let (holder, name) = open_parent(root, &item.at).map_err(fail)?;
        hash.entry(holder.as_fd(), name, &item.stat).map_err(fail)?;
        if kind(&item.stat) == FileType::Directory {
            let from = root.open_dir(&item.at).map_err(fail)?;
            hash.directory(from.as_fd(), &mut PathBuf::new()).map_err(fail)?;
        }
        if op.parents {
            for parent in parents(&item) {
                let found = root.find(&item.pivot.join(&parent), true).map_err(fail)?;
                hash.record(parent.as_os_str().as_bytes());
                let status = found.stat.map(|s| [s.st_mode, s.st_uid, s.st_gid].map(u32::to_le_bytes).concat());
                hash.record(&status.unwrap_or_default());
            }
        }
        digests.push(hash.finish());
    }
    // IDENTITY: the copied content and metadata. Modification times count only if the user set
    // them.
    Ok(rondel_digest::of("gathered/v2", &digests))
}

fn not_found(path: &str) -> Fault {
    // Users of two builders match on what follows the first colon.
    let path = path.trim_start_matches('/');
    Fault::not_found(format!("cannot copy: \"/{path}\": not found: lstat /{path}: no such file or directory"))
        .with_hint("check the path, the name of the stage and what `.dockerignore` excludes")
}

fn dangling(link: &Path, target: &Path) -> Fault {
    let (link, target) = (link.display(), target.display());
    Fault::not_found(format!("cannot copy: \"/{link}\" is a symlink: lstat /{target}: no such file or directory"))
        .with_hint("exclude the symlink, or copy the directory that holds it: symlinks inside stay as they are")
}

/// Lists everything that `op` picks below `root`, in the order of its patterns.
fn pick(op: &CopyPattern, root: Root<'_>) -> Result<Vec<PickedPath>> {
    let matcher = |exclude: &[String]| {
        let filter = Filter { exclude: exclude.to_vec(), ..Filter::default() };
        Matcher::new(&filter).map_err(|e| Fault::user(e.to_string()))
    };
    let open = op.ignore.is_empty() && op.exclude.is_empty();
    let rules = PickRules { ignore: matcher(&op.ignore)?, exclude: matcher(&op.exclude)?, open };
    let mut items = Vec::new();
    for text in &op.paths {
        let (pivot, rest) = match text.find(PIVOT).filter(|_| op.parents) {
            Some(at) => (&text[..at], &text[at + PIVOT.len()..]),
            None => ("", text.as_str()),
        };
        let (pivot, path) = (AbsPath::new(pivot), AbsPath::new(rest));
        let whole = pivot.join_inside(path.relative());
        let literal = !whole.relative().split('/').any(has_wildcards);
        let depth = pivot.relative().split('/').filter(|part| !part.is_empty()).count();
        let before = items.len();
        for asked in expand(root, whole.relative())? {
            let mut parts = asked.components();
            let pivot: PathBuf = parts.by_ref().take(depth).collect();
            items.extend(rules.item(root, &asked, pivot, parts.collect())?);
        }
        if literal && items.len() == before {
            return Err(not_found(whole.as_str()));
        }
    }
    Ok(items)
}

impl PickRules {
    /// Picks the path `asked` if it exists and passes. A symlink whose target is missing or ignored
    /// is an error: a copy never silently lacks what its pattern matched.
    fn item(&self, root: Root<'_>, asked: &Path, pivot: PathBuf, rest: PathBuf) -> Result<Option<PickedPath>> {
        let find = |path: &Path, follow| match root.find(path, follow) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOTDIR) => Ok(None),
            Err(e) => Err(failed(e, "read", path)),
        };
        let Some(own) = find(asked, false)? else { return Ok(None) };
        let Some(stat) = own.stat else { return Ok(None) };
        if own.links.iter().any(|link| self.ignores(link)) {
            return Ok(None);
        }
        if kind(&stat) != FileType::Symlink {
            return self.passing(root, PickedPath { at: own.path, asked: rest, pivot, stat, chosen: None });
        }
        let excluded = !self.exclude.file(asked.file_name().unwrap_or_default().as_bytes());
        if self.ignores(&own.path) {
            return Ok(None);
        }
        let target = find(&own.path, true)?;
        let lost = target.as_ref().map_or_else(|| own.path.clone(), |target| target.path.clone());
        let there = target.filter(|target| !target.links.iter().any(|link| self.ignores(link)));
        let item = match there.and_then(|target| Some((target.path, target.stat?))) {
            Some((at, stat)) => self.passing(root, PickedPath { at, asked: rest, pivot, stat, chosen: None })?,
            None => None,
        };
        match item {
            None if !excluded => Err(dangling(asked, &lost)),
            item => Ok(item),
        }
    }

    /// Whether `path`, which is not the root, is ignored as part of the build context.
    fn ignores(&self, path: &Path) -> bool {
        !self.ignore.file(path.as_os_str().as_bytes())
    }

    /// Restricts `item` to what passes. `None` if nothing does.
    fn passing(&self, root: Root<'_>, item: PickedPath) -> Result<Option<PickedPath>> {
        if self.open {
            return Ok(Some(item));
        }
        let fail = |e| failed(e, "read", &item.at);
        let itself = item.at.as_os_str().is_empty() || !self.ignores(&item.at);
        let name = item.asked.file_name().unwrap_or_default().as_bytes();
        if kind(&item.stat) != FileType::Directory {
            return Ok((itself && self.exclude.file(name)).then_some(item));
        }
        let mut chosen = HashSet::new();
        let dir = root.open_dir(&item.at).map_err(fail)?;
        let any = self.choose(dir.as_fd(), &item.at, &mut PathBuf::new(), &mut chosen).map_err(fail)?;
        Ok((any || itself).then_some(PickedPath { chosen: Some(chosen), ..item }))
    }

    /// Collects the paths below that pass. Returns whether there are any.
    fn choose(
        &self,
        dir: BorrowedFd<'_>,
        base: &Path,
        at: &mut PathBuf,
        chosen: &mut HashSet<PathBuf>,
    ) -> Result<bool, Errno> {
        let mut any = false;
        for name in names(dir)? {
            let Some(stat) = stat_at(dir, &name)? else { continue };
            at.push(&name);
            let whole = base.join(&*at);
            let (path, local) = (whole.as_os_str().as_bytes(), at.as_os_str().as_bytes());
            let mut passes = self.ignore.file(path) && self.exclude.file(local);
            let enter = |matcher: &Matcher, path| matcher.descend(path) == Descend::Enter;
            if kind(&stat) == FileType::Directory && enter(&self.ignore, path) && enter(&self.exclude, local) {
                passes |= self.choose(open_dir_at(dir, &name)?.as_fd(), base, at, chosen)?;
            }
            if passes {
                chosen.insert(at.clone());
                any = true;
            }
            at.pop();
        }
        Ok(any)
    }
}

/// One part of a pattern.
enum PatternPart<'a> {
    Name(&'a str),
    Pattern(Glob),
    /// Any number of directories.
    Directories,
}

/// Expands `pattern` to paths, following symlinks in directories. A path without wildcards expands
/// to itself.
fn expand(root: Root<'_>, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut places = vec![PathBuf::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let part = match part {
            "**" => PatternPart::Directories,
            part if has_wildcards(part) => PatternPart::Pattern(glob(part)?),
            part => PatternPart::Name(part),
        };
        let mut next = Vec::new();
        for place in places {
            grow(root, place, &part, &mut next).map_err(|e| failed(e, "look for", pattern))?;
        }
        places = next;
    }
    Ok(places)
}

fn grow(root: Root<'_>, place: PathBuf, part: &PatternPart<'_>, next: &mut Vec<PathBuf>) -> Result<(), Errno> {
    let listed = |place: &Path| -> Result<Option<OwnedFd>, Errno> {
        match root.find(place, true) {
            Ok(found) if found.stat.is_some_and(|s| kind(&s) == FileType::Directory) => {
                root.open_dir(&found.path).map(Some)
            }
            Ok(_) | Err(Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e),
        }
    };
    match part {
        PatternPart::Name(name) => next.push(place.join(name)),
        PatternPart::Pattern(glob) => {
            let Some(dir) = listed(&place)? else { return Ok(()) };
            let matching = names(dir.as_fd())?.into_iter().filter(|name| glob.matches(name.as_bytes()));
            next.extend(matching.map(|name| place.join(name)));
        }
        PatternPart::Directories => {
            let Some(dir) = listed(&place)? else { return Ok(()) };
            for name in names(dir.as_fd())? {
                let is_dir = stat_at(dir.as_fd(), &name)?.is_some_and(|s| kind(&s) == FileType::Directory);
                if is_dir {
                    grow(root, place.join(name), part, next)?;
                }
            }
            next.push(place);
        }
    }
    Ok(())
}

fn apply(
    op: &CopyPattern,
    source: Root<'_>,
    items: Vec<PickedPath>,
    target: Root<'_>,
    origin: LinkOrigin<'_>,
) -> Result<()> {
    check_names(&op.target)?;
    let given = op.owner.as_ref().map(|owner| owner::resolve(target, owner)).transpose()?;
    let ids = given.or((!op.keep_owner).then_some(Ids::ROOT));
    for mut item in items {
        let fail = |e| failed(e, "copy", &item.at);
        let mut copier = Copier { ids, mode: op.mode.clone(), chosen: item.chosen.take(), ..Copier::new() };
        let is_dir = kind(&item.stat) == FileType::Directory;
        let mut path = op.target.clone();
        if op.parents {
            lead(op, &copier, source, &item, target)?;
            let below = if is_dir { Some(&*item.asked) } else { item.asked.parent() };
            path = path.join_inside(&below.unwrap_or(Path::new("")).to_string_lossy());
        }
        let link_from = origin.map(|(link_source, below)| {
            let held = if is_dir { &*item.at } else { item.at.parent().unwrap_or(Path::new("")) };
            (link_source, below.join(held))
        });
        let origin = link_from.as_ref().map(|(link_source, from)| (*link_source, &**from));
        let destination = Destination { target, path: &path, is_dir: op.target_is_dir || op.parents, origin };
        if is_dir {
            let from = source.open_dir(&item.at).map_err(fail)?;
            if op.target_is_dir {
                // A target with a trailing slash is made as a new directory and not as a copy of
                // the source directory.
                let made = &mut |new: BorrowedFd<'_>| crate::copy::chown(new, ids);
                target.ensure_dir(inner(&op.target), made).map_err(|e| failed(e, "make", op.target.as_str()))?;
            }
            destination.directory(&mut copier, from.as_fd(), &item.stat)?;
            continue;
        }
        if op.unpack && kind(&item.stat) == FileType::RegularFile {
            let file = source.open(&item.at, OFlags::RDONLY | OFlags::NOFOLLOW).map_err(fail)?;
            if unpack::archive(&mut File::from(file), &item.at, target, &path, given)? {
                continue;
            }
        }
        let (holder, name) = open_parent(source, &item.at).map_err(fail)?;
        let own = item.asked.file_name().unwrap_or(name).to_owned();
        destination.file(&copier, holder.as_fd(), name, own, &item.stat)?;
    }
    Ok(())
}

/// The directories between the pivot and an item.
fn parents(item: &PickedPath) -> Vec<PathBuf> {
    let parts: Vec<_> = item.asked.parent().into_iter().flat_map(Path::components).collect();
    let normal = |part: &Component<'_>| matches!(part, Component::Normal(_));
    (1..=parts.len()).map(|end| parts[..end].iter().filter(|part| normal(part)).collect()).collect()
}

/// Makes the parent directories of an item with the metadata that they have in the source.
fn lead(op: &CopyPattern, copier: &Copier, source: Root<'_>, item: &PickedPath, target: Root<'_>) -> Result<()> {
    for parent in parents(item) {
        let fail = |e| failed(e, "copy", &parent);
        let to = inner(&op.target).join(&parent);
        if target.find(&to, true).map_err(fail)?.stat.is_some() {
            continue;
        }
        let (_, made) = target.ensure_dir(&to, &mut |new| crate::copy::chown(new, copier.ids)).map_err(fail)?;
        let from = source.find(&item.pivot.join(&parent), true).map_err(fail)?;
        let Some(stat) = from.stat else { continue };
        let (from_holder, from_name) = open_parent(source, &from.path).map_err(fail)?;
        let (to_holder, to_name) = open_parent(target, &made).map_err(fail)?;
        let (from, to) = (from_holder.as_fd(), to_holder.as_fd());
        copier.attributes(from, to, from_name, to_name, &stat).map_err(fail)?;
    }
    Ok(())
}
