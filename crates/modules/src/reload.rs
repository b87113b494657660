//! Sources whose configuration was changed: the files that belong to them now, and the modules that they name.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::op::Filter;
use rondel_model::{AbsPath, Fs, FsOp};
use rondel_query::Caller;
use rondel_session::client;

use crate::find::{Location, Lookup, Wanted};
use crate::load::Modules;
use crate::manifest::Maker;
use crate::named::Named;
use crate::source::{ModuleSource, SourceKind, context_patterns};

impl Modules {
    /// `source` with the files that its configuration asks for, and `more` of them, relative to its `dagger.json`. Of a
    /// source that is not on a host, files that did not belong to it before are not known.
    ///
    /// # Errors
    /// When a path leaves the context directory, or a file cannot be read.
    pub(crate) async fn reloaded(
        &self,
        caller: &Arc<Caller>,
        source: &ModuleSource,
        more: &[String],
    ) -> Result<ModuleSource> {
        let me = client(caller)?;
        let ops = &me.services.ops;
        let mut config = source.config.clone();
        config.include.extend_from_slice(more);
        let (include, mut exclude) = context_patterns(&source.root, &config)?;
        let doing = || format!("load the files of module `{}`", source.name());
        let snapshot = match source.kind {
            SourceKind::Local => {
                exclude.push(".git".into());
                let filter = Filter { include, exclude, gitignore: true };
                ops.import_dir(&me.op_cx, source.host_directory(me)?, &filter).await
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

    /// The module that the configuration of `source` names as an SDK, or as the generator of a client.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn tool(
        &self,
        caller: &Arc<Caller>,
        source: &ModuleSource,
        reference: &str,
    ) -> Result<Arc<ModuleSource>> {
        let me = client(caller)?;
        let named = Maker::sdk(reference);
        let found = match crate::find::sdk_place(source.name(), &named, &source.root)? {
            Location::Remote => {
                let reach = Some(Named::by_module(me, source).reach(reference));
                self.in_repository(
                    caller,
                    reference,
                    Lookup { reach, ..Lookup::default() },
                    Wanted::tool(String::new()),
                )
                .await
            }
            Location::Inside(root) if source.kind == SourceKind::Local => {
                let root = source.host_directory(me)?.join(root);
                self.local(caller, Wanted::tool(root)).await
            }
            Location::Inside(root) => {
                let wanted = Wanted::tool(root);
                let wanted = match &source.git {
                    Some(git) => wanted.from(git.clone()),
                    None => wanted,
                };
                self.inside(caller, &source.whole_context(), wanted).await
            }
        };
        let found = found.map_err(|e| e.fault().context(crate::find::sdk_of(source.name(), &named)))?;
        if !found.config_exists() {
            return Err(crate::find::no_sdk(source.name(), &named));
        }
        Ok(found)
    }
}
