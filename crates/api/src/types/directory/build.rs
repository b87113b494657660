//! `dockerBuild`: builds a Dockerfile of a directory.

use rondel_fault::Result;
use rondel_model::{Platform, Table};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, of};
use crate::types::container;
use crate::{dockerfile, entitlement_seal, inputs};
use rondel_surface::Surface;

pub(super) fn register(surface: &mut Surface) {
    surface.field(TYPE, "dockerBuild", docker_build).depends_on_client(TYPE, &["dockerBuild"]);
    entitlement_seal::guard_all(surface, TYPE, "dockerBuild");
}

async fn docker_build(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let platform = args.opt_str("platform")?.map(|text| inputs::platform(&text)).transpose()?;
    let platform = platform.unwrap_or_else(Platform::native);
    let built = dockerfile::build(&cx, of(&node)?, platform, &Table::new(), &args).await?;
    Ok(container::value(built).into())
}
