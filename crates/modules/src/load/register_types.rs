//! Registration of a module's types: the contracts between the engine and an SDK, and one
//! translator for their results.
//!
//! A process that builds the types acts as the module that is being loaded. The types are read
//! under that module's view, independent of which process built them.

use std::sync::Arc;

use rondel_call::Call;
use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Container, File, Fs, Value};
use rondel_module_model::loaded_module::{EntrypointModule, Module, ModuleValue, Provider, SdkModule};
use rondel_module_model::sdk_contract::{Contract, OUTPUT_PATH, TYPES};
use rondel_module_model::typedef::type_def::{ModuleTypes, TypeDef, TypeDefKind};
use rondel_module_model::typedef::types_json;
use rondel_query::Node;
use rondel_sdk::{Sdk, SourceTypes};
use rondel_session::{ActingModule, Caller, Evaluator, ExecScope, FunctionCall, client};

use crate::call::run::{process, run, title_of_types};
use crate::caller::internal;
use crate::module::load_report::TypesOrigin;
use crate::sdk::entrypoint;
use crate::sdk::runtime::sdk_source;
use crate::sdk::sdk_module::{self, SdkArguments};

/// Types as they were registered.
#[derive(Clone)]
pub struct Registered {
    /// The types.
    pub types: ModuleTypes,
    /// Where they come from.
    pub origin: TypesOrigin,
}

/// The types of `module`, registered by its provider under the module's view. Processes that
/// `caller` starts act as the module.
///
/// # Errors
/// When the provider breaks its contract, or the module's code fails.
pub async fn register(evaluator: &Arc<Evaluator>, caller: &Arc<Caller>, module: &Arc<Module>) -> Result<Registered> {
    let sdk_caller = internal(caller);
    let caller = if let Provider::Builtin(_) = module.provider { caller } else { &sdk_caller };
    let registration = Registration { evaluator, caller, module };
    let types = match &module.provider {
        Provider::None => ModuleTypes::default(),
        Provider::Builtin(sdk) => return registration.source_types(sdk.as_ref()).await,
        Provider::Module(sdk) => match sdk.contract {
            Contract::EmptyCall | Contract::Entrypoint => registration.empty_call().await?,
            Contract::TypesContainer => registration.types_container(sdk).await?,
            Contract::Typed => registration.typed(sdk).await?,
            Contract::Declared => registration.declared(sdk).await?,
            Contract::Document => registration.document(sdk).await?,
        },
        Provider::Entrypoint(entrypoint) => registration.entrypoint(entrypoint).await?,
    };
    Ok(Registered { types, origin: TypesOrigin::Provider })
}

/// The registration of the types of one module.
struct Registration<'a> {
    evaluator: &'a Arc<Evaluator>,
    caller: &'a Arc<Caller>,
    module: &'a Arc<Module>,
}

impl Registration<'_> {
    /// The types as the source declares them. Where it does not decide them, the module's code
    /// runs.
    async fn source_types(&self, sdk: &dyn Sdk) -> Result<Registered> {
        let me = client(self.caller);
        let module = self.module;
        if !me.services.types_from_source && sdk.registers_types() {
            return self.by_code("the engine's configuration says `types-from-source = false`".to_owned()).await;
        }
        let source = sdk_source(&module.source, module.view, &me.services, &module.dependencies);
        let doing = |e: Fault| e.prefixed(format!("read the types of module `{}` from its source", module.name()));
        match sdk.types(&me.services.ops, &me.op_cx, &source).await.map_err(doing)? {
            SourceTypes::Declared(document) => {
                let core = me.services.registry.project(module.view);
                let foreign = |name: &str| module.external_type(&core, name);
                match types_json::translate(&document, module.view, &foreign) {
                    Ok(types) => Ok(Registered { types, origin: TypesOrigin::Source }),
                    // The SDK's own error names the place in the module's code.
                    Err(refused) if sdk.registers_types() => self.by_code(refused.to_string()).await,
                    Err(refused) => Err(doing(refused)),
                }
            }
            SourceTypes::Undecided(why) => self.by_code(why).await,
        }
    }

    /// The types as the module's code registers them.
    async fn by_code(&self, why: String) -> Result<Registered> {
        Ok(Registered { types: self.empty_call().await?, origin: TypesOrigin::Code(why) })
    }

    async fn empty_call(&self) -> Result<ModuleTypes> {
        let call = FunctionCall::new(String::new(), String::new(), "null".to_owned(), Vec::new());
        let (text, _) =
            run(self.evaluator, self.caller, self.module, Arc::new(call)).await.map_err(|e| self.doing(e))?;
        self.of_text(&text, "a call of `returnValue` with the JSON text of the ID of a `Module`").await
    }

    async fn types_container(&self, sdk: &SdkModule) -> Result<ModuleTypes> {
        let node = sdk_module::call(sdk, self.evaluator, self.caller, self.module, TYPES, SdkArguments::default())
            .await
            .map_err(|e| self.doing(e))?;
        let container = node.get::<Container>()?;
        let acting_module = Some(ActingModule::new(self.module.clone()));
        let scope = ExecScope {
            acting_module: acting_module.clone(),
            children_act_as: acting_module,
            adopts: true,
            ..ExecScope::default()
        }
        .into_op_scope();
        let expected =
            format!("a container whose command writes the JSON text of the ID of a `Module` to `{OUTPUT_PATH}`");
        let Some(mut exec) = process(container, scope) else {
            return Err(self.broken(&expected, "a container without a command"));
        };
        exec.workdir = container.workdir();
        exec.title = Some(title_of_types(self.module));
        let me = client(self.caller);
        let mut cx = me.op_cx.clone();
        cx.events = self.caller.events.clone();
        let ops = &me.services.ops;
        let ended = ops.exec(&cx, &Arc::new(exec)).await;
        let ended = ended.map_err(|e| self.doing(e.context("run the types container")))?;
        let output = TreePath { fs: Fs::known(ended.rootfs.clone()), path: AbsPath::new(OUTPUT_PATH) };
        if ops.stat(&cx, &output, true).await?.is_none() {
            return Err(self.broken(&expected, "a container whose command wrote no such file"));
        }
        let read = ops.read(&cx, &output).await;
        let read = read.map_err(|e| self.broken(&expected, &format!("something that cannot be read: {e}")))?;
        self.of_text(&String::from_utf8_lossy(&read), &expected).await
    }

    async fn typed(&self, sdk: &SdkModule) -> Result<ModuleTypes> {
        let node = sdk_module::call(sdk, self.evaluator, self.caller, self.module, TYPES, SdkArguments::default())
            .await
            .map_err(|e| self.doing(e))?;
        let call = node.call.ok_or_else(|| Fault::bug("a module has no call"))?;
        self.of_call(&call, "a `Module` with types").await
    }

    async fn declared(&self, sdk: &SdkModule) -> Result<ModuleTypes> {
        let node = sdk_module::call(sdk, self.evaluator, self.caller, self.module, TYPES, SdkArguments::default())
            .await
            .map_err(|e| self.doing(e))?;
        self.of_list(&node).await
    }

    async fn entrypoint(&self, entrypoint: &EntrypointModule) -> Result<ModuleTypes> {
        let given =
            entrypoint::types(entrypoint, self.evaluator, self.caller, self.module).await.map_err(|e| self.doing(e))?;
        let types = self.of_list(&given).await?;
        if types.objects.iter().filter(|object| object.constructor.is_some()).count() > 1 {
            // Users match on this text; see docs/protocol.md#entrypoints.
            return Err(
                self.broken("one object with a constructor", "several: multiple object constructors are not supported")
            );
        }
        Ok(types)
    }

    /// The types in a list of type definitions.
    async fn of_list(&self, node: &Node) -> Result<ModuleTypes> {
        const EXPECTED: &str = "a list of objects, interfaces and enums";
        let Value::List(items) = &node.value else { return Err(Fault::bug("a list is no list")) };
        let mut types = ModuleTypes::default();
        for index in 0..items.len() {
            let call = node.element(index).and_then(|element| element.call);
            let call = call.ok_or_else(|| Fault::bug("a type definition has no call"))?;
            let node = self.read(&call).await?;
            let ty = node.get::<TypeDef>()?;
            let field = match &ty.kind {
                TypeDefKind::Object(_) => "withObject",
                TypeDefKind::Interface(_) => "withInterface",
                TypeDefKind::Enum(_) => "withEnum",
                _ => return Err(self.broken(EXPECTED, &format!("one with {} in it", ty.shown()))),
            };
            let name = ty.name();
            if types.object(name).is_some() || types.interface(name).is_some() || types.enumeration(name).is_some() {
                return Err(self.broken(EXPECTED, &format!("two types called `{name}`")));
            }
            types = types.with_type(field, ty)?;
        }
        Ok(types)
    }

    async fn document(&self, sdk: &SdkModule) -> Result<ModuleTypes> {
        let node = sdk_module::call(sdk, self.evaluator, self.caller, self.module, TYPES, SdkArguments::default())
            .await
            .map_err(|e| self.doing(e))?;
        let text = match &node.value {
            Value::String(text) => text.to_string(),
            _ => {
                let place = node.get::<File>()?.place.clone();
                let me = client(self.caller);
                let bytes = me.services.ops.read(&me.op_cx, &place).await.map_err(|e| self.doing(e))?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let core = client(self.caller).services.registry.project(self.module.view);
        let foreign = |name: &str| self.module.external_type(&core, name);
        types_json::read(&text, self.module.view, &foreign)
            .map_err(|e| self.broken("a types document", &format!("one that cannot be read: {e}")))
    }

    /// The types of the module whose ID is in the JSON `text`.
    async fn of_text(&self, text: &str, expected: &str) -> Result<ModuleTypes> {
        let shown = || match text.trim() {
            "" => "nothing".to_owned(),
            text => text.chars().take(80).collect(),
        };
        let id: String = serde_json::from_str(text)
            .map_err(|_| self.broken(expected, &format!("something that is no JSON string: {}", shown())))?;
        let call = self
            .evaluator
            .decode(&id)
            .map_err(|_| self.broken(expected, &format!("something that is no ID: {}", shown())))?;
        self.of_call(&call, expected).await
    }

    async fn of_call(&self, call: &Arc<Call>, expected: &str) -> Result<ModuleTypes> {
        let node = self.read(call).await?;
        match node.value.get::<ModuleValue>() {
            Some(ModuleValue { loaded: None, types }) => Ok(types.as_ref().clone()),
            Some(_) => Err(self.broken(expected, "a module that was loaded from a source")),
            None => Err(self.broken(expected, &format!("the ID of a `{}`", node.type_name()))),
        }
    }

    /// Evaluates a call recipe under the module's view, independent of the view it was written
    /// under.
    async fn read(&self, call: &Arc<Call>) -> Result<Node> {
        let view: Arc<str> = self.module.view.to_string().into();
        let call = self.evaluator.received(self.caller, &call.seen_under(&view));
        self.evaluator.load(self.caller, &call).await.map_err(|e| self.doing(e))
    }

    fn doing(&self, fault: Fault) -> Fault {
        let doing = format!("find out the types of module `{}` {}", self.module.name(), self.by());
        // What happens between the engine and its own SDK tells the author of a module nothing.
        match &self.module.provider {
            Provider::Builtin(_) => fault.prefixed(doing),
            _ => fault.context(doing),
        }
    }

    /// The provider and the contract, for messages.
    fn by(&self) -> String {
        format!("from {} ({})", self.module.provider_label(), self.module.contract())
    }

    fn broken(&self, expected: &str, came: &str) -> Fault {
        let (maker, contract) = (self.module.provider_label(), self.module.contract());
        Fault::user(format!(
            "{maker} broke the contract \"{contract}\" for module `{}`: expected {expected}, got {came}",
            self.module.name()
        ))
        .with_hint(format!("this is for its author: docs/sdk-authors.md describes \"{contract}\""))
    }
}
