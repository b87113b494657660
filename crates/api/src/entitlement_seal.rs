//! Calls that need an entitlement, and how it is known later that they had it.
//!
//! Whether a client may make such a call is decided where the client selects it. What is selected
//! becomes a recipe, which others may load: the user's client what a module gave it, a module what
//! the user gave it, anyone after a restart. So the selection leaves a seal in the call, a MAC of
//! the recipe under the engine's key, and a recipe without its seal is refused, also when the
//! user's own client loads it. A process in a container can write any ID, and cannot write a seal.

use std::sync::Arc;

use rondel_call::{Call, Literal, edited};
use rondel_fault::{Code, Fault, Kind, Result};
use rondel_model::entitlement::Entitlement;
use rondel_session::{Args, ResolverContext, check_entitled, client};

use rondel_surface::Surface;
use rondel_surface::surface::Arguments;

/// The argument with which processes ask for every capability.
const INSECURE: &str = "insecureRootCapabilities";
/// Before the name of an entitlement: the argument that holds the seal. No document can set it,
/// since no schema has it.
const SEAL: &str = "entitled.";

/// Seals calls of `type_name.field` that ask for every capability, and refuses clients that may
/// not.
pub(crate) fn guard(surface: &mut Surface, type_name: &str, field: &str) {
    surface.prepare(type_name, field, |cx, args| {
        let asked = args.iter().any(|(name, value)| &**name == INSECURE && *value == Literal::Bool(true));
        let sealed = if asked { required(&cx, args, Entitlement::SecurityInsecure) } else { Ok(args) };
        Box::pin(std::future::ready(sealed))
    });
}

/// Seals calls of `type_name.field` with every entitlement that the client has: which are needed
/// depends on files.
pub(crate) fn guard_all(surface: &mut Surface, type_name: &str, field: &str) {
    surface.prepare(type_name, field, |cx, args| {
        let sealed = Entitlement::ALL.into_iter().try_fold(args, |args, entitlement| {
            match required(&cx, args.clone(), entitlement) {
                Err(fault) if fault.kind() == Kind::Denied => Ok(args),
                sealed => sealed,
            }
        });
        Box::pin(std::future::ready(sealed))
    });
}

fn required(cx: &ResolverContext, mut args: Arguments, entitlement: Entitlement) -> Result<Arguments> {
    check_entitled(client(&cx.caller), entitlement)?;
    args.push((name(entitlement), Literal::String(seal(cx, &cx.call, entitlement)?)));
    Ok(args)
}

fn name(entitlement: Entitlement) -> Arc<str> {
    format!("{SEAL}{entitlement}").into()
}

// IDENTITY: what sessions, clients and the module as which a caller acts add to a call may differ
// when it is loaded, and so is not sealed.
fn seal(cx: &ResolverContext, call: &Arc<Call>, entitlement: Entitlement) -> Result<Arc<str>> {
    let recipe = edited(call, &|spec| {
        spec.implicit.clear();
        spec.identity = None;
        spec.args.retain(|(name, _)| !name.starts_with(SEAL));
    });
    let text = format!("{entitlement} {}", recipe.digest());
    Ok(client(&cx.caller).services.entitlement_seal(&text).to_string().into())
}

/// Whether the call holds the seal of `entitlement`: a client selected it that may ask for that.
///
/// # Errors
/// When the caller was not made by an engine.
pub(crate) fn has(args: &Args, entitlement: Entitlement) -> Result<bool> {
    let cx = args.cx();
    let Some(Literal::String(given)) = cx.call.arg(&name(entitlement)) else { return Ok(false) };
    // How long it takes to compare two MACs of them says nothing about how much of them is equal.
    let services = &client(&cx.caller).services;
    let [given, want] = [given.clone(), seal(cx, &cx.call, entitlement)?].map(|text| services.mac(text.as_bytes()));
    Ok(given == want)
}

/// Whether a process is to have every capability.
///
/// # Errors
/// When the call asks for that and a client selected it that may not, or the recipe is not as it
/// was selected.
pub(crate) fn insecure(args: &Args) -> Result<bool> {
    let asked = args.bool(INSECURE)?;
    if asked && !has(args, Entitlement::SecurityInsecure)? {
        return Err(unsealed(Entitlement::SecurityInsecure));
    }
    Ok(asked)
}

/// The refusal of a recipe whose seal is missing.
pub(crate) fn unsealed(entitlement: Entitlement) -> Fault {
    Fault::denied(format!("{entitlement} is not allowed: no client that may ask for it made this call"))
        .with_code(Code::EntitlementRequired)
        .with_hint(format!("make the call again as a client on your machine, or with `--allow {entitlement}`"))
}
