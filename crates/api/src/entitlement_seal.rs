//! Seals of calls that need an entitlement. The entitlement is checked when a client selects the
//! field. The selected call becomes a recipe that others may load: the user's client loads recipes
//! of modules, modules those of the user, and any client after a restart. So the selection leaves a
//! seal in the call, a MAC of the recipe under the engine's key. A recipe without its seal is
//! refused, also when the user's own client loads it. A process in a container cannot write a seal.

use std::sync::Arc;

use rondel_call::{Call, Literal, edited};
use rondel_fault::{Code, Fault, Result};
use rondel_model::entitlement::Entitlement;
use rondel_session::{Args, ResolverContext, check_entitled, client};

use rondel_surface::Surface;
use rondel_surface::surface::Arguments;

/// The argument that gives a process all capabilities.
const INSECURE: &str = "insecureRootCapabilities";
/// The prefix of arguments that hold a seal, before the name of the entitlement. No schema has such
/// an argument, so no document can set it.
const SEAL: &str = "entitled.";

/// Seals calls of `type_name.field` with all capabilities, and refuses clients without the
/// entitlement.
pub(crate) fn guard(surface: &mut Surface, type_name: &str, field: &str) {
    surface.prepare(type_name, field, |cx, args| {
        let asked = args.iter().any(|(name, value)| &**name == INSECURE && *value == Literal::Bool(true));
        let sealed = match asked {
            true => check_entitled(client(&cx.caller), Entitlement::SecurityInsecure)
                .map(|()| with_seal(&cx, args, Entitlement::SecurityInsecure)),
            false => Ok(args),
        };
        Box::pin(std::future::ready(sealed))
    });
}

/// Seals calls of `type_name.field` with every entitlement of the client. Which of them the call
/// needs depends on files.
pub(crate) fn guard_all(surface: &mut Surface, type_name: &str, field: &str) {
    surface.prepare(type_name, field, |cx, args| {
        let me = client(&cx.caller);
        let entitled = Entitlement::ALL.into_iter().filter(|entitlement| check_entitled(me, *entitlement).is_ok());
        let sealed = entitled.fold(args, |args, entitlement| with_seal(&cx, args, entitlement));
        Box::pin(std::future::ready(Ok(sealed)))
    });
}

fn with_seal(cx: &ResolverContext, mut args: Arguments, entitlement: Entitlement) -> Arguments {
    args.push((name(entitlement), Literal::String(seal(cx, &cx.call, entitlement))));
    args
}

fn name(entitlement: Entitlement) -> Arc<str> {
    format!("{SEAL}{entitlement}").into()
}

// IDENTITY: inputs of the session, the client and the acting module may differ when the call is
// loaded, so they are not sealed.
fn seal(cx: &ResolverContext, call: &Arc<Call>, entitlement: Entitlement) -> Arc<str> {
    let recipe = edited(call, &|spec| {
        spec.implicit.clear();
        spec.identity = None;
        spec.args.retain(|(name, _)| !name.starts_with(SEAL));
    });
    let text = format!("{entitlement} {}", recipe.digest());
    client(&cx.caller).services.entitlement_seal(&text).to_string().into()
}

/// Whether the call holds the seal of `entitlement`: a client with it selected the call.
pub(crate) fn has(args: &Args, entitlement: Entitlement) -> bool {
    let cx = args.cx();
    let Some(Literal::String(given)) = cx.call.arg(&name(entitlement)) else { return false };
    // Comparing MACs of the seals: the time it takes does not tell how much of the seals is equal.
    let services = &client(&cx.caller).services;
    let [given, want] = [given.clone(), seal(cx, &cx.call, entitlement)].map(|text| services.mac(text.as_bytes()));
    given == want
}

/// Whether the process has all capabilities.
///
/// # Errors
/// When the call asks for them and a client without the entitlement selected it, or the recipe was
/// changed since.
pub(crate) fn insecure(args: &Args) -> Result<bool> {
    let asked = args.bool(INSECURE)?;
    if asked && !has(args, Entitlement::SecurityInsecure) {
        return Err(unsealed(Entitlement::SecurityInsecure));
    }
    Ok(asked)
}

/// The error for a recipe without its seal.
pub(crate) fn unsealed(entitlement: Entitlement) -> Fault {
    Fault::denied(format!("{entitlement} is not allowed: no client that may ask for it made this call"))
        .with_code(Code::EntitlementRequired)
        .with_hint(format!("make the call again as a client on your machine, or with `--allow {entitlement}`"))
}
