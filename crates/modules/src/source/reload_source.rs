//! Reloading sources after an edit of their configuration: files that now belong to them, and
//! modules that they refer to.

use std::path::Path;
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::op::Filter;
use rondel_model::{AbsPath, Fs, FsOp};
use rondel_module_model::config::provider_ref::ProviderRef;
use rondel_module_model::source::module_source::{ModuleSource, SourceKind};
use rondel_module_model::source::provider_location::{
    ReferenceLocation, locate_provider, provider_not_found, resolving_provider,
};
use rondel_module_model::source::reference::context_patterns;
use rondel_session::{Caller, Client, client};

use crate::source::referrer::Referrer;
use crate::source::resolve_options::ResolveOptions;
use crate::source::resolve_source::{SourceRequest, SourceResolver, empty_context, internal};

impl SourceResolver {
    /// `source` with the files that its configuration selects, and the files `more`, relative to
    /// its `dagger.json`. For a source that is not on a host, files that did not belong to it
    /// before are not available.
    ///
    /// # Errors
    /// When a path leaves the context directory, or a file cannot be read.
    pub(crate) async fn reloaded(
        &self,
        caller: &Arc<Caller>,
        source: &ModuleSource,
        more: &[String],
    ) -> Result<ModuleSource> {
        let me = client(caller);
        let ops = &me.services.ops;
        let mut config = source.config.clone();
        config.include.extend_from_slice(more);
        let (include, mut exclude) = context_patterns(&source.root, &config)?;
        let doing = || format!("load the files of module `{}`", source.name());
        let snapshot = match source.kind {
            SourceKind::Local if ops.ports().host.real(host_directory(me, source)?).is_err() => {
                ops.tree(&me.op_cx, &empty_context(&source.root)).await
            }
            SourceKind::Local => {
                exclude.push(".git".into());
                let filter = Filter { include, exclude, gitignore: true };
                ops.import_dir(&internal(me), host_directory(me, source)?, &filter).await
            }
            _ => {
                let filter = Filter { include, exclude, gitignore: false };
                ops.tree(
                    &me.op_cx,
                    &Fs::new(FsOp::Filter { source: source.whole_context().place, filter: filter.into() }),
                )
                .await
            }
        };
        let base = AbsPath::root();
        Ok(ModuleSource { snapshot: snapshot.map_err(|e| e.context(doing()))?, base, ..source.clone() })
    }

    /// The module that the configuration of `source` names as its SDK or as the generator of a
    /// client.
    ///
    /// # Errors
    /// When there is no such module.
    pub(crate) async fn tool(
        &self,
        caller: &Arc<Caller>,
        source: &ModuleSource,
        reference: &str,
    ) -> Result<Arc<ModuleSource>> {
        let me = client(caller);
        let named = ProviderRef::sdk(reference);
        let found = match locate_provider(source.name(), &named, &source.root)? {
            ReferenceLocation::Remote => {
                let egress = Some(Referrer::of_module(me, source).egress(reference));
                self.in_repository(
                    caller,
                    reference,
                    ResolveOptions { egress, ..ResolveOptions::default() },
                    SourceRequest::tool(String::new()),
                )
                .await
            }
            ReferenceLocation::Inside(root) if source.kind == SourceKind::Local => {
                let root = host_directory(me, source)?.join(root);
                self.local(caller, SourceRequest::tool(root)).await
            }
            ReferenceLocation::Inside(root) => {
                let request = SourceRequest::tool(root);
                let request = match &source.git {
                    Some(git) => request.from(git.clone()),
                    None => request,
                };
                self.inside(caller, &source.whole_context(), request).await
            }
        };
        let found = found.map_err(|e| e.fault().context(resolving_provider(source.name(), &named)))?;
        if !found.config_exists() {
            return Err(provider_not_found(source.name(), &named));
        }
        Ok(found)
    }
}

/// The context directory of `source` on the client's machine.
///
/// # Errors
/// When this engine did not find the module there. A process in a container can write any ID, and
/// could otherwise read any directory of the machine.
pub(crate) fn host_directory<'a>(me: &Client, source: &'a ModuleSource) -> Result<&'a Path> {
    // Comparing MACs of the seals reveals nothing about the seals by its timing.
    let want = me.services.host_seal(&source.host).to_string();
    let [given, want] = [&*source.host_seal, &want].map(|text| me.services.mac(text.as_bytes()));
    if given != want {
        return Err(Fault::denied(format!(
            "cannot read files of module `{}` on the machine: its ID was not made by this engine",
            source.name()
        ))
        .with_hint("load the module again by its path"));
    }
    Ok(Path::new(&source.host))
}
