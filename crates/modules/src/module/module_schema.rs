//! GraphQL types of a module, and the extension of a client's schema by them.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::Fault;
use rondel_gql::Value as Constant;
use rondel_gql::types::{
    AppliedDirective, ArgDef, EnumValue, FieldDef as Field, Fields, Name, Schema, TypeDef as Type, TypeKind, TypeRef,
};
use rondel_model::Value;
use rondel_module_model::loaded_module::{Module, ModuleObject};
use rondel_module_model::typedef::type_def::{
    CachePolicy, EnumDef, FieldDef, Function, FunctionArg, InterfaceDef, ObjectDef, SourceMap, TypeDef, TypeDefKind,
};
use rondel_query::{CacheScope, Node, Outcome};
use rondel_session::{Evaluator, Resolver, ResolverContext};
use serde_json::Value as Json;

use crate::module::function_target::FunctionTarget;
use crate::module::interface_conformance::{TypesByName, conforming, conforms};

/// The GraphQL types that a module adds to a schema.
#[derive(Clone)]
pub struct ModuleSchema {
    /// The module.
    pub module: Arc<Module>,
    /// Its types.
    pub types: Vec<Arc<Type>>,
    /// The field of the root type that constructs its main object.
    pub constructor: Option<Arc<Field>>,
}

/// What a served module adds to a schema.
pub struct SchemaPart {
    /// The types that it adds.
    pub schema: Arc<ModuleSchema>,
    /// Whether its constructor is a field of the root type.
    pub constructor: bool,
    /// Whether the functions of its main object are fields of the root type.
    pub entrypoint: bool,
}

/// Makes the resolvers of a module's fields. Passed in, so that the types of a module do not depend
/// on function calls.
pub trait FieldResolvers {
    /// The resolver of a function or a constructor.
    fn function(&self, target: FunctionTarget) -> Resolver;

    /// The resolver of a data field.
    fn data(&self, module: &Arc<Module>, object: &Arc<ObjectDef>, field: &FieldDef) -> Resolver;

    /// The resolver of an implicit constructor. It gives an object without state of the type
    /// `returns`.
    fn empty_object(&self, module: &Arc<Module>, returns: &TypeDef) -> Resolver;
}

/// Resolvers for schemas whose fields are never evaluated.
struct Unevaluated;

impl Unevaluated {
    fn resolver() -> Resolver {
        Resolver::new(|_, _, _| {
            std::future::ready(Err::<Outcome, _>(Fault::bug("a field of a schema without resolvers was selected")))
        })
    }
}

impl FieldResolvers for Unevaluated {
    fn function(&self, _: FunctionTarget) -> Resolver {
        Self::resolver()
    }

    fn data(&self, _: &Arc<Module>, _: &Arc<ObjectDef>, _: &FieldDef) -> Resolver {
        Self::resolver()
    }

    fn empty_object(&self, _: &Arc<Module>, _: &TypeDef) -> Resolver {
        Self::resolver()
    }
}

impl ModuleSchema {
    /// The types of `module`, with fields that `resolvers` evaluates.
    pub fn new(module: &Arc<Module>, resolvers: &dyn FieldResolvers) -> Arc<Self> {
        let types = &module.types;
        let mut all = Vec::new();
        all.extend(types.objects.iter().map(|def| Arc::new(object(module, def, resolvers))));
        all.extend(types.interfaces.iter().map(|def| Arc::new(interface(module, def))));
        all.extend(types.enums.iter().map(|def| Arc::new(enumeration(module, def))));
        let constructor = module.main().map(|main| constructor(module, main, resolvers));
        Arc::new(Self { module: module.clone(), types: all, constructor })
    }

    /// The types of `module` without resolvers, for schema texts and for comparing types.
    pub fn shape(module: &Arc<Module>) -> Arc<Self> {
        Self::new(module, &Unevaluated)
    }

    /// The field `name` of the type `parent`.
    pub fn field(&self, parent: &str, name: &str) -> Option<Arc<Field>> {
        if parent == "Query" {
            if name == "with" {
                return entry_fields(self).into_iter().find(|field| &*field.name == "with");
            }
            return self.constructor.clone().filter(|field| &*field.name == name);
        }
        self.types.iter().find(|ty| &*ty.name == parent)?.field(name).cloned()
    }
}

/// The extension of `base` by `parts`.
pub fn extension(base: &Schema, parts: &[SchemaPart]) -> rondel_schema::Extension {
    let mut extension =
        rondel_schema::Extension { legacy_load: Some(rondel_surface::legacy_load()), ..Default::default() };
    for module in parts {
        extension.types.extend(module.schema.types.iter().cloned());
        if module.constructor {
            extension.query_fields.extend(module.schema.constructor.clone());
        }
    }
    for module in parts.iter().filter(|module| module.entrypoint) {
        extension.query_fields.extend(entry_fields(&module.schema));
    }
    extension.implements = implementations(base, &extension.types);
    extension
}

/// The pairs of object and interface that conform, for the interfaces among `types`.
fn implementations(base: &Schema, types: &[Arc<Type>]) -> Vec<(Name, Name)> {
    let is_interface = |ty: &&Arc<Type>| matches!(ty.kind, TypeKind::Interface(_));
    let interfaces: Vec<&Name> = types.iter().filter(is_interface).map(|ty| &ty.name).collect();
    if interfaces.is_empty() {
        return Vec::new();
    }
    let all = base.types.values().chain(types).map(|ty| (&*ty.name, &**ty)).collect();
    conforming(&all, &base.query, &interfaces)
}

fn object(module: &Arc<Module>, def: &Arc<ObjectDef>, resolvers: &dyn FieldResolvers) -> Type {
    let mut fields = vec![id_field(module, &def.name)];
    fields.extend(def.fields.iter().map(|field| getter(module, def, field, resolvers)));
    fields.extend(def.functions.iter().map(|function| method(module, def, function, resolvers)));
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let kind = TypeKind::Object(Fields::new(fields, vec!["Node".into()]));
    described(module, &def.name, &def.description, def.source_map.as_ref(), kind)
}

fn interface(module: &Arc<Module>, def: &InterfaceDef) -> Type {
    let resolver = Resolver::new(|_, node: Node, _| {
        let fault = Fault::bug(format!("an interface was selected on a value of type `{}`", node.type_name()));
        std::future::ready(Err::<Outcome, _>(fault))
    });
    let of = |function: &Arc<Function>| field_of(module, function, &function.name, resolver.clone());
    let mut fields = vec![id_field(module, &def.name)];
    fields.extend(def.functions.iter().map(of));
    let kind = TypeKind::Interface(Fields::new(fields, vec!["Node".into()]));
    described(module, &def.name, &def.description, def.source_map.as_ref(), kind)
}

fn enumeration(module: &Arc<Module>, def: &EnumDef) -> Type {
    let member = |member: &rondel_module_model::typedef::type_def::EnumMember| {
        let mut directives = located(module, member.source_map.as_ref());
        if member.value != member.name {
            directives.push(directive("enumValue", [("value", Constant::string(&*member.value))]));
        }
        Arc::new(EnumValue {
            name: (*member.name).into(),
            description: (*member.description).into(),
            deprecated: member.deprecated.as_deref().map(Name::from),
            alias_of: None,
            hidden: false,
            directives,
        })
    };
    let kind = TypeKind::Enum(def.members.iter().map(member).collect());
    described(module, &def.name, &def.description, def.source_map.as_ref(), kind)
}

fn described(module: &Module, name: &str, description: &str, place: Option<&SourceMap>, kind: TypeKind) -> Type {
    Type { name: name.into(), description: description.into(), kind, directives: located(module, place) }
}

fn id_field(module: &Module, ty: &str) -> Arc<Field> {
    let mut resolver = Resolver::new(rondel_surface::surface::id).cache_scope(CacheScope::Uncached);
    resolver.module = Some(module.reference());
    Arc::new(Field {
        name: "id".into(),
        description: format!("A unique identifier of this {ty}.").into(),
        args: Vec::new(),
        ty: TypeRef::NonNull(Box::new(TypeRef::Named("ID".into()))),
        deprecated: None,
        directives: vec![directive("expectedType", [("name", Constant::string(ty))])],
        resolver: resolver.erased(),
    })
}

fn getter(
    module: &Arc<Module>,
    object: &Arc<ObjectDef>,
    field: &FieldDef,
    resolvers: &dyn FieldResolvers,
) -> Arc<Field> {
    let mut resolver = resolvers.data(module, object, field);
    resolver.module = Some(module.reference());
    Arc::new(Field {
        name: (*field.name).into(),
        description: (*field.description).into(),
        args: Vec::new(),
        ty: type_ref(&field.type_def, false),
        deprecated: field.deprecated.as_deref().map(Name::from),
        directives: located(module, field.source_map.as_ref()),
        resolver: resolver.erased(),
    })
}

fn method(
    module: &Arc<Module>,
    object: &Arc<ObjectDef>,
    function: &Arc<Function>,
    resolvers: &dyn FieldResolvers,
) -> Arc<Field> {
    let target = FunctionTarget { module: module.clone(), object: object.clone(), function: function.clone() };
    field_of(module, function, &function.name, resolvers.function(target))
}

fn constructor(module: &Arc<Module>, main: &Arc<ObjectDef>, resolvers: &dyn FieldResolvers) -> Arc<Field> {
    let name = module.constructor_name();
    if let Some(function) = &main.constructor {
        let target = FunctionTarget { module: module.clone(), object: main.clone(), function: function.clone() };
        return field_of(module, function, &name, resolvers.function(target));
    }
    let function = Function {
        description: main.description.clone(),
        returns: TypeDef::of(TypeDefKind::Object(main.clone())),
        ..Function::default()
    };
    let mut resolver = resolvers.empty_object(module, &function.returns);
    resolver.module = Some(module.reference());
    field_of(module, &function, &name, resolver)
}

fn field_of(module: &Module, function: &Function, name: &str, resolver: Resolver) -> Arc<Field> {
    let mut directives = located(module, function.source_map.as_ref());
    for (given, name) in [(function.check, "check"), (function.generator, "generate"), (function.up, "up")] {
        if given {
            directives.push(directive(name, []));
        }
    }
    directives.extend(cache_directive(function.cache));
    Arc::new(Field {
        name: name.into(),
        description: (*function.description).into(),
        args: function.args.iter().map(|arg| Arc::new(argument(module, arg))).collect(),
        ty: type_ref(&function.returns, false),
        deprecated: function.deprecated.as_deref().map(Name::from),
        directives,
        resolver: resolver.erased(),
    })
}

fn cache_directive(policy: CachePolicy) -> Option<AppliedDirective> {
    let member = |name: &str| ("policy", Constant::Enum(name.into()));
    match policy {
        CachePolicy::Unsaid | CachePolicy::Default(None) => None,
        CachePolicy::Default(Some(seconds)) => {
            Some(directive("cache", [member("Default"), ("ttl", Constant::string(format!("{seconds}s")))]))
        }
        CachePolicy::PerSession => Some(directive("cache", [member("PerSession")])),
        CachePolicy::Never => Some(directive("cache", [member("Never")])),
    }
}

fn argument(module: &Module, arg: &FunctionArg) -> ArgDef {
    let mut directives = located(module, arg.source_map.as_ref());
    if let TypeDefKind::Object(_) | TypeDefKind::Interface(_) = &arg.type_def.base().kind {
        directives.push(directive("expectedType", [("name", Constant::string(arg.type_def.base().name()))]));
        // Clients use the first `expectedType` directive.
        directives.rotate_right(1);
    }
    if let Some(path) = &arg.default_path {
        directives.push(directive("defaultPath", [("path", Constant::string(&**path))]));
    }
    if let Some(address) = &arg.default_address {
        directives.push(directive("defaultAddress", [("address", Constant::string(&**address))]));
    }
    if !arg.ignore.is_empty() {
        let patterns = arg.ignore.iter().map(|pattern| Constant::string(&**pattern)).collect();
        directives.push(directive("ignorePatterns", [("patterns", Constant::List(patterns))]));
    }
    let json = arg.default_value.as_deref().and_then(|text| serde_json::from_str::<Json>(text).ok());
    ArgDef {
        name: (*arg.name).into(),
        description: (*arg.description).into(),
        ty: type_ref(&arg.type_def, true),
        default: json.map(|json| constant(module, &arg.type_def, &json)),
        deprecated: arg.deprecated.as_deref().map(Name::from),
        directives,
        hidden: false,
    }
}

/// A default value as a constant of the schema. Enum members get their names in the API.
pub fn constant(module: &Module, ty: &TypeDef, json: &Json) -> Constant {
    match (&ty.kind, json) {
        (_, Json::Null) => Constant::Null,
        (TypeDefKind::List(element), Json::Array(items)) => {
            Constant::List(items.iter().map(|item| constant(module, element, item)).collect())
        }
        (TypeDefKind::Enum(def), Json::String(text)) => {
            let own = module.types.enumeration(&def.name).and_then(|def| def.member(text));
            Constant::Enum(own.map_or(text.as_str(), |member| &member.name).into())
        }
        (TypeDefKind::Float, Json::Number(number)) => Constant::Float(number.as_f64().unwrap_or_default()),
        (_, Json::Bool(value)) => Constant::Bool(*value),
        (_, Json::Number(number)) => match number.as_i64() {
            Some(number) => Constant::Int(number),
            None => Constant::Float(number.as_f64().unwrap_or_default()),
        },
        (TypeDefKind::Scalar(def), other) if def.name == "JSON" && !other.is_string() => {
            Constant::string(other.to_string())
        }
        (_, Json::String(text)) => Constant::string(&**text),
        (_, Json::Array(items)) => {
            Constant::List(items.iter().map(|item| constant(module, &TypeDef::default(), item)).collect())
        }
        (_, Json::Object(fields)) => {
            let fields =
                fields.iter().map(|(name, value)| (name.as_str().into(), constant(module, &TypeDef::default(), value)));
            Constant::Object(fields.collect())
        }
    }
}

/// A type in GraphQL syntax. As input, objects are IDs.
pub fn type_ref(ty: &TypeDef, input: bool) -> TypeRef {
    let inner = match &ty.kind {
        TypeDefKind::List(element) => TypeRef::List(Box::new(type_ref(element, input))),
        TypeDefKind::Object(_) | TypeDefKind::Interface(_) if input => TypeRef::Named("ID".into()),
        _ => TypeRef::Named(ty.name().into()),
    };
    if ty.optional || matches!(ty.kind, TypeDefKind::Void) { inner } else { TypeRef::NonNull(Box::new(inner)) }
}

fn located(module: &Module, place: Option<&SourceMap>) -> Vec<AppliedDirective> {
    let Some(place) = place else { return Vec::new() };
    let name = if place.module.is_empty() { module.name() } else { &place.module };
    let args = [
        ("module", Constant::string(name)),
        ("filename", Constant::string(&*place.filename)),
        ("line", Constant::Int(place.line)),
        ("column", Constant::Int(place.column)),
        ("url", Constant::string(&*place.url)),
    ];
    vec![directive("sourceMap", args)]
}

fn directive<const N: usize>(name: &str, args: [(&str, Constant); N]) -> AppliedDirective {
    AppliedDirective { name: name.into(), args: args.into_iter().map(|(name, value)| (name.into(), value)).collect() }
}

/// Whether the object conforms to the interface `interface` of `module`, which the caller's
/// `schema` does not contain.
pub(crate) fn object_conforms(module: &Arc<Module>, schema: &Schema, node: &Node, interface: &str) -> bool {
    let own = node.value.get::<ModuleObject>().map(|object| &object.module);
    let module_schemas: Vec<_> = own
        .into_iter()
        .chain([module])
        .flat_map(Module::with_dependencies)
        .map(|module| ModuleSchema::shape(&module))
        .collect();
    let mut types: TypesByName<'_> = schema.types.values().map(|ty| (&*ty.name, &**ty)).collect();
    types.extend(module_schemas.iter().flat_map(|schema| &schema.types).map(|ty| (&*ty.name, &**ty)));
    conforms(&|name: &str| types.get(name).copied(), node.type_name(), interface)
}

/// Fields of the root type that proxy the functions of the main object. Constructor arguments are
/// given by `with`. A function with the constructor's name is left out.
fn entry_fields(schema: &ModuleSchema) -> Vec<Arc<Field>> {
    let module = &schema.module;
    let (Some(constructor), Some(main)) = (&schema.constructor, module.main()) else { return Vec::new() };
    let Some(ty) = schema.types.iter().find(|ty| *ty.name == *main.name) else { return Vec::new() };
    let own = ty.fields().map(|fields| fields.list.as_slice()).unwrap_or_default();
    let mut fields: Vec<Arc<Field>> = own
        .iter()
        .filter(|field| &*field.name != "id" && field.name != constructor.name)
        .map(|field| proxy(module, constructor, field))
        .collect();
    if !constructor.args.is_empty() {
        fields.push(with_field(module, constructor));
    }
    fields
}

fn proxy(module: &Arc<Module>, constructor: &Arc<Field>, field: &Arc<Field>) -> Arc<Field> {
    let shared = (constructor.clone(), field.clone());
    let mut resolver = Resolver::new(move |cx: ResolverContext, node: Node, _| {
        let (constructor, field) = shared.clone();
        async move {
            let root = Node::root();
            let args = node.value.get::<EntryRoot>().map(|root| root.0.clone()).unwrap_or_default();
            let object = cx.evaluator.select(&cx.caller, &root, &constructor, &args).await?;
            let given: Vec<(Name, Constant)> =
                cx.call.args().iter().map(|(name, value)| (name.clone(), constant_of(&cx.evaluator, value))).collect();
            cx.evaluator.select(&cx.caller, &object, &field, &given).await.map(Outcome::from)
        }
    });
    resolver.cache_scope = CacheScope::SideEffect;
    resolver.module = Some(module.reference());
    Arc::new(Field { resolver: resolver.erased(), ..Field::clone(field) })
}

fn with_field(module: &Arc<Module>, constructor: &Arc<Field>) -> Arc<Field> {
    let mut resolver = Resolver::new(|cx: ResolverContext, _, _| async move {
        let args =
            cx.call.args().iter().map(|(name, value)| (name.clone(), constant_of(&cx.evaluator, value))).collect();
        Ok(Value::object("Query", EntryRoot(args)).into())
    });
    resolver.module = Some(module.reference());
    Arc::new(Field {
        name: "with".into(),
        ty: TypeRef::NonNull(Box::new(TypeRef::Named("Query".into()))),
        resolver: resolver.erased(),
        ..Field::clone(constructor)
    })
}

/// The data of a root object that holds the constructor arguments of the entrypoint module.
struct EntryRoot(Vec<(Name, Constant)>);

/// A literal as a constant of a document.
pub fn constant_of(evaluator: &Evaluator, value: &Literal) -> Constant {
    match value {
        Literal::Null => Constant::Null,
        Literal::Bool(b) => Constant::Bool(*b),
        Literal::Int(i) => Constant::Int(*i),
        Literal::Float(x) => Constant::Float(*x),
        Literal::String(text) => Constant::String(text.clone()),
        Literal::Enum(name) => Constant::Enum(name.clone()),
        Literal::List(items) => Constant::List(items.iter().map(|item| constant_of(evaluator, item)).collect()),
        Literal::Object(fields) => {
            Constant::Object(fields.iter().map(|(name, value)| (name.clone(), constant_of(evaluator, value))).collect())
        }
        Literal::Call(call) => Constant::string(evaluator.encode(call)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rondel_module_model::typedef::builder::Annotations;
    use rondel_module_model::typedef::external_types::{ExternalType, TypeOwner};
    use rondel_module_model::typedef::link_types::{LinkContext, link_types};
    use rondel_module_model::typedef::type_def::ModuleTypes;

    fn ty(name: &str) -> TypeDef {
        TypeDef::default().with_object(name, Annotations::default()).expect("an object")
    }

    fn module() -> Arc<Module> {
        let level = TypeDef::default().with_enum("Level", Annotations::default()).expect("an enum");
        let level =
            level.with_enum_member(rondel_version::ENGINE, "low", "l", Annotations::default()).expect("a member");
        let arg = |name: &str, type_def: TypeDef, default: Option<&str>| FunctionArg {
            original: name.into(),
            type_def,
            default_value: default.map(ToOwned::to_owned),
            ..FunctionArg::default()
        };
        let build = Function::new("build_all", TypeDef::of(TypeDefKind::List(Arc::new(ty("Foo")))))
            .with_arg(arg("the_source", ty("Directory"), None))
            .expect("taken")
            .with_arg(arg("level", level.clone(), Some("\"low\"")))
            .expect("taken")
            .with_arg(arg("count", TypeDef::of(TypeDefKind::Integer).with_optional(true), Some("null")))
            .expect("taken");
        let quack = || Arc::new(Function::new("quack", TypeDef::of(TypeDefKind::String)));
        let duck = TypeDef::default()
            .with_interface("Duck", Annotations::default())
            .and_then(|t| t.with_function(quack()))
            .expect("taken");
        let main = ty("Bar").with_function(Arc::new(build)).and_then(|t| t.with_function(quack())).expect("taken");
        let main = main.with_constructor(
            &Function::new("", ty("Bar")).with_arg(arg("name", TypeDef::of(TypeDefKind::String), None)).expect("taken"),
        );
        let raw = ModuleTypes::default()
            .with_type("withObject", &main.expect("taken"))
            .and_then(|m| m.with_type("withObject", &ty("Foo")));
        let raw = raw
            .and_then(|m| m.with_type("withEnum", &level))
            .and_then(|m| m.with_type("withInterface", &duck))
            .expect("taken");
        let owner =
            |name: &str| (name == "Directory").then(|| ExternalType { owner: TypeOwner::Core, kind: ty(name).kind });
        let types = link_types(&raw, &LinkContext { original: "bar", name: "bar", owner: &owner }).expect("resolves");
        let text: Arc<str> = "{\"name\": \"bar\"}".into();
        let source = rondel_module_model::source::module_source::ModuleSource {
            kind: rondel_module_model::source::module_source::SourceKind::Dir,
            snapshot: rondel_model::Snapshot::empty(),
            base: rondel_model::AbsPath::root(),
            root: String::new(),
            host: String::new(),
            host_seal: "".into(),
            git: None,
            config: rondel_module_model::config::module_config::ModuleConfig::parse(&text, "x").expect("parses"),
            config_text: text,
            renamed: None,
            dependencies: Vec::new(),
            sdk: None,
            role: rondel_module_model::source::module_source::SourceRole::Module,
        };
        Arc::new(Module {
            implementation: source.digest(),
            source: Arc::new(source),
            view: rondel_version::ENGINE,
            types: Arc::new(types),
            dependencies: Vec::new(),
            broken: Vec::new(),
            provider: rondel_module_model::loaded_module::Provider::None,
            runtime: Arc::default(),
        })
    }

    #[test]
    fn what_a_schema_shows() {
        let schema = ModuleSchema::shape(&module());
        let describe = |parent: &str, name: &str| {
            let field = schema.field(parent, name).expect("the field");
            let args: Vec<String> = field
                .args
                .iter()
                .map(|arg| {
                    let default = arg.default.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
                    let expected = arg.expected_type().map(|name| format!("<{name}>")).unwrap_or_default();
                    format!("{}: {}{expected}{default}", arg.name, arg.ty)
                })
                .collect();
            format!("{}({}): {}", field.name, args.join(", "), field.ty)
        };
        assert_eq!(
            describe("Bar", "buildAll"),
            "buildAll(theSource: ID!<Directory>, level: BarLevel! = LOW, count: Int = null): [BarFoo!]!"
        );
        assert_eq!(describe("Query", "bar"), "bar(name: String!): Bar!");
        assert_eq!(describe("Query", "with"), "with(name: String!): Query!");
        assert_eq!(describe("BarDuck", "quack"), "quack(): String!");
        let part = SchemaPart { schema: schema.clone(), constructor: true, entrypoint: true };
        let extension = extension(&Schema::default(), &[part]);
        assert_eq!(extension.implements, [("Bar".into(), "BarDuck".into())]);
        let names: Vec<&str> = extension.query_fields.iter().map(|field| &*field.name).collect();
        assert_eq!(names, ["bar", "buildAll", "quack", "with"]);
        let TypeKind::Enum(members) = &schema.types.iter().find(|ty| &*ty.name == "BarLevel").expect("the enum").kind
        else {
            panic!("no enum")
        };
        assert_eq!(members[0].directives[0].args, [("value".into(), Constant::string("l"))]);
    }
}
