//! The interface of an SDK: the source of a module in, the container that serves its functions out.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_fault::Result;
use rondel_gql::types::Schema;
use rondel_model::{Container, Directory, SecretRef, SocketRef};
use rondel_ops::{OpContext, Ops};
use rondel_typescan::SourceTypes;
use rondel_version::View;

/// The source of a module, as an SDK needs it.
pub struct SdkSource {
    /// The module's name in `dagger.json`.
    pub name: String,
    /// The files of the module, laid out as in the context directory.
    pub context: Directory,
    /// The folder of `dagger.json`, relative to the context directory.
    pub root: String,
    /// The folder of the code, relative to the context directory.
    pub source: String,
    /// The API version that the module sees.
    pub view: View,
    /// The module has no configuration file yet: code is generated for a new module.
    pub is_new: bool,
    /// The API as the module's code sees it, without other modules.
    pub core: Arc<Schema>,
    /// The API with the dependencies of the module.
    pub schema: Arc<Schema>,
    /// The configuration of the SDK in `dagger.json`.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Variables of the engine's own environment for builds.
    pub build_variables: Vec<(String, String)>,
    /// The `url.BASE.insteadOf` settings of the client's git: the name and the value. None unless
    /// [`Sdk::uses_client_git`].
    pub git_rewrites: Vec<(SecretRef, String)>,
    /// The client's SSH agent, on the same condition.
    pub ssh_agent: Option<SocketRef>,
}

/// Files that an SDK adds to the source of a module. Paths are relative to the folder of the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeneratedFiles {
    /// Paths and contents.
    pub files: Vec<(String, String)>,
    /// Paths that are marked as generated in `.gitattributes`.
    pub generated: Vec<String>,
    /// Paths that are added to `.gitignore`.
    pub ignored: Vec<String>,
}

/// An SDK: turns the source of a module into a runtime.
pub trait Sdk: Send + Sync {
    /// The version of the SDK, which is part of every module's identity.
    fn version(&self) -> &'static str;

    /// The keys that the SDK's configuration may have.
    fn config_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the module's build uses the git settings and the SSH agent of the client.
    fn uses_client_git(&self, _: &SdkSource) -> bool {
        false
    }

    /// Whether generated code has bindings of the module's dependencies, which then are loaded.
    fn generates_bindings(&self) -> bool {
        false
    }

    /// The types of the module as its source declares them. Nothing runs. Changing the result
    /// changes [`Sdk::version`].
    ///
    /// # Errors
    /// When the source cannot be read, or declares what cannot be a type.
    fn types<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<SourceTypes>>;

    /// Whether a call of the runtime that names no function registers the types.
    fn registers_types(&self) -> bool {
        false
    }

    /// The container whose entrypoint serves the module's functions.
    ///
    /// # Errors
    /// When the project's configuration is invalid, or the base image is not found.
    fn runtime<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<Container>>;

    /// The files to add to the source: generated code, and a starter if there is no code.
    ///
    /// # Errors
    /// When the project's configuration is invalid.
    fn codegen<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<GeneratedFiles>>;
}
