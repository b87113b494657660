//! From text to [`super::ast`], by the grammar of tree-sitter.

use std::rc::Rc;

use tree_sitter::{Node, Parser};

use super::ast::docstring;
use super::ast::{ClassDef, Expr, ExprKind, FromImport, FunctionDef, Param, ParamKind, Stmt, StmtKind, Try};
use super::nodes::{Reader, children, fields, line};

/// A parsed file.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) body: Vec<Stmt>,
    pub(super) doc: Option<String>,
    /// Whether `from __future__ import annotations` makes all annotations strings.
    pub(super) future_annotations: bool,
}

/// Parses a file.
///
/// # Errors
/// The line of the first syntax error.
pub(super) fn parse(text: &str) -> Result<Parsed, u32> {
    let mut parser = Parser::new();
    if parser.set_language(&tree_sitter_python::LANGUAGE.into()).is_err() {
        return Err(1);
    }
    let tree = parser.parse(text, None).ok_or(1_u32)?;
    let root = tree.root_node();
    if let Some(at) = first_error(root).or_else(|| first_python2(root)) {
        return Err(line(at));
    }
    let reader = Reader { text };
    let body = reader.body(root);
    let future_annotations = children(root).into_iter().any(|node| {
        node.kind() == "future_import_statement"
            && children(node).into_iter().any(|name| reader.text(name) == "annotations")
    });
    Ok(Parsed { doc: docstring(&body), body, future_annotations })
}

/// An expression in a string: a string annotation.
pub(super) fn parse_expression(text: &str, at: u32) -> Option<Expr> {
    let parsed = parse(text.trim()).ok()?;
    match <[Stmt; 1]>::try_from(parsed.body) {
        Ok([Stmt { kind: StmtKind::Expr(expr), .. }]) => Some(Expr { line: at, ..expr }),
        _ => None,
    }
}

fn first_error(node: Node<'_>) -> Option<Node<'_>> {
    if !node.has_error() {
        return None;
    }
    if node.is_error() || node.is_missing() {
        return Some(node);
    }
    let mut cursor = node.walk();
    let mut found = node.children(&mut cursor).filter_map(first_error);
    found.next().or(Some(node))
}

/// The first statement of Python 2, which the grammar admits.
fn first_python2(node: Node<'_>) -> Option<Node<'_>> {
    if matches!(node.kind(), "print_statement" | "exec_statement") {
        return Some(node);
    }
    let mut cursor = node.walk();
    let mut found = node.named_children(&mut cursor).filter_map(first_python2);
    found.next()
}

impl Reader<'_> {
    fn body(&self, node: Node<'_>) -> Vec<Stmt> {
        children(node).into_iter().map(|child| self.stmt(child)).collect()
    }

    fn block(&self, node: Node<'_>, field: &str) -> Vec<Stmt> {
        node.child_by_field_name(field).map(|block| self.body(block)).unwrap_or_default()
    }

    fn stmt(&self, node: Node<'_>) -> Stmt {
        let kind = match node.kind() {
            "import_statement" => StmtKind::Import(self.imported(node)),
            "import_from_statement" => StmtKind::FromImport(self.import_from(node)),
            "future_import_statement" | "pass_statement" | "assert_statement" | "global_statement" => StmtKind::Pass,
            "class_definition" => StmtKind::Class(Rc::new(self.class(node, Vec::new()))),
            "function_definition" => StmtKind::Function(Rc::new(self.function(node, Vec::new()))),
            "decorated_definition" => self.decorated(node),
            "expression_statement" => self.expression_statement(node),
            "if_statement" => self.if_statement(node),
            "try_statement" => StmtKind::Try(self.try_statement(node)),
            "for_statement" => {
                let targets = fields(node, "left").into_iter().chain(fields(node, "right"));
                StmtKind::Loop(targets.map(|target| self.expr(target)).collect(), self.loop_body(node))
            }
            "while_statement" => {
                let condition = fields(node, "condition").into_iter().map(|c| self.expr(c)).collect();
                StmtKind::Loop(condition, self.loop_body(node))
            }
            "with_statement" => self.with_statement(node),
            "match_statement" => self.match_statement(node),
            "raise_statement" => StmtKind::Raise,
            "delete_statement" => StmtKind::Delete(children(node).into_iter().map(|c| self.expr(c)).collect()),
            "type_alias_statement" => StmtKind::Other("type alias"),
            _ => StmtKind::Other("statement"),
        };
        Stmt { line: line(node), kind }
    }

    fn loop_body(&self, node: Node<'_>) -> Vec<Stmt> {
        let mut body = self.block(node, "body");
        for part in fields(node, "alternative") {
            body.extend(self.block(part, "body"));
        }
        body
    }

    fn imported(&self, node: Node<'_>) -> Vec<(String, Option<String>)> {
        fields(node, "name").into_iter().map(|name| self.import_name(name)).collect()
    }

    fn import_name(&self, node: Node<'_>) -> (String, Option<String>) {
        let plain = |node: Node<'_>| self.text(node).split_whitespace().collect::<String>();
        match node.kind() {
            "aliased_import" => {
                let name = node.child_by_field_name("name").map(plain).unwrap_or_default();
                (name, node.child_by_field_name("alias").map(plain))
            }
            _ => (plain(node), None),
        }
    }

    fn import_from(&self, node: Node<'_>) -> FromImport {
        let source = self.owned(node.child_by_field_name("module_name"));
        let source: String = source.split_whitespace().collect();
        let module = source.trim_start_matches('.');
        FromImport { level: source.len() - module.len(), module: module.to_owned(), names: self.imported(node) }
    }

    fn decorated(&self, node: Node<'_>) -> StmtKind {
        let of = |child: Node<'_>| children(child).first().map(|expr| self.expr(*expr));
        let found = children(node).into_iter().filter(|child| child.kind() == "decorator");
        let decorators = found.filter_map(of).collect();
        match node.child_by_field_name("definition") {
            Some(inner) if inner.kind() == "class_definition" => {
                StmtKind::Class(Rc::new(self.class(inner, decorators)))
            }
            Some(inner) => StmtKind::Function(Rc::new(self.function(inner, decorators))),
            None => StmtKind::Other("decorator"),
        }
    }

    fn class(&self, node: Node<'_>, decorators: Vec<Expr>) -> ClassDef {
        let mut unusual = node.child_by_field_name("type_parameters").is_some();
        let (mut bases, mut keywords) = (Vec::new(), Vec::new());
        for base in node.child_by_field_name("superclasses").map(children).unwrap_or_default() {
            match base.kind() {
                "keyword_argument" => keywords.push(self.keyword(base)),
                "list_splat" | "dictionary_splat" => unusual = true,
                _ => bases.push(self.expr(base)),
            }
        }
        ClassDef {
            name: self.owned(node.child_by_field_name("name")),
            line: line(node),
            decorators,
            bases,
            keywords,
            unusual,
            body: self.block(node, "body"),
        }
    }

    fn function(&self, node: Node<'_>, decorators: Vec<Expr>) -> FunctionDef {
        let (mut mentions, mut globals) = (Vec::new(), Vec::new());
        let body = node.child_by_field_name("body");
        if let Some(body) = body {
            self.mentions(body, &mut mentions, &mut globals);
        }
        let first = body.and_then(|body| children(body).first().copied());
        let doc = first.map(|first| docstring(&[self.stmt(first)]));
        FunctionDef {
            name: self.owned(node.child_by_field_name("name")),
            line: line(node),
            decorators,
            params: node.child_by_field_name("parameters").map(|it| self.params(it)).unwrap_or_default(),
            returns: node.child_by_field_name("return_type").map(|it| self.expr(it)),
            doc: doc.flatten(),
            generic: node.child_by_field_name("type_parameters").is_some(),
            mentions,
            globals,
        }
    }

    /// Collects the names in the body of a function.
    fn mentions(&self, node: Node<'_>, names: &mut Vec<String>, globals: &mut Vec<String>) {
        match node.kind() {
            "identifier" => names.push(self.text(node).to_owned()),
            "global_statement" => {
                globals.extend(children(node).into_iter().map(|name| self.text(name).to_owned()));
            }
            _ => children(node).into_iter().for_each(|child| self.mentions(child, names, globals)),
        }
    }

    fn params(&self, node: Node<'_>) -> Vec<Param> {
        let mut params: Vec<Param> = Vec::new();
        for child in children(node) {
            if child.kind() == "positional_separator" {
                params.iter_mut().for_each(|param| param.kind = ParamKind::PositionalOnly);
            } else if let Some(param) = self.param(child) {
                params.push(param);
            }
        }
        params
    }

    fn param(&self, node: Node<'_>) -> Option<Param> {
        let expr = |name: &str| node.child_by_field_name(name).map(|it| self.expr(it));
        let named = match node.kind() {
            "default_parameter" | "typed_default_parameter" => node.child_by_field_name("name")?,
            "typed_parameter" => *children(node).first()?,
            "identifier" | "list_splat_pattern" | "dictionary_splat_pattern" => node,
            _ => return None,
        };
        let variadic = matches!(named.kind(), "list_splat_pattern" | "dictionary_splat_pattern");
        let kind = if variadic { ParamKind::Variadic } else { ParamKind::Normal };
        let name = self.text(named).trim_start_matches('*').trim().to_owned();
        Some(Param { name, line: line(node), kind, annotation: expr("type"), default: expr("value") })
    }

    fn expression_statement(&self, node: Node<'_>) -> StmtKind {
        let all = children(node);
        let [only] = all[..] else {
            return StmtKind::Expr(Expr { line: line(node), kind: ExprKind::Tuple(self.exprs(all)) });
        };
        let part = |name: &str| only.child_by_field_name(name).map(|it| self.expr(it));
        match only.kind() {
            "assignment" => {
                if let (Some(target), Some(annotation)) = (part("left"), part("type")) {
                    return StmtKind::Annotated(target, annotation, part("right"));
                }
                self.assignment(only)
            }
            "augmented_assignment" => match (part("left"), part("right")) {
                (Some(target), Some(value)) => StmtKind::Augmented(target, value),
                _ => StmtKind::Other("assignment"),
            },
            _ => StmtKind::Expr(self.expr(only)),
        }
    }

    /// `a = b = value`: a chain of assignments.
    fn assignment(&self, node: Node<'_>) -> StmtKind {
        let mut targets = Vec::new();
        let mut at = node;
        loop {
            targets.extend(at.child_by_field_name("left").map(|it| self.expr(it)));
            match at.child_by_field_name("right") {
                Some(right) if right.kind() == "assignment" => at = right,
                Some(right) => return StmtKind::Assign(targets, self.expr(right)),
                None => return StmtKind::Other("assignment"),
            }
        }
    }

    fn if_statement(&self, node: Node<'_>) -> StmtKind {
        let mut rest = fields(node, "alternative");
        let mut otherwise = Vec::new();
        while let Some(part) = rest.pop() {
            match part.kind() {
                "elif_clause" => {
                    let condition = self.condition(part);
                    let kind = StmtKind::If(condition, self.block(part, "consequence"), otherwise);
                    otherwise = vec![Stmt { line: line(part), kind }];
                }
                _ => otherwise = self.block(part, "body"),
            }
        }
        StmtKind::If(self.condition(node), self.block(node, "consequence"), otherwise)
    }

    fn condition(&self, node: Node<'_>) -> Expr {
        let found = node.child_by_field_name("condition").map(|it| self.expr(it));
        found.unwrap_or(Expr { line: line(node), kind: ExprKind::Other(Vec::new()) })
    }

    fn try_statement(&self, node: Node<'_>) -> Try {
        let (mut handlers, mut after) = (Vec::new(), Vec::new());
        for part in children(node) {
            let blocks = children(part).into_iter().filter(|child| child.kind() == "block");
            let body: Vec<Stmt> = blocks.flat_map(|block| self.body(block)).collect();
            match part.kind() {
                "except_clause" | "except_group_clause" => handlers.push(body),
                "else_clause" | "finally_clause" => after.extend(body),
                _ => {}
            }
        }
        Try { body: self.block(node, "body"), handlers, after }
    }

    fn with_statement(&self, node: Node<'_>) -> StmtKind {
        let (mut values, mut targets) = (Vec::new(), Vec::new());
        for clause in children(node).into_iter().filter(|child| child.kind() == "with_clause") {
            for value in children(clause).into_iter().filter_map(|item| item.child_by_field_name("value")) {
                match value.kind() {
                    "as_pattern" => {
                        values.extend(children(value).first().map(|it| self.expr(*it)));
                        targets.extend(value.child_by_field_name("alias").map(|it| self.expr(it)));
                    }
                    _ => values.push(self.expr(value)),
                }
            }
        }
        StmtKind::With(values, targets, self.block(node, "body"))
    }

    fn match_statement(&self, node: Node<'_>) -> StmtKind {
        let subject = node.child_by_field_name("subject").map(|it| self.expr(it));
        let subject = subject.unwrap_or(Expr { line: line(node), kind: ExprKind::Other(Vec::new()) });
        let cases = node.child_by_field_name("body").map(children).unwrap_or_default();
        StmtKind::Match(subject, cases.into_iter().map(|case| self.block(case, "consequence")).collect())
    }
}
