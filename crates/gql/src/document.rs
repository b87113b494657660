//! A parsed executable document: arenas and indices, so that neither parsing nor dropping recurses
//! over selections.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{GqlError, Limits};
use crate::lexer::{Lexer, Token};
use crate::operation::Location;
use crate::types::{Name, TypeRef};

/// Position of a [`Node`] in [`Document::selections`].
pub type NodeId = u32;

/// A parsed document. Names are slices of the text.
#[derive(Debug, Default)]
pub struct Document<'a> {
    /// Operations in order.
    pub operations: Vec<OperationDefinition<'a>>,
    /// Fragments in order.
    pub fragments: Vec<FragmentDefinition<'a>>,
    /// Every selection; siblings are linked.
    pub selections: Vec<Node<'a>>,
    /// Every argument of selections and directives.
    pub arguments: Vec<Argument<'a>>,
    /// Every directive.
    pub directives: Vec<Directive<'a>>,
}

/// The three kinds of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// A query.
    Query,
    /// A mutation.
    Mutation,
    /// A subscription.
    Subscription,
}

/// An operation.
#[derive(Debug)]
pub struct OperationDefinition<'a> {
    /// Query, mutation or subscription.
    pub kind: OperationKind,
    /// Its name; the short form `{…}` has none.
    pub name: Option<&'a str>,
    /// Variables in order.
    pub variables: Vec<VariableDefinition<'a>>,
    /// Directives on it.
    pub directives: Range<u32>,
    /// Its selections with everything below them; the first is the first of the set.
    pub selections: Range<NodeId>,
    /// Where it starts.
    pub location: Location,
}

/// A variable of an operation.
#[derive(Debug)]
pub struct VariableDefinition<'a> {
    /// Its name, without `$`.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeRef,
    /// Its default.
    pub default: Option<Literal<'a>>,
    /// Directives on it.
    pub directives: Range<u32>,
    /// Where it stands.
    pub location: Location,
}

/// A named fragment.
#[derive(Debug)]
pub struct FragmentDefinition<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type it is for.
    pub condition: &'a str,
    /// Directives on it.
    pub directives: Range<u32>,
    /// Its selections with everything below them; the first is the first of the set.
    pub selections: Range<NodeId>,
    /// Where it starts.
    pub location: Location,
}

/// One selection.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its selections.
    pub kind: NodeKind<'a>,
    /// Directives on it.
    pub directives: Range<u32>,
    /// Its first sub-selection.
    pub first: Option<NodeId>,
    /// The next selection of the same set.
    pub next: Option<NodeId>,
    /// Where it stands.
    pub location: Location,
}

/// What a selection selects.
#[derive(Debug)]
pub enum NodeKind<'a> {
    /// A field.
    Field {
        /// The key in the response: the alias, or the name.
        key: &'a str,
        /// The name.
        name: &'a str,
        /// Its arguments.
        arguments: Range<u32>,
    },
    /// `...Name`
    Spread {
        /// The fragment's name.
        name: &'a str,
    },
    /// `... on Type {…}` or `... {…}`
    Inline {
        /// The type it is for.
        condition: Option<&'a str>,
    },
}

/// An argument.
#[derive(Debug)]
pub struct Argument<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: Literal<'a>,
    /// Where it stands.
    pub location: Location,
}

/// A directive where it is used.
#[derive(Debug)]
pub struct Directive<'a> {
    /// Its name, without `@`.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: Range<u32>,
    /// Where it stands.
    pub location: Location,
}

/// A value as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer, as written.
    Int(Cow<'a, str>),
    /// A floating point number, as written.
    Float(Cow<'a, str>),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// A bare name.
    Enum(&'a str),
    /// `$name`
    Variable(&'a str),
    /// A list.
    List(Vec<Literal<'a>>),
    /// An input object.
    Object(Vec<(&'a str, Literal<'a>)>),
}

impl<'a> Document<'a> {
    /// Parses `text`.
    ///
    /// # Errors
    /// When the text is no executable document, or passes a bound.
    pub fn parse(text: &'a str, limits: &Limits) -> Result<Self, GqlError> {
        let mut parser = Parser { lexer: Lexer::new(text, limits)?, document: Document::default(), limits };
        parser.definitions()?;
        Ok(parser.document)
    }

    /// The selection set that starts at `first`.
    pub fn siblings(&self, first: Option<NodeId>) -> impl Iterator<Item = (NodeId, &Node<'a>)> {
        std::iter::successors(first, |&id| self.selections[id as usize].next)
            .map(|id| (id, &self.selections[id as usize]))
    }

    /// The arguments of `range`.
    pub fn arguments_of(&self, range: &Range<u32>) -> &[Argument<'a>] {
        &self.arguments[range.start as usize..range.end as usize]
    }

    /// The directives of `range`.
    pub fn directives_of(&self, range: &Range<u32>) -> &[Directive<'a>] {
        &self.directives[range.start as usize..range.end as usize]
    }
}

struct Parser<'a, 'l> {
    lexer: Lexer<'a>,
    document: Document<'a>,
    limits: &'l Limits,
}

impl<'a> Parser<'a, '_> {
    fn definitions(&mut self) -> Result<(), GqlError> {
        loop {
            let location = self.lexer.place;
            match self.lexer.token {
                Token::Punctuator('{') => {
                    let selections = self.selection_set()?;
                    let kind = OperationKind::Query;
                    let short = OperationDefinition {
                        kind,
                        name: None,
                        variables: Vec::new(),
                        directives: 0..0,
                        selections,
                        location,
                    };
                    self.document.operations.push(short);
                }
                Token::Name("fragment") => self.fragment(location)?,
                Token::Name("query") => self.operation(OperationKind::Query, location)?,
                Token::Name("mutation") => self.operation(OperationKind::Mutation, location)?,
                Token::Name("subscription") => self.operation(OperationKind::Subscription, location)?,
                _ => return Err(self.lexer.unexpected()),
            }
            if self.lexer.token == Token::End {
                return Ok(());
            }
        }
    }

    fn operation(&mut self, kind: OperationKind, location: Location) -> Result<(), GqlError> {
        self.lexer.advance()?;
        let name = if matches!(self.lexer.token, Token::Name(_)) { Some(self.lexer.name()?) } else { None };
        let variables = self.variables()?;
        let directives = self.directives()?;
        let selections = self.selection_set()?;
        self.document.operations.push(OperationDefinition { kind, name, variables, directives, selections, location });
        Ok(())
    }

    fn variables(&mut self) -> Result<Vec<VariableDefinition<'a>>, GqlError> {
        let mut variables = Vec::new();
        if !self.lexer.eat('(')? {
            return Ok(variables);
        }
        loop {
            let location = self.lexer.place;
            self.lexer.expect('$')?;
            let name = self.lexer.name()?;
            self.lexer.expect(':')?;
            let ty = type_reference(&mut self.lexer, self.limits)?;
            let default = match self.lexer.eat('=')? {
                true => Some(literal(&mut self.lexer, self.limits, true)?),
                false => None,
            };
            let directives = self.directives()?;
            variables.push(VariableDefinition { name, ty, default, directives, location });
            if self.lexer.eat(')')? {
                return Ok(variables);
            }
        }
    }

    fn fragment(&mut self, location: Location) -> Result<(), GqlError> {
        self.lexer.advance()?;
        if self.lexer.at_word("on") {
            return Err(self.lexer.unexpected());
        }
        let name = self.lexer.name()?;
        self.lexer.expect_word("on")?;
        let condition = self.lexer.name()?;
        let directives = self.directives()?;
        let selections = self.selection_set()?;
        self.document.fragments.push(FragmentDefinition { name, condition, directives, selections, location });
        Ok(())
    }

    /// Parses `{…}` with everything inside, in one loop over a stack of open braces.
    fn selection_set(&mut self) -> Result<Range<NodeId>, GqlError> {
        self.lexer.expect('{')?;
        let root = self.document.selections.len() as NodeId;
        let mut open: Vec<(Option<NodeId>, Option<NodeId>)> = vec![(None, None)];
        while let Some((parent, last)) = open.last_mut() {
            if last.is_some() && self.lexer.at_punctuator('}') {
                open.pop();
                self.lexer.advance()?;
                continue;
            }
            let id = self.document.selections.len() as NodeId;
            match (*last, *parent) {
                (Some(before), _) => self.document.selections[before as usize].next = Some(id),
                (None, Some(parent)) => self.document.selections[parent as usize].first = Some(id),
                (None, None) => {}
            }
            *last = Some(id);
            let node = self.selection()?;
            let braces_required = matches!(node.kind, NodeKind::Inline { .. });
            let braces_allowed = !matches!(node.kind, NodeKind::Spread { .. });
            self.document.selections.push(node);
            if braces_required || (braces_allowed && self.lexer.at_punctuator('{')) {
                self.lexer.expect('{')?;
                open.push((Some(id), None));
            }
        }
        Ok(root..self.document.selections.len() as NodeId)
    }

    /// One selection without its sub-selections.
    fn selection(&mut self) -> Result<Node<'a>, GqlError> {
        let location = self.lexer.place;
        let kind = if self.lexer.token == Token::Spread {
            self.lexer.advance()?;
            match self.lexer.token {
                Token::Name("on") => {
                    self.lexer.advance()?;
                    NodeKind::Inline { condition: Some(self.lexer.name()?) }
                }
                Token::Name(name) => {
                    self.lexer.advance()?;
                    NodeKind::Spread { name }
                }
                _ => NodeKind::Inline { condition: None },
            }
        } else {
            let key = self.lexer.name()?;
            let name = if self.lexer.eat(':')? { self.lexer.name()? } else { key };
            NodeKind::Field { key, name, arguments: self.arguments(false)? }
        };
        let directives = self.directives()?;
        Ok(Node { kind, directives, first: None, next: None, location })
    }

    fn arguments(&mut self, constant: bool) -> Result<Range<u32>, GqlError> {
        let start = self.document.arguments.len() as u32;
        if self.lexer.eat('(')? {
            loop {
                let location = self.lexer.place;
                let name = self.lexer.name()?;
                self.lexer.expect(':')?;
                let value = literal(&mut self.lexer, self.limits, constant)?;
                self.document.arguments.push(Argument { name, value, location });
                if self.lexer.eat(')')? {
                    break;
                }
            }
        }
        Ok(start..self.document.arguments.len() as u32)
    }

    fn directives(&mut self) -> Result<Range<u32>, GqlError> {
        let start = self.document.directives.len() as u32;
        loop {
            let location = self.lexer.place;
            if !self.lexer.eat('@')? {
                return Ok(start..self.document.directives.len() as u32);
            }
            let name = self.lexer.name()?;
            let arguments = self.arguments(false)?;
            self.document.directives.push(Directive { name, arguments, location });
        }
    }
}

/// A value. Recursion is bounded by [`Limits::nesting`].
pub(crate) fn literal<'a>(lexer: &mut Lexer<'a>, limits: &Limits, constant: bool) -> Result<Literal<'a>, GqlError> {
    nested_literal(lexer, limits, constant, 0)
}

fn nested_literal<'a>(
    lexer: &mut Lexer<'a>,
    limits: &Limits,
    constant: bool,
    depth: usize,
) -> Result<Literal<'a>, GqlError> {
    if depth > limits.nesting {
        return Err(GqlError::bound("nested values", limits.nesting, Some(lexer.place)));
    }
    if matches!(lexer.token, Token::Punctuator('$')) && !constant {
        lexer.advance()?;
        return Ok(Literal::Variable(lexer.name()?));
    }
    if matches!(lexer.token, Token::Spread | Token::End)
        || matches!(lexer.token, Token::Punctuator(c) if c != '[' && c != '{')
    {
        return Err(lexer.unexpected());
    }
    Ok(match lexer.advance()? {
        Token::Name("true") => Literal::Bool(true),
        Token::Name("false") => Literal::Bool(false),
        Token::Name("null") => Literal::Null,
        Token::Name(name) => Literal::Enum(name),
        Token::Int(text) => Literal::Int(Cow::Borrowed(text)),
        Token::Float(text) => Literal::Float(Cow::Borrowed(text)),
        Token::String(text) => Literal::String(text),
        Token::Punctuator('[') => {
            let mut items = Vec::new();
            while !lexer.eat(']')? {
                items.push(nested_literal(lexer, limits, constant, depth + 1)?);
            }
            Literal::List(items)
        }
        _ => {
            let mut fields = Vec::new();
            while !lexer.eat('}')? {
                let name = lexer.name()?;
                lexer.expect(':')?;
                fields.push((name, nested_literal(lexer, limits, constant, depth + 1)?));
            }
            Literal::Object(fields)
        }
    })
}

/// A type reference such as `[String!]!`.
pub(crate) fn type_reference(lexer: &mut Lexer<'_>, limits: &Limits) -> Result<TypeRef, GqlError> {
    let mut lists = 0;
    while lexer.eat('[')? {
        lists += 1;
        if lists > limits.nesting {
            return Err(GqlError::bound("nested list types", limits.nesting, Some(lexer.place)));
        }
    }
    let mut ty = TypeRef::Named(Name::from(lexer.name()?));
    for close in 0..=lists {
        if close > 0 {
            lexer.expect(']')?;
            ty = TypeRef::List(Box::new(ty));
        }
        if lexer.eat('!')? {
            ty = TypeRef::NonNull(Box::new(ty));
        }
    }
    Ok(ty)
}
