//! Selects fields of the API as the engine itself.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::Result;
use rondel_query::Node;
use rondel_session::ResolverContext;

/// Selects `field` on `receiver` with literals, for the caller of `cx`. Code of the engine that
/// uses fields in this way treats addresses and files exactly as the API does.
///
/// # Errors
/// When there is no such field, or it fails.
pub(crate) async fn select(
    cx: &ResolverContext,
    receiver: &Node,
    field: &str,
    args: Vec<(&str, Literal)>,
) -> Result<Node> {
    let args = args.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
    cx.evaluator.internal(&cx.caller, receiver, field, args).await
}
