//! Changes to the files of a container and of its mounts.

use rondel_fault::Result;
use rondel_model::op::{Edit, Removal};
use rondel_model::{AbsPath, Container, Directory, File, MountSource};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, change, changed};
use crate::edit::{self, CopySource};
use crate::inputs;
use crate::locate::{Holder, edit_at, locate, touched};
use rondel_surface::Surface;

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "withRootfs", with_rootfs);
    surface.field(TYPE, "withFile", with_file);
    surface.field(TYPE, "withFiles", with_files);
    surface.field(TYPE, "withDirectory", with_directory);
    change(surface, "withNewFile", with_new_file);
    change(surface, "withSymlink", with_symlink);
    change(surface, "withoutFile", |c, args| without_file(c, &inputs::text(c, args, "path")?));
    change(surface, "withoutFiles", without_files);
    change(surface, "withoutDirectory", without_directory);
}

async fn with_rootfs(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let directory = args.object("directory").await?;
    let mut container = touched(node.get()?);
    let directory = directory.get::<Directory>()?;
    container.rootfs = edit::selected(directory);
    container.error = container.error.or_else(|| directory.error.clone());
    Ok(changed(container))
}

/// The container with `copied` at `path`, as the user wrote it.
fn copy(container: &Container, mut copied: CopySource, path: &str, is_dir: bool, args: &Args) -> Result<Container> {
    edit::check_path(path)?;
    copied.owner = inputs::owner_or_root(args)?;
    copied.permissions = inputs::permissions(args, "permissions")?;
    let target = container.workdir().join(path);
    edit_at(container, &target, |fs, target| copied.into_tree(fs, target, is_dir))
}

async fn with_file(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let container = node.get::<Container>()?;
    let path = inputs::text(container, &args, "path")?;
    let copied = CopySource::file(source.get::<File>()?);
    Ok(changed(copy(container, copied, &path, edit::names_directory(&path), &args)?))
}

async fn with_files(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let sources = args.objects("sources").await?;
    let mut container = node.get::<Container>()?.clone();
    let path = inputs::text(&container, &args, "path")?;
    for source in &sources {
        container = copy(&container, CopySource::file(source.get::<File>()?), &path, true, &args)?;
    }
    Ok(changed(container))
}

async fn with_directory(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let name = if args.field().arg("source").is_some() { "source" } else { "directory" };
    let source = args.object(name).await?;
    let source = source.get::<Directory>()?;
    let container = node.get::<Container>()?;
    let path = inputs::text(container, &args, "path")?;
    let mut copied = CopySource::directory(source);
    copied.filter = inputs::filter(&args)?;
    let mut container = copy(container, copied, &path, true, &args)?;
    container.error = container.error.or_else(|| source.error.clone());
    Ok(changed(container))
}

fn with_new_file(container: &Container, args: &Args) -> Result<Container> {
    let path = inputs::text(container, args, "path")?;
    edit::check_path(&path)?;
    let contents = args.opt_str("contents")?.unwrap_or_default();
    let permissions = inputs::permissions(args, "permissions")?.unwrap_or(0o644);
    let owner = inputs::owner(args)?;
    let target = container.workdir().join(&path);
    edit_at(container, &target, |fs, target| edit::written(fs, target, contents, permissions, owner))
}

fn with_symlink(container: &Container, args: &Args) -> Result<Container> {
    let target = inputs::text(container, args, "target")?;
    let link = inputs::text(container, args, "linkName")?;
    edit::check_path(&link)?;
    let path = container.workdir().join(&link);
    edit_at(container, &path, |fs, path| edit::edited(fs, Edit::Symlink { target, path }))
}

fn without_files(container: &Container, args: &Args) -> Result<Container> {
    let paths = args.strings("paths")?;
    let expand = args.bool("expand")?;
    paths.iter().try_fold(container.clone(), |container, path| match expand {
        true => without_file(&container, &crate::expand::expand(&container, path)?),
        false => without_file(&container, path),
    })
}

/// Removes a file. A mounted file is removed together with the file that it covers.
fn without_file(container: &Container, text: &str) -> Result<Container> {
    let path = container.workdir().join(text);
    let mut container = touched(container);
    container.mounts.retain(|mount| mount.target != path || !matches!(mount.source, MountSource::File { .. }));
    let (base, pattern) = below_workdir(&container, &path)?;
    edit_at(&container, &path, |fs, _| edit::removed(fs, base, vec![pattern], Removal::Files))
}

/// Splits `path` into a directory of its tree and a pattern below that. Characters of the working
/// directory are no pattern.
fn below_workdir(container: &Container, path: &AbsPath) -> Result<(AbsPath, String)> {
    let (holder, place) = locate(container, path)?;
    if let Ok((same, workdir)) = locate(container, &container.workdir())
        && let (true, Some(rest)) = (same == holder, place.path.strip_prefix(&workdir.path))
    {
        return Ok((workdir.path, rest.to_owned()));
    }
    Ok((AbsPath::root(), place.path.relative().to_owned()))
}

fn without_directory(container: &Container, args: &Args) -> Result<Container> {
    let text = inputs::text(container, args, "path")?;
    let path: AbsPath = container.workdir().join(&text);
    let (holder, place) = locate(container, &path)?;
    // A mount, and a directory named by its content, is emptied and stays.
    let emptied = names_content(&text) || place.path.is_root() || is_target(container, holder, &path);
    edit_at(container, &path, |fs, path| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !emptied => edit::removed(fs, parent, vec![name.to_owned()], Removal::Directory),
        _ => edit::removed(fs, path, vec![".".to_owned()], Removal::Directory),
    })
}

/// Whether a path names the content of a directory: it is empty, for the working directory, or ends
/// with a dot.
fn names_content(path: &str) -> bool {
    matches!(path.trim_end_matches('/').rsplit('/').next(), Some("" | "."))
}

fn is_target(container: &Container, holder: Holder, path: &AbsPath) -> bool {
    match holder {
        Holder::Rootfs => false,
        Holder::Mount(at) => container.mounts.get(at).is_some_and(|mount| mount.target == *path),
    }
}
