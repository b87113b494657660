//! Seals of the egress scope of an address. The client that named the address decides the scope,
//! whichever client asks for the data later. For the user's own client the engine connects to all
//! that its machine reaches, for a process in a container to the outside only
//! (`rondel_ports::egress`). An address of the user becomes a recipe that others load: a function
//! that receives a repository, another module. So the selection leaves a seal in the call, a MAC of
//! the address under the engine's key. A process cannot write a seal. A seal that it received holds
//! for that repository and no other.

use std::sync::Arc;

use rondel_call::{EGRESS_SEAL, Literal};
use rondel_model::EgressScope;
use rondel_session::{Args, Client, ResolverContext, client};

use crate::surface::Arguments;

/// The seal of the repository at `url`.
pub fn seal(me: &Client, url: &str) -> Arc<str> {
    me.services.egress_seal(url).to_string().into()
}

/// The egress scope of `url` with the seal `given` of a recipe.
pub fn sealed(me: &Client, url: &str, given: &str) -> EgressScope {
    // Comparing MACs of the seals: the time it takes does not tell how much of the seals is equal.
    let [given, want] = [given, &seal(me, url)].map(|text| me.services.mac(text.as_bytes()));
    if given == want { EgressScope::Anywhere } else { EgressScope::Outside }
}

/// Adds the seal of the address in the argument `named` if the selecting client may connect
/// anywhere.
pub fn with_seal(cx: &ResolverContext, mut args: Arguments, named: &str) -> Arguments {
    let me = client(&cx.caller);
    args.retain(|(name, _)| &**name != EGRESS_SEAL);
    let url = args.iter().find(|(name, _)| &**name == named).map(|(_, value)| value);
    if let (EgressScope::Anywhere, Some(Literal::String(url))) = (me.op_cx.egress, url) {
        let seal = seal(me, url);
        args.push((EGRESS_SEAL.into(), Literal::String(seal)));
    }
    args
}

/// The egress scope of `url` by the seal in the call. Without a seal it is the outside, also for
/// the user's own client, because a process in a container selected the call.
pub fn of(args: &Args, url: &str) -> EgressScope {
    let cx = args.cx();
    let Some(Literal::String(given)) = cx.call.arg(EGRESS_SEAL) else { return EgressScope::Outside };
    sealed(client(&cx.caller), url, given)
}
