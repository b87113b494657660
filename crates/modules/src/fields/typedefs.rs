//! `TypeDef` and the definitions that it can hold.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::{Object, Value};
use rondel_module_model::typedef::type_def::{
    EnumDef, EnumMember, FieldDef, Function, InputDef, InterfaceDef, ObjectDef, ScalarDef, SourceMap, TypeDef,
    TypeDefKind,
};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_surface::Surface;

use super::definition::{annotations, optional, source_map_field};

/// The data of a `ListTypeDef`.
struct Element(TypeDef);

pub(super) fn register(surface: &mut Surface) {
    surface.field("Query", "typeDef", |_, _, _| std::future::ready(Ok(value(TypeDef::default()).into())));
    surface.field("Query", "sourceMap", source_map);
    builders(surface);
    readers(surface);
    objects(surface);
    enums(surface);
    surface.plain("SourceMap", "module", |it: &SourceMap, _| Ok(Value::string(&*it.module)));
    surface.plain("SourceMap", "filename", |it: &SourceMap, _| Ok(Value::string(&*it.filename)));
    surface.plain("SourceMap", "line", |it: &SourceMap, _| Ok(Value::Int(it.line)));
    surface.plain("SourceMap", "column", |it: &SourceMap, _| Ok(Value::Int(it.column)));
    surface.plain("SourceMap", "url", |it: &SourceMap, _| Ok(Value::string(&*it.url)));
}

/// A type definition as a value of the API.
pub(super) fn value(ty: TypeDef) -> Value {
    Value::object("TypeDef", ty)
}

fn shared<T: Send + Sync + 'static>(name: &str, data: &Arc<T>) -> Value {
    Value::Object(Object::shared(name, data.clone()))
}

fn functions_value(functions: &[Arc<Function>]) -> Value {
    Value::List(functions.iter().map(|function| shared("Function", function)).collect())
}

async fn source_map(_: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let map = SourceMap {
        filename: args.str("filename")?.to_string(),
        line: args.int("line")?,
        column: args.int("column")?,
        ..SourceMap::default()
    };
    Ok(Value::object("SourceMap", map).into())
}

fn builders(surface: &mut Surface) {
    surface.plain("TypeDef", "withKind", |ty: &TypeDef, args| ty.clone().with_kind(&args.str("kind")?).map(value));
    surface.plain("TypeDef", "withOptional", |ty: &TypeDef, args| {
        Ok(value(ty.clone().with_optional(args.bool("optional")?)))
    });
    surface.plain("TypeDef", "withScalar", |ty: &TypeDef, args| {
        let description = args.opt_str("description")?.unwrap_or_default().to_string();
        ty.clone().with_scalar(&args.str("name")?, description).map(value)
    });
    surface.field("TypeDef", "withListOf", |_, node, args| async move {
        let element = args.object("elementType").await?.get::<TypeDef>()?.clone();
        Ok(value(own(&node)?.with(TypeDefKind::List(Arc::new(element)))).into())
    });
    surface.field("TypeDef", "withObject", |_, node, args| async move {
        Ok(value(own(&node)?.with_object(&args.str("name")?, annotations(&args).await?)?).into())
    });
    surface.field("TypeDef", "withInterface", |_, node, args| async move {
        Ok(value(own(&node)?.with_interface(&args.str("name")?, annotations(&args).await?)?).into())
    });
    surface.field("TypeDef", "withEnum", |_, node, args| async move {
        Ok(value(own(&node)?.with_enum(&args.str("name")?, annotations(&args).await?)?).into())
    });
    surface.field("TypeDef", "withField", |_, node, args| async move {
        let ty = args.object("typeDef").await?.get::<TypeDef>()?.clone();
        Ok(value(own(&node)?.with_field(&args.str("name")?, ty, annotations(&args).await?)?).into())
    });
    surface.field("TypeDef", "withFunction", |_, node, args| async move {
        let function = args.object("function").await?.get::<Function>()?.clone();
        Ok(value(own(&node)?.with_function(Arc::new(function))?).into())
    });
    surface.field("TypeDef", "withConstructor", |_, node, args| async move {
        let function = args.object("function").await?;
        Ok(value(own(&node)?.with_constructor(function.get::<Function>()?)?).into())
    });
    surface.field("TypeDef", "withEnumValue", |_, node, args| async move {
        Ok(value(own(&node)?.with_enum_value(&args.str("value")?, annotations(&args).await?)?).into())
    });
    surface.field("TypeDef", "withEnumMember", |cx: ResolverContext, node, args| async move {
        let given = args.opt_str("value")?.unwrap_or_default();
        Ok(value(own(&node)?.with_enum_member(cx.view, &args.str("name")?, &given, annotations(&args).await?)?).into())
    });
}

fn own(node: &Node) -> Result<TypeDef> {
    node.get::<TypeDef>().cloned()
}

fn readers(surface: &mut Surface) {
    surface.plain("TypeDef", "kind", |ty: &TypeDef, _| {
        let kind = ty.kind_name().ok_or_else(|| rondel_fault::Fault::user("the type has no kind"));
        kind.map(Value::member)
    });
    surface.plain("TypeDef", "optional", |ty: &TypeDef, _| Ok(Value::Bool(ty.optional)));
    surface.plain("TypeDef", "name", |ty: &TypeDef, _| Ok(Value::string(ty.name())));
    surface.plain("TypeDef", "asObject", |ty: &TypeDef, _| {
        Ok(if let TypeDefKind::Object(def) = &ty.kind { shared("ObjectTypeDef", def) } else { Value::Null })
    });
    surface.plain("TypeDef", "asInterface", |ty: &TypeDef, _| {
        Ok(if let TypeDefKind::Interface(def) = &ty.kind { shared("InterfaceTypeDef", def) } else { Value::Null })
    });
    surface.plain("TypeDef", "asEnum", |ty: &TypeDef, _| {
        Ok(if let TypeDefKind::Enum(def) = &ty.kind { shared("EnumTypeDef", def) } else { Value::Null })
    });
    surface.plain("TypeDef", "asInput", |ty: &TypeDef, _| {
        Ok(if let TypeDefKind::Input(def) = &ty.kind { shared("InputTypeDef", def) } else { Value::Null })
    });
    surface.plain("TypeDef", "asScalar", |ty: &TypeDef, _| {
        Ok(if let TypeDefKind::Scalar(def) = &ty.kind { shared("ScalarTypeDef", def) } else { Value::Null })
    });
    surface.plain("TypeDef", "asList", |ty: &TypeDef, _| {
        let element = |def: &Arc<TypeDef>| Value::object("ListTypeDef", Element(def.as_ref().clone()));
        Ok(if let TypeDefKind::List(def) = &ty.kind { element(def) } else { Value::Null })
    });
    surface.plain("ListTypeDef", "elementTypeDef", |it: &Element, _| Ok(value(it.0.clone())));
    surface.plain("ScalarTypeDef", "name", |it: &ScalarDef, _| Ok(Value::string(&*it.name)));
    surface.plain("ScalarTypeDef", "description", |it: &ScalarDef, _| Ok(Value::string(&*it.description)));
    surface.plain("ScalarTypeDef", "sourceModuleName", |it: &ScalarDef, _| Ok(Value::string(&*it.source_module)));
    surface.plain("InputTypeDef", "name", |it: &InputDef, _| Ok(Value::string(&*it.name)));
    surface.plain("InputTypeDef", "fields", |it: &InputDef, _| Ok(fields_value(&it.fields)));
}

fn fields_value(fields: &[FieldDef]) -> Value {
    Value::List(fields.iter().map(|field| Value::object("FieldTypeDef", field.clone())).collect())
}

fn objects(surface: &mut Surface) {
    surface.plain("ObjectTypeDef", "name", |it: &ObjectDef, _| Ok(Value::string(&*it.name)));
    surface.plain("ObjectTypeDef", "description", |it: &ObjectDef, _| Ok(Value::string(&*it.description)));
    source_map_field(surface, "ObjectTypeDef", |it: &ObjectDef| it.source_map.as_ref());
    surface.plain("ObjectTypeDef", "deprecated", |it: &ObjectDef, _| Ok(optional(it.deprecated.as_deref())));
    surface.plain("ObjectTypeDef", "sourceModuleName", |it: &ObjectDef, _| Ok(Value::string(&*it.source_module)));
    surface.plain("ObjectTypeDef", "fields", |it: &ObjectDef, _| Ok(fields_value(&it.fields)));
    surface.plain("ObjectTypeDef", "functions", |it: &ObjectDef, _| Ok(functions_value(&it.functions)));
    surface.plain("ObjectTypeDef", "constructor", |it: &ObjectDef, _| {
        Ok(it.constructor.as_ref().map_or(Value::Null, |function| shared("Function", function)))
    });
    surface.plain("InterfaceTypeDef", "name", |it: &InterfaceDef, _| Ok(Value::string(&*it.name)));
    surface.plain("InterfaceTypeDef", "description", |it: &InterfaceDef, _| Ok(Value::string(&*it.description)));
    source_map_field(surface, "InterfaceTypeDef", |it: &InterfaceDef| it.source_map.as_ref());
    surface.plain("InterfaceTypeDef", "sourceModuleName", |it: &InterfaceDef, _| Ok(Value::string(&*it.source_module)));
    surface.plain("InterfaceTypeDef", "functions", |it: &InterfaceDef, _| Ok(functions_value(&it.functions)));
    surface.plain("FieldTypeDef", "name", |it: &FieldDef, _| Ok(Value::string(&*it.name)));
    surface.plain("FieldTypeDef", "description", |it: &FieldDef, _| Ok(Value::string(&*it.description)));
    surface.plain("FieldTypeDef", "typeDef", |it: &FieldDef, _| Ok(value(it.type_def.clone())));
    source_map_field(surface, "FieldTypeDef", |it: &FieldDef| it.source_map.as_ref());
    surface.plain("FieldTypeDef", "deprecated", |it: &FieldDef, _| Ok(optional(it.deprecated.as_deref())));
}

fn enums(surface: &mut Surface) {
    let members = |it: &EnumDef, _: &Args| {
        Ok(Value::List(it.members.iter().map(|member| Value::object("EnumValueTypeDef", member.clone())).collect()))
    };
    surface.plain("EnumTypeDef", "name", |it: &EnumDef, _| Ok(Value::string(&*it.name)));
    surface.plain("EnumTypeDef", "description", |it: &EnumDef, _| Ok(Value::string(&*it.description)));
    source_map_field(surface, "EnumTypeDef", |it: &EnumDef| it.source_map.as_ref());
    surface.plain("EnumTypeDef", "sourceModuleName", |it: &EnumDef, _| Ok(Value::string(&*it.source_module)));
    surface.plain("EnumTypeDef", "members", members);
    surface.plain("EnumTypeDef", "values", members);
    surface.plain("EnumValueTypeDef", "name", |it: &EnumMember, _| Ok(Value::string(&*it.name)));
    surface.plain("EnumValueTypeDef", "value", |it: &EnumMember, _| Ok(Value::string(&*it.value)));
    surface.plain("EnumValueTypeDef", "description", |it: &EnumMember, _| Ok(Value::string(&*it.description)));
    source_map_field(surface, "EnumValueTypeDef", |it: &EnumMember| it.source_map.as_ref());
    surface.plain("EnumValueTypeDef", "deprecated", |it: &EnumMember, _| Ok(optional(it.deprecated.as_deref())));
}
