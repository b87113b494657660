//! Reads schema text with gate directives into a registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rondel_fault::{Fault, Result};
use rondel_gql::types::{AppliedDirective, ArgDef, EnumValue, FieldDef, Name};
use rondel_gql::{Value, builtin, sdl};
use rondel_version::{Gate, View};

use crate::builder::RegistryBuilder;
use crate::entry::{Entry, Field, Gated, Input, Kind, Member, Members, Scope};
use crate::registry::Registry;

/// Directives that only the registry reads.
const OWN: [&str; 8] = ["since", "until", "alias", "versioned", "scope", "hidden", "internal", "kept"];

impl Registry {
    /// Reads a registry from schema text with gate directives: `@since(v:)`, `@until(v:)`,
    /// `@alias(of:)`, `@versioned`, `@scope(per:)`, `@hidden`, `@internal`, and on a type that
    /// nothing refers to `@kept`. None of those is shown to clients.
    ///
    /// # Errors
    /// When the text is no schema, refers to a type that it does not define, or misuses a gate
    /// directive.
    pub fn from_sdl(sdl: &str) -> Result<RegistryBuilder> {
        read(sdl)
    }
}

fn read(text: &str) -> Result<RegistryBuilder> {
    let document = sdl::parse(text).map_err(|error| {
        let place = error.locations.first().copied().unwrap_or_default();
        Fault::bug(format!("cannot read the schema text, line {} column {}", place.line, place.column)).caused_by(error)
    })?;
    let query = document.query.unwrap_or_else(|| Name::from("Query"));
    let mut directives = builtin::directives();
    for directive in document.directives {
        if !OWN.contains(&&*directive.name) && !directives.iter().any(|known| known.name == directive.name) {
            directives.push(Arc::new(directive));
        }
    }
    let builtins: Vec<sdl::Type> = builtin::definitions();
    let count = builtins.len();
    let all: Vec<sdl::Type> = builtins.into_iter().chain(document.types).collect();
    let mut index = HashMap::new();
    for (at, ty) in all.iter().enumerate() {
        if index.insert(ty.name.clone(), at).is_some() {
            return Err(Fault::bug(format!("cannot read the schema text: type `{}` is defined twice", ty.name)));
        }
    }
    if !index.contains_key(&query) {
        return Err(Fault::bug(format!("cannot read the schema text: it has no root type `{query}`")));
    }
    let mut types = Vec::with_capacity(all.len());
    for (at, ty) in all.into_iter().enumerate() {
        types.push(Reader { index: &index, within: ty.name.clone() }.entry(ty, at < count)?);
    }
    Ok(RegistryBuilder { query, types, index, directives })
}

struct Reader<'r> {
    index: &'r HashMap<Name, usize>,
    within: Name,
}

/// What the gate directives of one member say.
#[derive(Default)]
struct Marks {
    gate: Gate,
    alias: Option<Name>,
    versioned: bool,
    scope: Option<Scope>,
    hidden: bool,
    internal: bool,
    kept: bool,
}

impl Reader<'_> {
    fn entry(&self, mut ty: sdl::Type, builtin: bool) -> Result<Entry> {
        let marks = self.marks(&ty.name, &mut ty.directives)?;
        let kind = match ty.kind {
            sdl::Kind::Scalar => Kind::Scalar,
            sdl::Kind::Object { interfaces, fields } => Kind::Object(self.members(&interfaces, fields)?),
            sdl::Kind::Interface { interfaces, fields } => Kind::Interface(self.members(&interfaces, fields)?),
            sdl::Kind::Enum(members) => Kind::Enum(self.enum_members(members)?),
            sdl::Kind::Input(fields) => Kind::Input(self.inputs(fields)?),
        };
        Ok(Entry {
            name: ty.name,
            description: ty.description,
            directives: ty.directives,
            gate: marks.gate,
            builtin,
            kept: marks.kept,
            kind,
            made: Mutex::default(),
            legacy: None,
        })
    }

    fn members(&self, interfaces: &[Name], fields: Vec<sdl::Field>) -> Result<Members> {
        let interfaces = interfaces.iter().map(|name| self.position(name)).collect::<Result<_>>()?;
        let mut groups = Vec::new();
        for mut field in fields {
            let marks = self.marks(&field.name, &mut field.directives)?;
            let returns = self.position(field.ty.base())?;
            let args = self.inputs(std::mem::take(&mut field.args))?;
            let name = field.name.clone();
            // IDENTITY: what a later view has no more can only be found again under a view that has
            // it.
            let lost = |gate: &Gate| gate.until.is_some();
            let versioned = marks.versioned || lost(&marks.gate) || args.iter().flatten().any(|arg| lost(&arg.gate));
            let bare: FieldDef = field.into_field(builtin::nothing("", ""));
            let it = Field {
                bare,
                attached: false,
                internal: marks.internal,
                versioned,
                scope: marks.scope,
                returns,
                args,
                made: Mutex::default(),
            };
            add(&mut groups, &name, Gated { gate: marks.gate, it }, |field| &field.bare.name);
        }
        Ok(Members { interfaces, fields: groups })
    }

    fn inputs(&self, args: Vec<ArgDef>) -> Result<Vec<Vec<Gated<Input>>>> {
        let mut groups = Vec::new();
        for mut arg in args {
            let marks = self.marks(&arg.name, &mut arg.directives)?;
            arg.hidden = marks.hidden;
            let ty = self.position(arg.ty.base())?;
            let name = arg.name.clone();
            let it = Input { def: Arc::new(arg), ty };
            add(&mut groups, &name, Gated { gate: marks.gate, it }, |input| &input.def.name);
        }
        Ok(groups)
    }

    fn enum_members(&self, members: Vec<EnumValue>) -> Result<Vec<Vec<Gated<Member>>>> {
        let names: Vec<Name> = members.iter().map(|member| member.name.clone()).collect();
        let mut groups = Vec::new();
        for mut member in members {
            let marks = self.marks(&member.name, &mut member.directives)?;
            if let Some(of) = &marks.alias {
                if !names.contains(of) {
                    return Err(self.fail(&member.name, &format!("`@alias` names `{of}`, which is no member")));
                }
                let value = (Name::from("value"), Value::String(of.clone()));
                member.directives.push(AppliedDirective { name: Name::from("enumValue"), args: vec![value] });
            }
            member.alias_of = marks.alias;
            member.hidden = marks.hidden;
            let name = member.name.clone();
            let hidden = EnumValue { hidden: true, ..member.clone() };
            let it = Member { shown: Arc::new(member), hidden: Arc::new(hidden) };
            add(&mut groups, &name, Gated { gate: marks.gate, it }, |member| &member.shown.name);
        }
        Ok(groups)
    }

    fn position(&self, name: &str) -> Result<usize> {
        let known = self.index.get(name).copied();
        known.ok_or_else(|| self.fail(name, "it is used and not defined"))
    }

    /// Takes the registry's own directives out of `directives`.
    fn marks(&self, member: &str, directives: &mut Vec<AppliedDirective>) -> Result<Marks> {
        let mut marks = Marks::default();
        for directive in directives.iter().filter(|directive| OWN.contains(&&*directive.name)) {
            let text = || match directive.args.first() {
                Some((_, Value::String(text) | Value::Enum(text))) => Ok(text.clone()),
                _ => Err(self.fail(member, &format!("`@{}` lacks its argument", directive.name))),
            };
            let view = || {
                let text = text()?;
                text.parse::<View>().map_err(|error| self.fail(member, &format!("`@{}`: {error}", directive.name)))
            };
            match &*directive.name {
                "since" => marks.gate.since = Some(view()?),
                "until" => marks.gate.until = Some(view()?),
                "alias" => marks.alias = Some(text()?),
                "versioned" => marks.versioned = true,
                "hidden" => marks.hidden = true,
                "internal" => marks.internal = true,
                "kept" => marks.kept = true,
                _ => {
                    marks.scope = Some(match &*text()? {
                        "CLIENT" => Scope::Client,
                        "SESSION" => Scope::Session,
                        "CALL" => Scope::Call,
                        "NEVER" => Scope::Never,
                        other => return Err(self.fail(member, &format!("`@scope(per: {other})` is unknown"))),
                    });
                }
            }
        }
        directives.retain(|directive| !OWN.contains(&&*directive.name));
        Ok(marks)
    }

    fn fail(&self, member: &str, why: &str) -> Fault {
        Fault::bug(format!("cannot read `{member}` in `{}` of the schema text: {why}", self.within))
    }
}

/// Adds a variant to the group of its name.
fn add<T>(groups: &mut Vec<Vec<Gated<T>>>, name: &Name, variant: Gated<T>, name_of: impl Fn(&T) -> &Name) {
    let known = groups.iter_mut().find(|group| group.first().is_some_and(|first| name_of(&first.it) == name));
    match known {
        Some(group) => group.push(variant),
        None => groups.push(vec![variant]),
    }
}
