//! The syntax of Python, reduced to what decides the types of a module.

use std::rc::Rc;

/// An expression and the line on which it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub(super) line: u32,
    pub(super) kind: ExprKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ExprKind {
    Name(String),
    Attribute(Box<Expr>, String),
    /// A string, with its escapes resolved and adjacent strings joined.
    Str(String),
    /// The digits in base ten, without a sign.
    Int(String),
    Float(f64),
    Bool(bool),
    None,
    Ellipsis,
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Subscript(Box<Expr>, Vec<Expr>),
    Call(Box<Call>),
    /// `a | b`.
    Or(Box<Expr>, Box<Expr>),
    Negative(Box<Expr>),
    /// A comparison with one operator: `a == b`.
    Compare(Box<Expr>, String, Box<Expr>),
    Not(Box<Expr>),
    Lambda,
    /// `(name := value)`.
    Walrus(String, Box<Expr>),
    /// Anything else, with the expressions in it.
    Other(Vec<Expr>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) function: Expr,
    pub(super) args: Vec<Expr>,
    pub(super) keywords: Vec<(String, Expr)>,
    /// Whether `*` or `**` adds arguments.
    pub(super) spreads: bool,
}

/// A statement and the line on which it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stmt {
    pub(super) line: u32,
    pub(super) kind: StmtKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum StmtKind {
    /// `import a.b as c`: the path and the alias.
    Import(Vec<(String, Option<String>)>),
    FromImport(FromImport),
    Class(Rc<ClassDef>),
    Function(Rc<FunctionDef>),
    Assign(Vec<Expr>, Expr),
    /// A target with an annotation, and the value if there is one.
    Annotated(Expr, Expr, Option<Expr>),
    Augmented(Expr, Expr),
    Expr(Expr),
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    Try(Try),
    /// A body that runs any number of times, after binding the targets.
    Loop(Vec<Expr>, Vec<Stmt>),
    With(Vec<Expr>, Vec<Expr>, Vec<Stmt>),
    /// Bodies of which at most one runs.
    Match(Expr, Vec<Vec<Stmt>>),
    Raise,
    Delete(Vec<Expr>),
    Pass,
    /// Anything else: a short name of it.
    Other(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Try {
    pub(super) body: Vec<Stmt>,
    pub(super) handlers: Vec<Vec<Stmt>>,
    /// The statements of `else` and `finally`.
    pub(super) after: Vec<Stmt>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct FromImport {
    /// The number of dots.
    pub(super) level: usize,
    pub(super) module: String,
    /// Names and aliases. Empty for `*`.
    pub(super) names: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClassDef {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) decorators: Vec<Expr>,
    pub(super) bases: Vec<Expr>,
    pub(super) keywords: Vec<(String, Expr)>,
    /// Whether the class has type parameters, or bases that are spread.
    pub(super) unusual: bool,
    pub(super) body: Vec<Stmt>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct FunctionDef {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) decorators: Vec<Expr>,
    pub(super) params: Vec<Param>,
    pub(super) returns: Option<Expr>,
    pub(super) doc: Option<String>,
    /// Whether the function has type parameters.
    pub(super) generic: bool,
    /// All names that the body mentions.
    pub(super) mentions: Vec<String>,
    /// Names that the body declares as `global`.
    pub(super) globals: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamKind {
    PositionalOnly,
    Normal,
    /// `*args` or `**kwargs`.
    Variadic,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) kind: ParamKind,
    pub(super) annotation: Option<Expr>,
    pub(super) default: Option<Expr>,
}

impl Expr {
    /// Calls `visit` with this expression and all in it.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        let mut all = |items: &[Expr]| items.iter().for_each(|item| item.walk(visit));
        match &self.kind {
            ExprKind::Attribute(inner, _)
            | ExprKind::Negative(inner)
            | ExprKind::Not(inner)
            | ExprKind::Walrus(_, inner) => inner.walk(visit),
            ExprKind::List(items) | ExprKind::Tuple(items) | ExprKind::Other(items) => all(items),
            ExprKind::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
                key.walk(visit);
                value.walk(visit);
            }),
            ExprKind::Subscript(inner, items) => {
                all(items);
                inner.walk(visit);
            }
            ExprKind::Call(call) => {
                all(&call.args);
                call.keywords.iter().for_each(|(_, value)| value.walk(visit));
                call.function.walk(visit);
            }
            ExprKind::Or(left, right) | ExprKind::Compare(left, _, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            ExprKind::Name(_)
            | ExprKind::Str(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::None
            | ExprKind::Ellipsis
            | ExprKind::Lambda => {}
        }
    }

    /// The names that the expression mentions.
    pub(super) fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(&mut |expr| {
            if let ExprKind::Name(name) = &expr.kind {
                found.push(name.clone());
            }
        });
        found
    }
}

/// The docstring of a body.
pub(super) fn docstring(body: &[Stmt]) -> Option<String> {
    match body.first().map(|stmt| &stmt.kind) {
        Some(StmtKind::Expr(Expr { kind: ExprKind::Str(text), .. })) => Some(text.clone()),
        _ => None,
    }
}
