//! Parses schema definition language to plain data.
//!
//! Applied directives are kept as they are, in order; `@deprecated` is also read into `deprecated`.
//! Unions and extensions are refused: the API has none.

use std::sync::Arc;

use crate::document::{Literal, literal, type_reference};
use crate::error::{GqlError, Limits};
use crate::lexer::{Lexer, Token};
use crate::types::{
    AppliedDirective, ArgDef, DirectiveDef, EnumValue, FieldDef, FieldResolver, Fields, Name, TypeDef, TypeKind,
    TypeRef,
};
use crate::value::Value;

/// A parsed schema text.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The name of the root type; `Query` unless a `schema {…}` block says otherwise.
    pub query: Option<Name>,
    /// Types in order.
    pub types: Vec<Type>,
    /// Directive definitions in order.
    pub directives: Vec<DirectiveDef>,
}

/// A type.
#[derive(Debug, Clone)]
pub struct Type {
    /// The name.
    pub name: Name,
    /// The description; may be empty.
    pub description: Name,
    /// Directives applied to it.
    pub directives: Vec<AppliedDirective>,
    /// Its members.
    pub kind: Kind,
}

/// What a type is made of.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A scalar.
    Scalar,
    /// An object.
    Object {
        /// Interfaces that it implements.
        interfaces: Vec<Name>,
        /// Fields in order; a name may occur more than once.
        fields: Vec<Field>,
    },
    /// An interface.
    Interface {
        /// Interfaces that it implements.
        interfaces: Vec<Name>,
        /// Fields in order; a name may occur more than once.
        fields: Vec<Field>,
    },
    /// An enum. Members in order; a name may occur more than once.
    Enum(Vec<EnumValue>),
    /// An input object.
    Input(Vec<ArgDef>),
}

/// A field.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name.
    pub name: Name,
    /// The description; may be empty.
    pub description: Name,
    /// Arguments in order; a name may occur more than once.
    pub args: Vec<ArgDef>,
    /// The type that it returns.
    pub ty: TypeRef,
    /// The reason, when it is deprecated.
    pub deprecated: Option<Name>,
    /// Directives applied to it.
    pub directives: Vec<AppliedDirective>,
}

/// Parses schema definition language.
///
/// # Errors
/// When the text is none, or uses what the API has no use for.
pub fn parse(text: &str) -> Result<Document, GqlError> {
    let limits = Limits { tokens: usize::MAX, bytes: usize::MAX, ..Limits::default() };
    let mut parser = Parser { lexer: Lexer::new(text, &limits)?, limits };
    let mut document = Document::default();
    while parser.lexer.token != Token::End {
        parser.definition(&mut document)?;
    }
    Ok(document)
}

impl Type {
    /// The type as documents are validated against.
    pub fn into_type(self, resolver: impl Fn(&str, &str) -> FieldResolver) -> TypeDef {
        let name = self.name.clone();
        let fields = |list: Vec<Field>, interfaces| {
            let defs = list.into_iter().map(|field| {
                let run = resolver(&name, &field.name);
                Arc::new(field.into_field(run))
            });
            Fields::new(defs, interfaces)
        };
        let kind = match self.kind {
            Kind::Scalar => TypeKind::Scalar,
            Kind::Object { interfaces, fields: list } => TypeKind::Object(fields(list, interfaces)),
            Kind::Interface { interfaces, fields: list } => TypeKind::Interface(fields(list, interfaces)),
            Kind::Enum(members) => TypeKind::Enum(members.into_iter().map(Arc::new).collect()),
            Kind::Input(list) => TypeKind::Input(list.into_iter().map(Arc::new).collect()),
        };
        TypeDef { name: self.name, description: self.description, kind, directives: self.directives }
    }
}

impl Field {
    /// The field as documents are validated against.
    pub fn into_field(self, resolver: FieldResolver) -> FieldDef {
        FieldDef {
            name: self.name,
            description: self.description,
            args: self.args.into_iter().map(Arc::new).collect(),
            ty: self.ty,
            deprecated: self.deprecated,
            directives: self.directives,
            resolver,
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    limits: Limits,
}

impl Parser<'_> {
    fn definition(&mut self, document: &mut Document) -> Result<(), GqlError> {
        let description = self.description()?;
        let Token::Name(keyword) = self.lexer.token else { return Err(self.lexer.unexpected()) };
        match keyword {
            "schema" => return self.roots(document),
            "directive" => {
                self.lexer.advance()?;
                let directive = self.directive_definition(description)?;
                document.directives.push(directive);
                return Ok(());
            }
            "scalar" | "type" | "interface" | "enum" | "input" => {}
            _ => return Err(self.lexer.unexpected()),
        }
        self.lexer.advance()?;
        let name = Name::from(self.lexer.name()?);
        let interfaces = if matches!(keyword, "type" | "interface") { self.interfaces()? } else { Vec::new() };
        let directives = self.applied()?;
        let kind = match keyword {
            "scalar" => Kind::Scalar,
            "type" => Kind::Object { interfaces, fields: self.fields()? },
            "interface" => Kind::Interface { interfaces, fields: self.fields()? },
            "enum" => Kind::Enum(self.members()?),
            _ => Kind::Input(self.arguments('{', '}')?),
        };
        document.types.push(Type { name, description, directives, kind });
        Ok(())
    }

    fn roots(&mut self, document: &mut Document) -> Result<(), GqlError> {
        self.lexer.advance()?;
        self.applied()?;
        self.lexer.expect('{')?;
        self.lexer.expect_word("query")?;
        self.lexer.expect(':')?;
        document.query = Some(Name::from(self.lexer.name()?));
        self.lexer.expect('}')
    }

    fn description(&mut self) -> Result<Name, GqlError> {
        match &self.lexer.token {
            Token::String(text) => {
                let text = Name::from(&**text);
                self.lexer.advance()?;
                Ok(text)
            }
            _ => Ok(Name::from("")),
        }
    }

    fn directive_definition(&mut self, description: Name) -> Result<DirectiveDef, GqlError> {
        self.lexer.expect('@')?;
        let name = Name::from(self.lexer.name()?);
        let args = if self.lexer.at_punctuator('(') { self.arguments('(', ')')? } else { Vec::new() };
        self.lexer.eat_word("repeatable")?;
        self.lexer.expect_word("on")?;
        self.lexer.eat('|')?;
        let mut locations = vec![Name::from(self.lexer.name()?)];
        while self.lexer.eat('|')? {
            locations.push(Name::from(self.lexer.name()?));
        }
        Ok(DirectiveDef { name, description, locations, args: args.into_iter().map(Arc::new).collect() })
    }

    fn interfaces(&mut self) -> Result<Vec<Name>, GqlError> {
        let mut interfaces = Vec::new();
        if self.lexer.eat_word("implements")? {
            self.lexer.eat('&')?;
            interfaces.push(Name::from(self.lexer.name()?));
            while self.lexer.eat('&')? {
                interfaces.push(Name::from(self.lexer.name()?));
            }
        }
        Ok(interfaces)
    }

    fn fields(&mut self) -> Result<Vec<Field>, GqlError> {
        let mut fields = Vec::new();
        if !self.lexer.eat('{')? {
            return Ok(fields);
        }
        while !self.lexer.eat('}')? {
            let description = self.description()?;
            let name = Name::from(self.lexer.name()?);
            let args = if self.lexer.at_punctuator('(') { self.arguments('(', ')')? } else { Vec::new() };
            self.lexer.expect(':')?;
            let ty = type_reference(&mut self.lexer, &self.limits)?;
            let directives = self.applied()?;
            let deprecated = deprecation(&directives);
            fields.push(Field { name, description, args, ty, deprecated, directives });
        }
        Ok(fields)
    }

    fn arguments(&mut self, open: char, close: char) -> Result<Vec<ArgDef>, GqlError> {
        let mut arguments = Vec::new();
        self.lexer.expect(open)?;
        while !self.lexer.eat(close)? {
            let description = self.description()?;
            let name = Name::from(self.lexer.name()?);
            self.lexer.expect(':')?;
            let ty = type_reference(&mut self.lexer, &self.limits)?;
            let default = match self.lexer.eat('=')? {
                true => Some(self.constant()?),
                false => None,
            };
            let directives = self.applied()?;
            let deprecated = deprecation(&directives);
            arguments.push(ArgDef { name, description, ty, default, deprecated, directives, hidden: false });
        }
        Ok(arguments)
    }

    fn members(&mut self) -> Result<Vec<EnumValue>, GqlError> {
        let mut members = Vec::new();
        self.lexer.expect('{')?;
        while !self.lexer.eat('}')? {
            let description = self.description()?;
            let name = Name::from(self.lexer.name()?);
            let directives = self.applied()?;
            let deprecated = deprecation(&directives);
            members.push(EnumValue { name, description, deprecated, alias_of: None, hidden: false, directives });
        }
        Ok(members)
    }

    fn applied(&mut self) -> Result<Vec<AppliedDirective>, GqlError> {
        let mut applied = Vec::new();
        while self.lexer.eat('@')? {
            let name = Name::from(self.lexer.name()?);
            let mut args = Vec::new();
            if self.lexer.eat('(')? {
                while !self.lexer.eat(')')? {
                    let argument = Name::from(self.lexer.name()?);
                    self.lexer.expect(':')?;
                    args.push((argument, self.constant()?));
                }
            }
            applied.push(AppliedDirective { name, args });
        }
        Ok(applied)
    }

    fn constant(&mut self) -> Result<Value, GqlError> {
        let place = self.lexer.place;
        let written = literal(&mut self.lexer, &self.limits, true)?;
        value(&written).ok_or_else(|| GqlError::syntax("Number out of range.", place))
    }
}

fn value(literal: &Literal<'_>) -> Option<Value> {
    Some(match literal {
        Literal::Null | Literal::Variable(_) => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(text) => Value::Int(text.parse().ok()?),
        Literal::Float(text) => Value::Float(text.parse().ok()?),
        Literal::String(text) => Value::string(&**text),
        Literal::Enum(name) => Value::Enum(Name::from(*name)),
        Literal::List(items) => Value::List(items.iter().map(value).collect::<Option<_>>()?),
        Literal::Object(fields) => {
            let named = fields.iter().map(|(name, field)| Some((Name::from(*name), value(field)?)));
            Value::Object(named.collect::<Option<_>>()?)
        }
    })
}

fn deprecation(directives: &[AppliedDirective]) -> Option<Name> {
    let found = directives.iter().find(|directive| &*directive.name == "deprecated")?;
    match found.args.iter().find(|(name, _)| &**name == "reason") {
        Some((_, Value::String(reason))) => Some(reason.clone()),
        _ => Some(Name::from("No longer supported")),
    }
}
