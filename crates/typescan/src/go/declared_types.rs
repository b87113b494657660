//! The types document of a package.

use super::names::FindApiType;
use super::package::{Enum, Field, Func, Interface, Package, Param, Place, Struct, Type};
use crate::document::{
    DeclaredArg, DeclaredCache, DeclaredCachePolicy, DeclaredConstructor, DeclaredField, DeclaredFunction,
    DeclaredKind, DeclaredMember, DeclaredType, SourcePlace, TypesDocument,
};

/// The types of `package` as the original's SDK registers them.
pub(crate) fn document(package: &Package, api: FindApiType<'_>) -> TypesDocument {
    let writer = Writer { api };
    let structs = package.structs.iter().map(|it| {
        let constructor = package.constructor.as_ref().filter(|_| it.name == package.main);
        writer.object(it, constructor)
    });
    let types = structs
        .chain(package.interfaces.iter().map(|it| writer.interface(it)))
        .chain(package.enums.iter().map(enumeration));
    TypesDocument { description: package.description.clone(), types: types.collect() }
}

struct Writer<'a> {
    api: FindApiType<'a>,
}

impl Writer<'_> {
    fn object(&self, object: &Struct, constructor: Option<&Func>) -> DeclaredType {
        DeclaredType {
            kind: DeclaredKind::Object,
            name: object.name.clone(),
            description: object.description.clone(),
            deprecated: object.deprecated.clone(),
            source_map: place(&object.place),
            fields: object.fields.iter().filter(|it| !it.private).filter_map(|it| self.field(it)).collect(),
            constructor: constructor.map(|it| self.constructor(it)),
            functions: object.methods.iter().map(|it| self.function(it)).collect(),
            members: Vec::new(),
        }
    }

    fn interface(&self, interface: &Interface) -> DeclaredType {
        DeclaredType {
            kind: DeclaredKind::Interface,
            name: interface.name.clone(),
            description: interface.description.clone(),
            source_map: place(&interface.place),
            functions: interface.methods.iter().map(|it| self.function(it)).collect(),
            ..DeclaredType::default()
        }
    }

    fn field(&self, field: &Field) -> Option<DeclaredField> {
        Some(DeclaredField {
            name: field.json_name.clone()?,
            ty: self.ty(&field.ty),
            description: field.description.clone(),
            deprecated: field.deprecated.clone(),
            source_map: place(&field.place),
        })
    }

    fn constructor(&self, func: &Func) -> DeclaredConstructor {
        DeclaredConstructor {
            description: func.description.clone(),
            deprecated: func.deprecated.clone(),
            args: func.params.iter().map(|it| self.arg(it)).collect(),
            source_map: place(&func.place),
        }
    }

    fn function(&self, func: &Func) -> DeclaredFunction {
        DeclaredFunction {
            name: func.name.clone(),
            description: func.description.clone(),
            deprecated: func.deprecated.clone(),
            args: func.params.iter().map(|it| self.arg(it)).collect(),
            returns: func.result.as_ref().map(|it| self.ty(it)),
            cache: func.cache.as_deref().map(cache),
            check: func.check,
            generator: func.generator,
            up: func.up,
            source_map: place(&func.place),
        }
    }

    fn arg(&self, param: &Param) -> DeclaredArg {
        let ty = self.ty(&param.ty);
        DeclaredArg {
            name: param.name.clone(),
            ty: if param.optional { ty.trim_end_matches('!').to_owned() } else { ty },
            description: param.description.clone(),
            deprecated: param.deprecated.clone(),
            default: param.default.clone(),
            default_path: param.default_path.clone(),
            default_address: param.default_address.clone(),
            ignore: param.ignore.clone(),
            source_map: place(&param.place),
        }
    }

    /// The type in GraphQL. A pointer to a basic type may be null, a pointer to an object may not.
    fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::Basic(name) | Type::Named(_, name) => match name.as_str() {
                "string" | "error" => "String!".to_owned(),
                "bool" => "Boolean!".to_owned(),
                "float32" | "float64" => "Float!".to_owned(),
                _ => "Int!".to_owned(),
            },
            Type::Pointer(inner) => match **inner {
                Type::Basic(_) | Type::Named(..) | Type::Enum(_) => self.ty(inner).trim_end_matches('!').to_owned(),
                _ => self.ty(inner),
            },
            Type::List(inner) => format!("[{}]!", self.ty(inner)),
            Type::Struct(name) | Type::Enum(name) | Type::Interface(name) => format!("{name}!"),
            Type::Api(name) => format!("{}!", (self.api)(name).unwrap_or_else(|| name.clone())),
        }
    }
}

fn enumeration(found: &Enum) -> DeclaredType {
    let members = found.constants.iter().map(|it| DeclaredMember {
        name: it.member.clone(),
        value: it.value.clone(),
        description: it.description.clone(),
        deprecated: it.deprecated.clone(),
        source_map: place(&it.place),
    });
    DeclaredType {
        kind: DeclaredKind::Enum,
        name: found.name.clone(),
        description: found.description.clone(),
        source_map: place(&found.place),
        members: members.collect(),
        ..DeclaredType::default()
    }
}

fn cache(text: &str) -> DeclaredCache {
    match text {
        "never" => DeclaredCache { policy: DeclaredCachePolicy::Never, ttl: None },
        "session" => DeclaredCache { policy: DeclaredCachePolicy::PerSession, ttl: None },
        time => DeclaredCache { policy: DeclaredCachePolicy::Default, ttl: Some(time.to_owned()) },
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every declaration has a place here")]
fn place(place: &Place) -> Option<SourcePlace> {
    Some(place.at.in_file(&place.file))
}
