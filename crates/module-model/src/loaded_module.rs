//! Loaded modules as data: the module, its provider, and the objects that its functions return.

use std::sync::Arc;

use rondel_call::{Call, CallSpec, Literal, ModuleRef};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_gql::types::{FieldDef, Schema, TypeDef as GraphqlType};
use rondel_model::Container;
use rondel_query::Node;
use rondel_sdk::Sdk;
use rondel_version::View;
use tokio::sync::OnceCell;

use crate::config::module_config::caches_by_default;
use crate::names::field_name;
use crate::sdk_contract::{Contract, TYPES};
use crate::source::module_source::{ModuleSource, SourceRole};
use crate::typedef::external_types::{self, ExternalType};
use crate::typedef::type_def::{CachePolicy, Function, ModuleTypes, ObjectDef};

/// The internal field of a module source that gives the module, for every caller.
pub const FIELD: &str = "_asModule";
/// The experimental feature that lets the code of a module see the module's own types.
const SELF_CALLS: &str = "SELF_CALLS";

/// A loaded module.
pub struct Module {
    /// The source that it was loaded from.
    pub source: Arc<ModuleSource>,
    /// The API version that its code sees.
    pub view: View,
    /// Its types as they are served. Empty until they are registered.
    pub types: Arc<ModuleTypes>,
    /// The modules that it depends on.
    pub dependencies: Vec<Arc<Module>>,
    /// The dependencies that cannot be loaded, and the reasons.
    pub broken: Vec<(String, Fault)>,
    /// The identity of the module's behaviour. Modules with equal implementations share results.
    pub implementation: Digest,
    /// What makes its runtime and registers its types.
    pub provider: Provider,
    /// The container that serves its functions, once it was made.
    pub runtime: Arc<OnceCell<Container>>,
}

/// What makes the runtime of a module and registers its types.
#[derive(Clone)]
pub enum Provider {
    /// None: the module has no code of its own.
    None,
    /// A built-in SDK.
    Builtin(Arc<dyn Sdk>),
    /// A module as SDK.
    Module(Arc<SdkModule>),
    /// A module that serves the function calls itself.
    Entrypoint(Arc<EntrypointModule>),
}

impl Provider {
    /// The version of the provider, which is part of the module's implementation.
    pub fn version(&self) -> Option<String> {
        match self {
            Provider::None => None,
            Provider::Builtin(sdk) => Some(sdk.version().to_owned()),
            Provider::Module(sdk) => Some(sdk.module.implementation.to_string()),
            Provider::Entrypoint(entrypoint) => Some(entrypoint.module.implementation.to_string()),
        }
    }
}

/// A module as another module's SDK.
pub struct SdkModule {
    /// The module that is the SDK.
    pub module: Arc<Module>,
    /// The reference in the other module's configuration.
    pub name: String,
    /// The contract by which it registers types.
    pub contract: Contract,
    /// The field of the root type that constructs its main object.
    pub constructor: Option<Arc<FieldDef>>,
    /// The GraphQL type of its main object.
    pub main: Option<Arc<GraphqlType>>,
    /// The arguments of `withConfig`, if it is configured.
    pub config: Option<Vec<(Arc<str>, Literal)>>,
}

/// A module as another module's entrypoint.
pub struct EntrypointModule {
    /// The module that is the entrypoint.
    pub module: Arc<Module>,
    /// The reference in the other module's configuration.
    pub name: String,
    /// The field of the root type that constructs its main object.
    pub constructor: Arc<FieldDef>,
    /// The field that registers types.
    pub types: Arc<FieldDef>,
    /// The type of its main object.
    pub main: Arc<ObjectDef>,
    /// The function that serves function calls.
    pub call: Arc<Function>,
}

/// An object of a module: its type, and its state as the module's code returned it, private fields
/// included.
#[derive(Clone)]
pub struct ModuleObject {
    /// The module.
    pub module: Arc<Module>,
    /// The type.
    pub def: Arc<ObjectDef>,
    /// The state, by the module's own names.
    pub state: Arc<serde_json::Map<String, serde_json::Value>>,
}

/// A `Module` of the API: one that is being described by its builder, or a loaded one.
#[derive(Clone)]
pub struct ModuleValue {
    /// Its types.
    pub types: Arc<ModuleTypes>,
    /// The loaded module. `None` while a module is being described.
    pub loaded: Option<Arc<Module>>,
}

/// A module that is served to a client.
#[derive(Clone)]
pub struct ServedModule {
    /// The module.
    pub module: Arc<Module>,
    /// Whether its constructor is a field of the root type.
    pub constructor: bool,
    /// Whether the functions of its main object are fields of the root type.
    pub entrypoint: bool,
}

/// How long and where results of a function may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultLifetime {
    /// Across sessions, for a number of seconds if there is one.
    Persistent(Option<u64>),
    /// Within one session.
    Session,
    /// Never.
    Never,
}

impl Module {
    /// The name under which it is served.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The call that gives it.
    pub fn call(&self) -> Arc<Call> {
        Call::new(Some(self.source.call()), CallSpec::new("Module", FIELD))
    }

    /// The SDK as the module's configuration names it.
    pub fn sdk_name(&self) -> &str {
        self.source.config.sdk.as_ref().map(|sdk| sdk.source.as_str()).unwrap_or_default()
    }

    /// Whether code is generated for the module with its own types. The module must ask for it, and
    /// its SDK must be able to register types before there is code. See
    /// docs/protocol.md#what-a-modules-code-sees.
    pub fn calls_itself(&self) -> bool {
        self.wants_itself() && !self.types.objects.is_empty()
    }

    /// The same, whether or not its types are known already.
    pub fn wants_itself(&self) -> bool {
        let sdk = self.source.config.sdk.as_ref();
        let asked = sdk.and_then(|sdk| sdk.experimental.get(SELF_CALLS)).and_then(serde_json::Value::as_bool);
        let able = matches!(&self.provider, Provider::Module(sdk) if sdk.has(TYPES));
        asked == Some(true) && able
    }

    /// What registers its types, for messages: the SDK, or the entrypoint.
    pub fn provider_label(&self) -> String {
        match &self.provider {
            Provider::Entrypoint(entrypoint) => format!("the entrypoint `{}`", entrypoint.name),
            _ => format!("the SDK `{}`", self.sdk_name()),
        }
    }

    /// The contract by which its types are registered.
    pub fn contract(&self) -> Contract {
        match &self.provider {
            Provider::Module(sdk) => sdk.contract,
            Provider::Entrypoint(_) => Contract::Entrypoint,
            Provider::None | Provider::Builtin(_) => Contract::EmptyCall,
        }
    }

    /// The reference to the module in calls of its functions.
    pub fn reference(&self) -> ModuleRef {
        ModuleRef { module: self.call(), implementation: self.implementation }
    }

    /// Its main object.
    pub fn main(&self) -> Option<&Arc<ObjectDef>> {
        self.types.object(&crate::names::type_name(self.name()))
    }

    /// The name of the field of the root type that constructs its main object.
    pub fn constructor_name(&self) -> String {
        field_name(self.name())
    }

    /// How long and where results of `function` may be reused.
    pub fn lifetime(&self, function: &Function) -> ResultLifetime {
        if self.source.config.sdk.as_ref().is_some_and(|sdk| sdk.debug) {
            return ResultLifetime::Never;
        }
        let disabled = match self.source.role {
            SourceRole::Sdk => Some(false),
            SourceRole::Module => self.source.config.disable_default_function_caching,
        };
        match function.cache {
            CachePolicy::Never => ResultLifetime::Never,
            CachePolicy::PerSession => ResultLifetime::Session,
            CachePolicy::Default(seconds) => ResultLifetime::Persistent(seconds),
            CachePolicy::Unsaid if !disabled.unwrap_or(!caches_by_default(self.view)) => {
                ResultLifetime::Persistent(None)
            }
            CachePolicy::Unsaid => ResultLifetime::Session,
        }
    }
}

impl SdkModule {
    /// Whether the SDK has the function.
    pub fn has(&self, function: &str) -> bool {
        self.module.main().is_some_and(|main| main.functions.iter().any(|known| known.name == function))
    }
}

impl Module {
    /// The module without its types, as its SDK sees it.
    pub fn partial(&self) -> Module {
        self.of_source(self.source.as_ref().clone())
    }

    /// The module with another source and without its types.
    pub fn of_source(&self, source: ModuleSource) -> Module {
        Module {
            source: Arc::new(source),
            view: self.view,
            types: Arc::default(),
            dependencies: self.dependencies.clone(),
            broken: self.broken.clone(),
            implementation: self.implementation,
            provider: self.provider.clone(),
            runtime: self.runtime.clone(),
        }
    }

    /// The type called `name` that the module can see and does not own. `core` is the API that it
    /// sees.
    pub fn external_type(&self, core: &Schema, name: &str) -> Option<ExternalType> {
        let dependencies = self.dependencies.iter().map(|module| (module.name(), &*module.types));
        external_types::find(dependencies, core, name)
    }

    /// The modules whose types those of this module mention, and this module last.
    pub fn with_dependencies(self: &Arc<Self>) -> impl Iterator<Item = Arc<Self>> + use<> {
        self.dependencies.clone().into_iter().chain([self.clone()])
    }
}

/// The loaded module of a `Module` object.
pub fn module_of(node: &Node) -> Result<Arc<Module>> {
    let value = node.get::<ModuleValue>()?;
    value.loaded.clone().ok_or_else(|| Fault::user("the module was described, not loaded: it has no source"))
}
