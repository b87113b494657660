//! `Secret`: a reference to plaintext that no call and no key contains.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, Literal, NESTED_CLIENT};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::{SecretRef, Value};
use rondel_ports::secrets::Plaintext;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ProvidedSecret, ResolverContext, client, client::op_cx};

use crate::{inputs, providers};
use rondel_surface::Surface;
use rondel_surface::surface::{Arguments, Rewriting};

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "setSecret", set_secret).prepare("Query", "setSecret", hide_plaintext);
    surface.field("Query", "secret", provided);
    surface.field("Host", "setSecretFile", from_file);
    surface.field("Query", "_secret", known);
    surface.field("Secret", "id", id);
    surface.field("Secret", "name", |_, node, _| async move {
        Ok(Value::string(node.get::<SecretRef>().map(|secret| secret.name.clone()).unwrap_or_default()).into())
    });
    surface.field("Secret", "uri", uri);
    surface.field("Secret", "plaintext", plaintext);
    surface
        .depends_on_client("Query", &["secret"])
        .depends_on_client("Host", &["setSecretFile"])
        .depends_on_client("Secret", &["id", "plaintext"]);
}

/// A secret of a provider that was not read yet. Its ID is taken when it is read, so that every
/// field that takes a secret receives one with a key.
struct Unread {
    uri: String,
    cache_key: Option<String>,
}

// IDENTITY: plaintext is removed from the arguments before there is a call. Its MAC under the
// engine's own key stays.
fn hide_plaintext(cx: ResolverContext, mut args: Arguments) -> Rewriting {
    Box::pin(async move {
        let client = client(&cx.caller);
        for (name, value) in &mut args {
            if &**name != "plaintext" {
                continue;
            }
            let text = match std::mem::replace(value, Literal::Null) {
                Literal::String(text) => text,
                _ => return Err(Fault::user("argument `plaintext` of `setSecret` must be a string")),
            };
            providers::check_size(text.as_bytes())?;
            let key = client.services.mac(text.as_bytes());
            let secret = SecretRef { key, name: "".into(), uri: "".into(), from_nested_client: false };
            client.session.secrets.put(&secret, ProvidedSecret::lasting(Plaintext::new(text.as_bytes().to_vec())));
            *value = inputs::string(&key.hex());
        }
        Ok(args)
    })
}

async fn set_secret(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let key = args.str("plaintext")?;
    let key: Digest = key.parse().map_err(|_| Fault::bug("`setSecret` was not prepared"))?;
    outcome(&cx, key, &args.str("name")?, "", None)
}

async fn provided(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let address = providers::parse(&args.str("uri")?)?;
    providers::check(&address.uri)?;
    client(&cx.caller);
    let asked = args.opt_str("cacheKey")?.map(|key| key.to_string()).filter(|key| !key.is_empty());
    let unread = Unread { uri: address.uri, cache_key: asked.or(address.cache_key) };
    Ok(Value::object("Secret", unread).into())
}

async fn uri(_: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    if let Some(unread) = node.value.get::<Unread>() {
        return Ok(Value::string(unread.uri.as_str()).into());
    }
    Ok(Value::string(node.get::<SecretRef>()?.uri.clone()).into())
}

/// The ID. A secret that cannot be read has an ID too. A field that needs the plaintext then fails
/// with the error of the provider.
async fn id(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let Some(unread) = node.value.get::<Unread>() else {
        return Ok(Value::string(cx.evaluator.id_of(&node)?).into());
    };
    let client = client(&cx.caller);
    let provided = providers::read(client, &unread.uri).await;
    // IDENTITY: the `cacheKey` of the user replaces the value, wherever it comes from. An unknown
    // value
    // equals no other.
    let key = match (&unread.cache_key, &provided) {
        (Some(key), _) => rondel_digest::of("secret/cacheKey/v2", key.as_str()),
        (None, Ok(provided)) => client.services.mac(provided.plaintext.bytes()),
        (None, Err(_)) => rondel_digest::of("secret/unread/v1", &rand::random::<[u8; 32]>()),
    };
    let secret = SecretRef {
        key,
        name: "".into(),
        uri: unread.uri.as_str().into(),
        from_nested_client: client.is_nested_client(),
    };
    match provided {
        Ok(provided) => client.session.secrets.put(&secret, provided),
        Err(fault) => client.session.secrets.put_failure(&secret, fault),
    }
    let call = stable(&cx, &secret);
    let node = Node { call: Some(call), value: Value::object("Secret", secret) };
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

/// `setSecretFile` of views before v0.19.0: the present content of the file, under a name.
async fn from_file(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let uri = format!("file://{}", args.str("path")?);
    let client = client(&cx.caller);
    let provided = providers::read(client, &uri).await?;
    let key = client.services.mac(provided.plaintext.bytes());
    outcome(&cx, key, &args.str("name")?, &uri, Some(provided))
}

fn outcome(
    cx: &ResolverContext,
    key: Digest,
    name: &str,
    uri: &str,
    provided: Option<ProvidedSecret>,
) -> Result<Outcome> {
    // Only a secret with an address is read again.
    let from_nested_client = !uri.is_empty() && client(&cx.caller).is_nested_client();
    let secret = SecretRef { key, name: name.into(), uri: uri.into(), from_nested_client };
    if let Some(provided) = provided {
        client(&cx.caller).session.secrets.put(&secret, provided);
    }
    let call = stable(cx, &secret);
    Ok(Outcome { value: Value::object("Secret", secret), rebind: Some(call) })
}

/// The secret as a call that holds its key, and not who selected it when.
fn stable(cx: &ResolverContext, secret: &SecretRef) -> Arc<Call> {
    let mut spec = CallSpec::new("Secret", "_secret").arg("key", inputs::string(&secret.key.hex()));
    for (argument, text) in [("name", &secret.name), ("uri", &secret.uri)] {
        if !text.is_empty() {
            spec = spec.arg(argument, inputs::string(text));
        }
    }
    if secret.from_nested_client {
        spec = spec.arg(NESTED_CLIENT, Literal::Bool(true));
    }
    // IDENTITY: only its session knows the plaintext, so the call is scoped to the session.
    spec.implicit = vec![("session".into(), cx.caller.session.clone())];
    Call::new(None, spec)
}

/// A secret from an ID. A provider's secret of another session is read again.
async fn known(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let key: Digest = args.str("key")?.parse().map_err(|_| Fault::user("the ID of a secret is damaged"))?;
    let text = |name| args.opt_str(name).map(|text| text.unwrap_or_default());
    let secret =
        SecretRef { key, name: text("name")?, uri: text("uri")?, from_nested_client: cx.call.from_nested_client() };
    let client = client(&cx.caller);
    let secrets = &client.session.secrets;
    if secrets.get(&secret).is_none() && secrets.failure(&secret).is_none() && !secret.uri.is_empty() {
        client.check_own(&format!("read the secret `{}`", secret.uri))?;
        let provided = providers::read(client, &secret.uri).await?;
        secrets.put(&secret, provided);
    }
    Ok(Value::object("Secret", secret).into())
}

async fn plaintext(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let plaintext = match node.value.get::<Unread>() {
        Some(unread) => providers::read(client(&cx.caller), &unread.uri).await?.plaintext,
        None => op_cx(&cx).secrets.plaintext(node.get()?).await?,
    };
    match std::str::from_utf8(plaintext.bytes()) {
        Ok(text) => Ok(Value::string(text).into()),
        Err(_) => Err(Fault::user("the plaintext of the secret is no UTF-8 text; mount it as a file instead")),
    }
}
