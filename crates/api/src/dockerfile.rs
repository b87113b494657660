//! Builds of Dockerfiles: reads the files, resolves the external inputs, calls `rondel_dockerfile`.

use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_call::Literal;
use rondel_dockerfile::{Base, Known, Need, Outcome as Built, Request, Secret};
use rondel_fault::{Fault, Result};
use rondel_model::container::RegistryAuth;
use rondel_model::entitlement::Entitlement;
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Container, Directory, Fs, ImageConfig, Platform, SecretRef, SocketRef, Table};
use rondel_ops::RegistryImage;
use rondel_query::Node;
use rondel_session::{Args, ResolverContext, check_entitled, client};

use crate::select::select;
use crate::types::cache_volume::BUILD_NAMESPACE;
use crate::{credentials, edit, entitlement_seal, image_config, inputs};
use rondel_session::client::ops_and_context;

/// The most rounds of requests of one build. Each image may hold `ONBUILD` triggers with new
/// requests.
const MAX_ROUNDS: usize = 100;

/// The name of the ignore file of a context, and the suffix of one that belongs to a Dockerfile.
const IGNORE: &str = ".dockerignore";

/// Builds the container that the arguments `args` describe from `context`.
///
/// # Errors
/// When the Dockerfile is missing or invalid, or an image cannot be found.
pub(crate) async fn build(
    cx: &ResolverContext,
    context: &Directory,
    platform: Platform,
    auth: &Table<RegistryAuth>,
    args: &Args,
) -> Result<Container> {
    let file = args.opt_str("dockerfile")?.unwrap_or_else(|| Arc::from("Dockerfile"));
    let path = context.place.path.join_inside(&file);
    let text = text(cx, context, &path).await?.ok_or_else(|| {
        Fault::not_found(format!("failed to read dockerfile: open {file}: no such file or directory"))
    })?;
    let dockerfile = rondel_dockerfile::parse(&file, &text).map_err(|error| error.fault())?;
    let request = Request {
        context: context.place.clone(),
        ignore: ignore(cx, context, &path).await?,
        platform,
        target: args.opt_str("target")?.unwrap_or_default().to_string(),
        args: build_args(&args.literal("buildArgs"))?,
        secrets: secrets(args).await?,
        ssh: ssh(args).await?,
        no_init: args.bool("noInit")?,
        namespace: args.opt_str(BUILD_NAMESPACE)?.unwrap_or_default().to_string(),
        entitlements: entitlements(args)?,
    };
    let mut known = Known::new();
    for _ in 0..MAX_ROUNDS {
        let built = rondel_dockerfile::build(&dockerfile, &request, &known).map_err(|error| refused(cx, &error))?;
        let needs = match built {
            Built::Done(container) => return Ok(Container { registry_auth: auth.clone(), ..*container }),
            Built::Needs(needs) => needs,
        };
        let found = needs.into_iter().map(|(need, place)| async move {
            let base = answer(cx, &need, auth).await;
            base.map(|base| (need, base)).map_err(|fault| fault.context(place.to_string()))
        });
        known.extend(try_join_all(found).await?);
    }
    Err(Fault::user(format!("`{file}` asks for more images than {MAX_ROUNDS} times in a row")))
}

/// The entitlements of the client that selected the build.
fn entitlements(args: &Args) -> Result<Vec<Entitlement>> {
    let mut all = Vec::new();
    for entitlement in Entitlement::ALL {
        if entitlement_seal::has(args, entitlement) {
            all.push(entitlement);
        }
    }
    Ok(all)
}

/// The error of a Dockerfile. For a missing entitlement the hints say how to allow it.
fn refused(cx: &ResolverContext, error: &rondel_dockerfile::Error) -> Fault {
    let Some(entitlement) = error.denied else { return error.fault() };
    let why = check_entitled(client(&cx.caller), entitlement).err();
    let why = why.unwrap_or_else(|| entitlement_seal::unsealed(entitlement));
    let fault = Fault::denied(error.to_string());
    why.hints().iter().fold(fault, |fault, hint| fault.with_hint(hint.clone()))
}

/// The text of a file, or `None` if there is no such file.
async fn text(cx: &ResolverContext, context: &Directory, path: &AbsPath) -> Result<Option<String>> {
    let (ops, op_cx) = ops_and_context(cx);
    let place = TreePath { fs: context.place.fs.clone(), path: path.clone() };
    let Some(found) = ops.stat(&op_cx, &place, true).await? else { return Ok(None) };
    if found.size > rondel_dockerfile::MAX_BYTES as u64 {
        return Err(Fault::user(format!("`{path}` has more than {} bytes", rondel_dockerfile::MAX_BYTES)));
    }
    let bytes = ops.read(&op_cx, &place).await?;
    String::from_utf8(bytes).map(Some).map_err(|_| Fault::user(format!("`{path}` is no UTF-8 text")))
}

/// The patterns of the ignore file that belongs to the Dockerfile, or else of the context's.
async fn ignore(cx: &ResolverContext, context: &Directory, dockerfile: &AbsPath) -> Result<Vec<String>> {
    let own = AbsPath::new(&format!("{dockerfile}{IGNORE}"));
    let found = match text(cx, context, &own).await? {
        None => text(cx, context, &context.place.path.join(IGNORE)).await?,
        own => own,
    };
    Ok(found.map(|text| rondel_dockerfile::ignore_patterns(&text)).unwrap_or_default())
}

fn build_args(given: &Literal) -> Result<Vec<(String, String)>> {
    let Literal::List(all) = given else { return Ok(Vec::new()) };
    let mut args = Vec::with_capacity(all.len());
    for arg in all {
        let Literal::Object(fields) = arg else { continue };
        let field = |name: &str| match fields.iter().find(|(known, _)| **known == *name) {
            Some((_, Literal::String(text))) => text.to_string(),
            // Clients leave out empty values.
            _ => String::new(),
        };
        let name = field("name");
        if name.is_empty() {
            return Err(Fault::user("a build argument needs a `name`"));
        }
        args.push((name, field("value")));
    }
    Ok(args)
}

/// Secrets by name. A provider's secret is found by its address and by the last part of that.
async fn secrets(args: &Args) -> Result<Vec<Secret>> {
    let mut all = Vec::new();
    for node in args.objects("secrets").await? {
        let secret = node.get::<SecretRef>()?.clone();
        let mut names = vec![secret.name.to_string(), secret.uri.to_string()];
        names.extend(secret.uri.rsplit(['/', ':']).next().map(ToOwned::to_owned));
        names.retain(|name| !name.is_empty());
        all.push(Secret { names, secret });
    }
    Ok(all)
}

/// The socket of an SSH agent, in views that have the argument.
async fn ssh(args: &Args) -> Result<Option<SocketRef>> {
    if args.field().arg("ssh").is_none() {
        return Ok(None);
    }
    let socket = args.opt_object("ssh").await?;
    socket.map(|node| node.get::<SocketRef>().cloned()).transpose()
}

async fn answer(cx: &ResolverContext, need: &Need, auth: &Table<RegistryAuth>) -> Result<Base> {
    match need {
        Need::Image { reference, platform } => image(cx, reference, platform, auth).await,
        Need::Http { url, checksum } => http(cx, url, checksum.as_deref()).await,
        Need::Git { .. } => git(cx, need).await,
    }
}

async fn image(cx: &ResolverContext, reference: &str, platform: &Platform, auth: &Table<RegistryAuth>) -> Result<Base> {
    let reference = image_config::reference(reference)?;
    let (ops, op_cx) = ops_and_context(cx);
    let credentials = credentials::among(&op_cx, auth, &reference).await?;
    let exact = *platform != Platform::native();
    let wanted = RegistryImage { credentials, ..RegistryImage::named(&reference) };
    let image = ops.resolve_image(&op_cx, &wanted, platform, exact).await?;
    let (config, history) = (image_config::configuration(&image)?, image_config::history(&image));
    let platform = image.platform.clone();
    let op = rondel_model::op::ImageOp {
        reference: image.reference,
        platform: image.platform,
        service: None,
        egress: op_cx.egress,
    };
    Ok(Base { place: TreePath { fs: Fs::from(op), path: AbsPath::root() }, config, history, platform })
}

async fn http(cx: &ResolverContext, url: &str, checksum: Option<&str>) -> Result<Base> {
    let file = &crate::types::http::for_a_step(cx, url, checksum.filter(|text| !text.is_empty())).await?;
    let path = AbsPath::root().join_inside(edit::file_name(file));
    let fs = edit::CopySource::file(file).into_tree(Fs::scratch(), path.clone(), false);
    Ok(base(TreePath { fs, path }))
}

async fn git(cx: &ResolverContext, need: &Need) -> Result<Base> {
    let Need::Git { url, reference, directory, keep_git_dir, commit } = need else {
        return Err(Fault::bug("only repositories are asked for here"));
    };
    let repository = select(cx, &Node::root(), "git", vec![("url", inputs::string(url))]).await?;
    let revision = match (reference, commit) {
        (Some(name), _) => select(cx, &repository, "ref", vec![("name", inputs::string(name))]).await?,
        (None, Some(commit)) => select(cx, &repository, "commit", vec![("id", inputs::string(commit))]).await?,
        (None, None) => select(cx, &repository, "head", Vec::new()).await?,
    };
    if let (Some(_), Some(commit)) = (reference, commit) {
        let found = select(cx, &revision, "commit", Vec::new()).await?;
        let rondel_model::Value::String(found) = found.value else {
            return Err(Fault::bug("a commit is no text"));
        };
        if !found.starts_with(&**commit) {
            return Err(Fault::user(format!("`{url}` is at the commit {found}, not at {commit}")));
        }
    }
    let discard = Literal::Bool(!keep_git_dir);
    let tree = select(cx, &revision, "tree", vec![("discardGitDir", discard)]).await?;
    let place = tree.get::<Directory>()?.place.clone();
    Ok(base(TreePath { path: place.path.join_inside(directory), fs: place.fs }))
}

fn base(place: TreePath) -> Base {
    Base { place, config: ImageConfig::default(), history: None, platform: Platform::native() }
}
