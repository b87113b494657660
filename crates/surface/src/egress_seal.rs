//! EgressScope of a repository's address. It is that of the client that named the address,
//! whichever client asks for the data later.
//!
//! The user's own client reaches whatever the engine's machine reaches, a process in a container
//! only the outside (`rondel_ports::egress`). What the user names becomes a recipe that others
//! load: the code of a function that is given a repository, another module. So the selection leaves
//! a seal in the call, a MAC of the address under the engine's key. A process can write any ID, and
//! cannot write a seal; one that it was given leads to that repository and no other.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::Result;
use rondel_model::EgressScope;
use rondel_session::{Args, Client, ResolverContext, client};

use crate::surface::Arguments;

/// The argument that holds the seal. No document can set it, since no schema has it.
pub const SEAL: &str = "_reach";

/// The seal of the repository at `url`.
pub fn seal(me: &Client, url: &str) -> Arc<str> {
    me.services.egress_seal(url).to_string().into()
}

/// How far the engine goes for `url` when `given` is what a recipe says of it.
pub fn sealed(me: &Client, url: &str, given: &str) -> EgressScope {
    // How long it takes to compare two MACs of them says nothing about how much of them is equal.
    let [given, want] = [given, &seal(me, url)].map(|text| me.services.mac(text.as_bytes()));
    if given == want { EgressScope::Anywhere } else { EgressScope::Outside }
}

/// Adds the seal of the address in the argument `named` when a client selects it that reaches as
/// far.
///
/// # Errors
/// When the caller was not made by an engine.
pub fn with_seal(cx: &ResolverContext, mut args: Arguments, named: &str) -> Result<Arguments> {
    let me = client(&cx.caller);
    args.retain(|(name, _)| &**name != SEAL);
    let url = args.iter().find(|(name, _)| &**name == named).map(|(_, value)| value);
    if let (EgressScope::Anywhere, Some(Literal::String(url))) = (me.op_cx.egress, url) {
        let seal = seal(me, url);
        args.push((SEAL.into(), Literal::String(seal)));
    }
    Ok(args)
}

/// How far the engine goes for `url`, as the call says. Without a seal it is the outside, also for
/// the user's own client: a process wrote the recipe.
///
/// # Errors
/// When the caller was not made by an engine.
pub fn of(args: &Args, url: &str) -> Result<EgressScope> {
    let cx = args.cx();
    let Some(Literal::String(given)) = cx.call.arg(SEAL) else { return Ok(EgressScope::Outside) };
    Ok(sealed(client(&cx.caller), url, given))
}
