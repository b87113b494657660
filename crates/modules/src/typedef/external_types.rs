//! Types that a module can see and does not own: those of the API, and those of what it uses.

use std::sync::Arc;

use rondel_gql::types::{EnumValue, Schema, TypeKind};

use crate::module::loaded_module::Module;
use crate::typedef::type_def::{EnumDef, EnumMember, InputDef, InterfaceDef, ObjectDef, ScalarDef, TypeDefKind};

/// Where a type comes from that is not the module's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeOwner {
    /// The API itself.
    Core,
    /// A dependency, by name.
    Module(String),
}

/// A type that is not the module's own.
#[derive(Clone, Debug)]
pub struct ExternalType {
    /// Where it comes from.
    pub owner: TypeOwner,
    /// What it is: an enum with its members, everything else at least by name.
    pub kind: TypeDefKind,
}

/// The type called `name` of what a module uses, else of `core`, the API that it sees.
pub fn find(dependencies: &[Arc<Module>], core: &Schema, name: &str) -> Option<ExternalType> {
    dependencies.iter().find_map(|module| of_module(module, name)).or_else(|| of_core(core, name))
}

fn of_module(module: &Module, name: &str) -> Option<ExternalType> {
    let types = &module.types;
    let object = || types.object(name).cloned().map(TypeDefKind::Object);
    let interface = || types.interface(name).cloned().map(TypeDefKind::Interface);
    let kind = object().or_else(interface).or_else(|| types.enumeration(name).cloned().map(TypeDefKind::Enum))?;
    Some(ExternalType { owner: TypeOwner::Module(module.name().to_owned()), kind })
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
