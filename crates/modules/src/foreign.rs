//! Types that a module can see and does not own: those of the API, and those of what it uses.

use std::sync::Arc;

use rondel_gql::types::{EnumValue, Schema, TypeKind};

use crate::module::Module;
use crate::typedef::{EnumDef, EnumMember, InputDef, InterfaceDef, Kind, ObjectDef, ScalarDef};

/// Where a type comes from that is not the module's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The API itself.
    Core,
    /// A dependency, by name.
    Module(String),
}

/// A type that is not the module's own.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Where it comes from.
    pub owner: Owner,
    /// What it is: an enum with its members, everything else at least by name.
    pub kind: Kind,
}

/// The type called `name` of what a module uses, else of `core`, the API that it sees.
pub fn find(dependencies: &[Arc<Module>], core: &Schema, name: &str) -> Option<Foreign> {
    dependencies.iter().find_map(|module| of_module(module, name)).or_else(|| of_core(core, name))
}

fn of_module(module: &Module, name: &str) -> Option<Foreign> {
    let types = &module.types;
    let object = || types.object(name).cloned().map(Kind::Object);
    let interface = || types.interface(name).cloned().map(Kind::Interface);
    let kind = object().or_else(interface).or_else(|| types.enumeration(name).cloned().map(Kind::Enum))?;
    Some(Foreign { owner: Owner::Module(module.name().to_owned()), kind })
}

fn of_core(core: &Schema, name: &str) -> Option<Foreign> {
    let ty = core.types.get(name)?;
    let (name, original) = (name.to_owned(), name.to_owned());
    let kind = match &ty.kind {
        TypeKind::Scalar => Kind::Scalar(Arc::new(ScalarDef { name, ..ScalarDef::default() })),
        TypeKind::Object(_) => Kind::Object(Arc::new(ObjectDef { name, original, ..ObjectDef::default() })),
        TypeKind::Interface(_) => Kind::Interface(Arc::new(InterfaceDef { name, original, ..InterfaceDef::default() })),
        TypeKind::Input(_) => Kind::Input(Arc::new(InputDef { name, ..InputDef::default() })),
        TypeKind::Enum(members) => {
            let members = members.iter().map(|member| core_member(member)).collect();
            Kind::Enum(Arc::new(EnumDef { name, original, members, ..EnumDef::default() }))
        }
    };
    Some(Foreign { owner: Owner::Core, kind })
}

fn core_member(member: &EnumValue) -> EnumMember {
    let name = || member.name.to_string();
    EnumMember { name: name(), original: name(), value: name(), ..EnumMember::default() }
}
