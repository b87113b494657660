//! External types: types of the API and of dependencies, which a module can refer to.

use std::sync::Arc;

use rondel_gql::types::{EnumValue, Schema, TypeKind};

use crate::typedef::type_def::{
    EnumDef, EnumMember, InputDef, InterfaceDef, ModuleTypes, ObjectDef, ScalarDef, TypeDefKind,
};

/// The owner of an external type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeOwner {
    /// The API itself.
    Core,
    /// A dependency, by name.
    Module(String),
}

/// A type that a module can refer to and does not own.
#[derive(Clone, Debug)]
pub struct ExternalType {
    /// The owner of the type.
    pub owner: TypeOwner,
    /// The definition: complete for enums, at least the name for everything else.
    pub kind: TypeDefKind,
}

/// The type `name` of a dependency, or of `core`, the API that the module sees. `dependencies`
/// gives names and types of the dependencies.
pub fn find<'a>(
    mut dependencies: impl Iterator<Item = (&'a str, &'a ModuleTypes)>,
    core: &Schema,
    name: &str,
) -> Option<ExternalType> {
    let of_dependency = |(module, types): (&str, &ModuleTypes)| {
        let owner = TypeOwner::Module(module.to_owned());
        types.find(name).map(|kind| ExternalType { owner, kind })
    };
    dependencies.find_map(of_dependency).or_else(|| of_core(core, name))
}

fn of_core(core: &Schema, name: &str) -> Option<ExternalType> {
    let ty = core.types.get(name)?;
    let (name, original) = (name.to_owned(), name.to_owned());
    let kind = match &ty.kind {
        TypeKind::Scalar => TypeDefKind::Scalar(Arc::new(ScalarDef { name, ..ScalarDef::default() })),
        TypeKind::Object(_) => TypeDefKind::Object(Arc::new(ObjectDef { name, original, ..ObjectDef::default() })),
        TypeKind::Interface(_) => {
            TypeDefKind::Interface(Arc::new(InterfaceDef { name, original, ..InterfaceDef::default() }))
        }
        TypeKind::Input(_) => TypeDefKind::Input(Arc::new(InputDef { name, ..InputDef::default() })),
        TypeKind::Enum(members) => {
            let members = members.iter().map(|member| core_member(member)).collect();
            TypeDefKind::Enum(Arc::new(EnumDef { name, original, members, ..EnumDef::default() }))
        }
    };
    Some(ExternalType { owner: TypeOwner::Core, kind })
}

fn core_member(member: &EnumValue) -> EnumMember {
    let name = || member.name.to_string();
    EnumMember { name: name(), original: name(), value: name(), ..EnumMember::default() }
}
