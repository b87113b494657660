//! Directories and files of a container, seen through its mounts.

use rondel_fault::Result;
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Container, Directory, File, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, of};
use crate::locate::locate;
use crate::types::plain_objects;
use crate::{inputs, inspect};
use rondel_surface::Surface;

pub(super) fn register(surface: &mut Surface) {
    surface.plain(TYPE, "rootfs", |container: &Container, _| {
        let mut directory = Directory::root(container.rootfs.clone(), container.platform.clone());
        directory.error = container.error.clone();
        Ok(Value::object("Directory", directory))
    });
    surface.field(TYPE, "directory", directory);
    surface.field(TYPE, "file", file);
    surface.field(TYPE, "exists", exists);
    surface.field(TYPE, "stat", stat);
}

/// The location of the argument `path`, and the path as the user wrote it.
fn place(container: &Container, args: &Args) -> Result<(TreePath, String)> {
    let asked = inputs::text(container, args, "path")?;
    let path: AbsPath = container.workdir().join(&asked);
    Ok((locate(container, &path)?.1, asked))
}

async fn directory(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let container = of(&node)?;
    let (place, asked) = place(container, &args)?;
    inspect::require_directory(&cx, &place, &asked).await?;
    let directory = Directory { place, platform: container.platform.clone(), error: None };
    Ok(Value::object("Directory", directory).into())
}

async fn file(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let container = of(&node)?;
    let (place, asked) = place(container, &args)?;
    inspect::require_file(&cx, &place, &asked).await?;
    let name = AbsPath::new(&asked).file_name().map(ToOwned::to_owned);
    let name = name.filter(|name| place.path.file_name() != Some(name));
    let file = File { place, platform: container.platform.clone(), name, asked: Some(asked) };
    Ok(Value::object("File", file).into())
}

async fn exists(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (place, _) = place(of(&node)?, &args)?;
    Ok(Value::Bool(inspect::exists(&cx, &place, &args).await?).into())
}

async fn stat(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (place, asked) = place(of(&node)?, &args)?;
    let follow = !args.bool("doNotFollowSymlinks")?;
    let found = inspect::stat(&cx, &place, &asked, follow).await?;
    Ok(plain_objects::stat(&asked, found).into())
}
