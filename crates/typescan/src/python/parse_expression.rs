//! Expressions from the nodes of a syntax tree.

use tree_sitter::Node;

use super::ast::{Call, Expr, ExprKind};
use super::nodes::{Reader, children, fields, line};
use super::strings::{self, Literal};

impl Reader<'_> {
    pub(super) fn expr(&self, node: Node<'_>) -> Expr {
        Expr { line: line(node), kind: self.expr_kind(node) }
    }

    fn expr_kind(&self, node: Node<'_>) -> ExprKind {
        let part = |name: &str| node.child_by_field_name(name).map(|it| Box::new(self.expr(it)));
        let inner = || children(node).first().map(|it| self.expr(*it).kind);
        let other = || ExprKind::Other(self.exprs(children(node)));
        let known = match node.kind() {
            "identifier" => Some(ExprKind::Name(self.text(node).to_owned())),
            "none" => Some(ExprKind::None),
            "true" => Some(ExprKind::Bool(true)),
            "false" => Some(ExprKind::Bool(false)),
            "ellipsis" => Some(ExprKind::Ellipsis),
            "integer" => strings::integer(self.text(node)).map(ExprKind::Int),
            "float" => strings::float(self.text(node)).map(ExprKind::Float),
            "string" | "concatenated_string" => self.string(node),
            "attribute" => part("object")
                .zip(node.child_by_field_name("attribute"))
                .map(|(object, name)| ExprKind::Attribute(object, self.text(name).to_owned())),
            "call" => self.call(node),
            "subscript" => part("value").map(|value| ExprKind::Subscript(value, self.exprs(fields(node, "subscript")))),
            "generic_type" => self.generic_type(node),
            "member_type" => self.member_type(node),
            "union_type" => self.pair(node).map(|(left, right)| ExprKind::Or(left, right)),
            "binary_operator" if self.operator(node) == "|" => {
                part("left").zip(part("right")).map(|(left, right)| ExprKind::Or(left, right))
            }
            "unary_operator" if self.operator(node) == "-" => part("argument").map(ExprKind::Negative),
            "not_operator" => part("argument").map(ExprKind::Not),
            "comparison_operator" => self.comparison(node),
            "lambda" => Some(ExprKind::Lambda),
            "named_expression" => {
                part("value").map(|it| ExprKind::Walrus(self.owned(node.child_by_field_name("name")), it))
            }
            "parenthesized_expression" | "type" => inner().filter(|_| children(node).len() == 1),
            "list" => Some(ExprKind::List(self.exprs(children(node)))),
            "tuple" | "expression_list" | "pattern_list" | "tuple_pattern" => {
                Some(ExprKind::Tuple(self.exprs(children(node))))
            }
            "dictionary" => self.dictionary(node),
            _ => None,
        };
        known.unwrap_or_else(other)
    }

    fn operator(&self, node: Node<'_>) -> &str {
        node.child_by_field_name("operator").map(|it| self.text(it)).unwrap_or_default()
    }

    fn pair(&self, node: Node<'_>) -> Option<(Box<Expr>, Box<Expr>)> {
        match children(node)[..] {
            [left, right] => Some((Box::new(self.expr(left)), Box::new(self.expr(right)))),
            _ => None,
        }
    }

    fn string(&self, node: Node<'_>) -> Option<ExprKind> {
        let parts = if node.kind() == "string" { vec![node] } else { children(node) };
        let mut all = String::new();
        for part in parts {
            match strings::string(self.text(part)) {
                Literal::Text(text) => all.push_str(&text),
                Literal::Other => return None,
            }
        }
        Some(ExprKind::Str(all))
    }

    fn call(&self, node: Node<'_>) -> Option<ExprKind> {
        let function = self.expr(node.child_by_field_name("function")?);
        let (mut args, mut keywords, mut spreads) = (Vec::new(), Vec::new(), false);
        let list = node.child_by_field_name("arguments")?;
        if list.kind() == "generator_expression" {
            args.push(self.expr(list));
            return Some(ExprKind::Call(Box::new(Call { function, args, keywords, spreads })));
        }
        for arg in children(list) {
            match arg.kind() {
                "keyword_argument" => keywords.push(self.keyword(arg)),
                "list_splat" | "dictionary_splat" => {
                    spreads = true;
                    args.push(self.expr(arg));
                }
                _ => args.push(self.expr(arg)),
            }
        }
        Some(ExprKind::Call(Box::new(Call { function, args, keywords, spreads })))
    }

    /// `list[str]` where the grammar expects a type.
    fn generic_type(&self, node: Node<'_>) -> Option<ExprKind> {
        let (value, args) = match children(node)[..] {
            [value, args] if args.kind() == "type_parameter" => (value, args),
            _ => return None,
        };
        Some(ExprKind::Subscript(Box::new(self.expr(value)), self.exprs(children(args))))
    }

    fn member_type(&self, node: Node<'_>) -> Option<ExprKind> {
        match children(node)[..] {
            [object, name] => Some(ExprKind::Attribute(Box::new(self.expr(object)), self.text(name).to_owned())),
            _ => None,
        }
    }

    fn comparison(&self, node: Node<'_>) -> Option<ExprKind> {
        let operators = fields(node, "operators");
        match (&operators[..], self.pair(node)) {
            ([operator], Some((left, right))) => Some(ExprKind::Compare(left, self.text(*operator).to_owned(), right)),
            _ => None,
        }
    }

    fn dictionary(&self, node: Node<'_>) -> Option<ExprKind> {
        let pairs = children(node).into_iter().map(|pair| {
            let key = pair.child_by_field_name("key")?;
            let value = pair.child_by_field_name("value")?;
            Some((self.expr(key), self.expr(value)))
        });
        pairs.collect::<Option<_>>().map(ExprKind::Dict)
    }

    pub(super) fn exprs<'t>(&self, nodes: impl IntoIterator<Item = Node<'t>>) -> Vec<Expr> {
        nodes.into_iter().map(|node| self.expr(node)).collect()
    }

    pub(super) fn keyword(&self, node: Node<'_>) -> (String, Expr) {
        let value = node.child_by_field_name("value").map(|it| self.expr(it));
        let value = value.unwrap_or(Expr { line: line(node), kind: ExprKind::Other(Vec::new()) });
        (self.owned(node.child_by_field_name("name")), value)
    }
}
