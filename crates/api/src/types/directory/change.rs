//! Changes to a directory. Each returns another directory at the same path.

use rondel_fault::{Fault, Result};
use rondel_model::op::{Edit, Owner, Removal, TreePath};
use rondel_model::{AbsPath, Changeset, Directory, File, Fs, FsOp, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, on, value};
use crate::edit::{self, CopySource};
use crate::inputs;
use crate::types::changeset;
use rondel_surface::{Surface, surface};

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "withFile", with_file);
    surface.field(TYPE, "withFiles", with_files);
    surface.field(TYPE, "withDirectory", with_directory);
    surface.field(TYPE, "diff", diff);
    surface.field(TYPE, "changes", changes);
    surface.field(TYPE, "withChanges", with_changes);
    surface.field(TYPE, "withPatchFile", with_patch_file);
    plain(surface, "withPatch", with_patch);
    surface.field(TYPE, "pipeline", surface::same);
    plain(surface, "withNewFile", with_new_file);
    plain(surface, "withNewDirectory", with_new_directory);
    plain(surface, "withSymlink", with_symlink);
    plain(surface, "withTimestamps", with_timestamps);
    plain(surface, "chown", chown);
    plain(surface, "filter", filter);
    plain(surface, "withoutFile", |directory, args| {
        Ok(without(directory, vec![args.str("path")?.to_string()], Removal::Files))
    });
    plain(surface, "withoutFiles", |directory, args| Ok(without(directory, args.strings("paths")?, Removal::Files)));
    plain(surface, "withoutDirectory", |directory, args| {
        Ok(without(directory, vec![args.str("path")?.to_string()], Removal::Directory))
    });
    plain(surface, "withError", |directory, args| {
        let error = args.str("err")?;
        let mut directory = directory.clone();
        if !error.is_empty() {
            directory.error = Some(error);
        }
        Ok(directory)
    });
}

fn plain(surface: &mut Surface, field: &str, change: fn(&Directory, &Args) -> Result<Directory>) {
    surface.plain(TYPE, field, move |directory: &Directory, args| change(directory, args).map(value));
}

fn copy(directory: &Directory, mut copied: CopySource, path: &str, is_dir: bool, args: &Args) -> Result<Directory> {
    edit::check_path(path)?;
    copied.owner = inputs::owner(args)?;
    copied.permissions = inputs::permissions(args, "permissions")?;
    let target = directory.place.path.join_inside(path);
    Ok(on(directory, |fs| copied.into_tree(fs, target, is_dir)))
}

async fn with_file(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let path = args.str("path")?;
    let copied = CopySource::file(source.get::<File>()?);
    Ok(value(copy(node.get()?, copied, &path, edit::names_directory(&path), &args)?).into())
}

async fn with_files(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let sources = args.objects("sources").await?;
    let path = args.str("path")?;
    let mut directory = node.get::<Directory>()?.clone();
    for source in &sources {
        directory = copy(&directory, CopySource::file(source.get::<File>()?), &path, true, &args)?;
    }
    Ok(value(directory).into())
}

async fn with_directory(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let name = if args.field().arg("source").is_some() { "source" } else { "directory" };
    let source = args.object(name).await?;
    let source = source.get::<Directory>()?;
    let mut copied = CopySource::directory(source);
    copied.filter = inputs::filter(&args)?;
    let mut directory = copy(node.get()?, copied, &args.str("path")?, true, &args)?;
    directory.error = directory.error.or_else(|| source.error.clone());
    Ok(value(directory).into())
}

async fn diff(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let other = args.object("other").await?;
    let (lower, upper) = (node.get::<Directory>()?, other.get::<Directory>()?);
    let fs = Fs::new(FsOp::Diff { lower: lower.place.clone(), upper: upper.place.clone() });
    let mut directory = Directory::root(fs, upper.platform.clone());
    directory.error = lower.error.clone().or_else(|| upper.error.clone());
    Ok(Value::object(TYPE, directory).into())
}

async fn changes(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let before = args.object("from").await?;
    let changes = Changeset { before: before.get::<Directory>()?.clone(), after: node.get::<Directory>()?.clone() };
    Ok(changeset::value(changes).into())
}

async fn with_changes(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let changes = args.object("changes").await?;
    Ok(value(changeset::applied(node.get()?, changes.get()?)?).into())
}

fn with_patch(directory: &Directory, args: &Args) -> Result<Directory> {
    let patch = args.str("patch")?;
    if patch.trim().is_empty() {
        return Ok(directory.clone());
    }
    let path = AbsPath::new("patch");
    let fs = edit::written(Fs::scratch(), path.clone(), patch.as_bytes(), 0o644, None);
    Ok(changeset::patched(directory, TreePath { fs, path }))
}

async fn with_patch_file(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let patch = args.object("patch").await?;
    Ok(value(changeset::patched(node.get()?, patch.get::<File>()?.place.clone())).into())
}

fn with_new_file(directory: &Directory, args: &Args) -> Result<Directory> {
    let path = args.str("path")?;
    edit::check_path(&path)?;
    let contents = args.str("contents")?;
    let permissions = inputs::permissions(args, "permissions")?.unwrap_or(0o644);
    let target = directory.place.path.join_inside(&path);
    Ok(on(directory, |fs| edit::written(fs, target, contents, permissions, None)))
}

fn with_new_directory(directory: &Directory, args: &Args) -> Result<Directory> {
    let path = args.str("path")?;
    edit::check_path(&path)?;
    if edit::leads_out(&path) {
        // Clients match on this text.
        return Err(Fault::user(format!("cannot create directory outside parent: {path}")));
    }
    let permissions = inputs::permissions(args, "permissions")?.filter(|bits| *bits != 0).unwrap_or(0o755);
    let path = directory.place.path.join_inside(&path);
    Ok(on(directory, |fs| edit::edited(fs, Edit::MakeDir { path, permissions, owner: None })))
}

fn with_symlink(directory: &Directory, args: &Args) -> Result<Directory> {
    let link = args.str("linkName")?;
    edit::check_path(&link)?;
    let target = args.str("target")?.to_string();
    let path = directory.place.path.join_inside(&link);
    Ok(on(directory, |fs| edit::edited(fs, Edit::Symlink { target, path })))
}

fn with_timestamps(directory: &Directory, args: &Args) -> Result<Directory> {
    let (path, seconds) = (directory.place.path.clone(), args.int("timestamp")?);
    Ok(on(directory, |fs| edit::edited(fs, Edit::Timestamps { path, seconds })))
}

fn chown(directory: &Directory, args: &Args) -> Result<Directory> {
    let path = directory.place.path.join_inside(&args.str("path")?);
    let owner = Owner((*args.str("owner")?).into());
    Ok(on(directory, |fs| edit::edited(fs, Edit::Chown { path, owner })))
}

fn filter(directory: &Directory, args: &Args) -> Result<Directory> {
    let filter = inputs::filter(args)?;
    if filter.is_empty() {
        return Ok(directory.clone());
    }
    let fs = Fs::new(FsOp::Filter { source: directory.place.clone(), filter: filter.into() });
    Ok(Directory { error: directory.error.clone(), ..Directory::root(fs, directory.platform.clone()) })
}

fn without(directory: &Directory, paths: Vec<String>, what: Removal) -> Directory {
    on(directory, |fs| edit::removed(fs, directory.place.path.clone(), paths, what))
}
