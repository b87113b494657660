//! The declarations of one file, without function bodies.

use rondel_fault::{Fault, Result};
use tree_sitter::{Node, Parser};

use super::comments::CommentGroup;
use crate::source::{ModuleFacts, Position, SourceFile};

/// How deep types may be nested.
const MAX_DEPTH: usize = 100;

/// The declarations of a file.
#[derive(Debug, Default)]
pub(crate) struct ParsedFile {
    pub(crate) file: SourceFile,
    pub(crate) package: String,
    /// The first comment above the package clause. The original takes it for the description of the
    /// module, even where it is a licence.
    pub(crate) doc: Option<CommentGroup>,
    /// Import paths by the name under which the file uses them.
    pub(crate) imports: Vec<(String, String)>,
    pub(crate) types: Vec<TypeDecl>,
    pub(crate) funcs: Vec<FuncDecl>,
    pub(crate) constants: Vec<ConstDecl>,
    /// Whether a function without a package in front is called `Tracer`.
    pub(crate) calls_tracer: bool,
}

/// A declared type.
#[derive(Clone, Debug)]
pub(crate) struct TypeDecl {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) doc: Option<CommentGroup>,
    pub(crate) ty: TypeExpr,
    pub(crate) is_alias: bool,
    pub(crate) is_generic: bool,
}

/// A declared function or method, or a method of an interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct FuncDecl {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) doc: Option<CommentGroup>,
    /// The name of the receiver's type.
    pub(crate) receiver: Option<String>,
    pub(crate) is_generic: bool,
    pub(crate) params: Vec<FieldDecl>,
    pub(crate) results: Vec<TypeExpr>,
}

/// A parameter, or a field of a struct.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldDecl {
    /// Empty for an embedded field and for a parameter without a name.
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) above: Option<CommentGroup>,
    pub(crate) trailing: Option<CommentGroup>,
    pub(crate) ty: TypeExpr,
    pub(crate) variadic: bool,
    /// The tag of a field of a struct.
    pub(crate) tag: String,
}

/// A constant.
#[derive(Clone, Debug)]
pub(crate) struct ConstDecl {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) above: Option<CommentGroup>,
    pub(crate) trailing: Option<CommentGroup>,
    /// The declared type, also that of the constant from which it is repeated.
    pub(crate) ty: Option<TypeExpr>,
    pub(crate) value: Option<Value>,
    /// The value of `iota`.
    pub(crate) iota: i64,
}

/// The expression of a constant.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// A number, a boolean or a character, as it is written.
    Literal(String),
    Name(String),
    Call(String, Box<Value>),
    Binary(Box<Value>, String, Box<Value>),
    Other,
}

/// A type as it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct TypeExpr {
    pub(crate) at: Position,
    /// The text of the type.
    pub(crate) text: String,
    pub(crate) form: TypeForm,
}

/// The form of a type.
#[derive(Clone, Debug, Default)]
pub(crate) enum TypeForm {
    Name(String),
    Qualified(String, String),
    Pointer(Box<TypeExpr>),
    Slice(Box<TypeExpr>),
    Struct(Vec<FieldDecl>),
    /// Methods and the embedded types.
    Interface(Vec<FuncDecl>, Vec<TypeExpr>),
    #[default]
    Other,
}

/// Parses a file.
///
/// # Errors
/// When it is not Go: with the place of the first error.
pub(crate) fn parse(file: &SourceFile, facts: &ModuleFacts) -> Result<ParsedFile> {
    let mut parser = Parser::new();
    let language = parser.set_language(&tree_sitter_go::LANGUAGE.into());
    language.map_err(|e| Fault::bug("cannot load the grammar of Go").caused_by(e))?;
    // The grammar wants a line to end.
    let text = format!("{}\n", file.text);
    let tree = parser.parse(&text, None).ok_or_else(|| Fault::bug("the parser of Go was cancelled"))?;
    let root = tree.root_node();
    if root.has_error() {
        let (at, message) = first_error(root, &text);
        return Err(facts.error_at(file, at, message));
    }
    let mut reader = Reader { text: &text, comments: comments(root, &text), depth: 0 };
    let mut parsed = ParsedFile { file: file.clone(), ..ParsedFile::default() };
    parsed.calls_tracer = text.contains("Tracer(") && calls(root, &text, "Tracer");
    let mut cursor = root.walk();
    for node in root.named_children(&mut cursor) {
        match node.kind() {
            "package_clause" => {
                parsed.package = node.named_child(0).map(|it| reader.text(it)).unwrap_or_default();
                parsed.doc = reader.comments.iter().find(|group| group.end <= node.start_byte()).cloned();
            }
            "import_declaration" => imports(&reader, node, &mut parsed.imports),
            "type_declaration" => reader.types(node, &mut parsed.types),
            "const_declaration" => reader.constants(node, &mut parsed.constants),
            "function_declaration" | "method_declaration" => parsed.funcs.push(reader.func(node)),
            _ => {}
        }
    }
    Ok(parsed)
}

/// The first place that the grammar does not allow.
fn first_error(root: Node<'_>, text: &str) -> (Position, String) {
    let mut found = root;
    loop {
        let mut cursor = found.walk();
        let next = found.children(&mut cursor).find(|it| it.is_error() || it.is_missing() || it.has_error());
        match next {
            Some(next) if !found.is_error() || next.is_error() || next.is_missing() => found = next,
            _ => break,
        }
    }
    let at = position(found.start_position());
    if found.is_missing() {
        return (at, format!("syntax error: `{}` is missing", found.kind()));
    }
    let near: String = text[found.start_byte()..].lines().next().unwrap_or_default().trim().chars().take(40).collect();
    (at, format!("syntax error near `{near}`"))
}

fn position(point: tree_sitter::Point) -> Position {
    let number = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
    Position { line: number(point.row), column: number(point.column) }
}

/// Whether a function `name` is called.
fn calls(root: Node<'_>, text: &str, name: &str) -> bool {
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        if node.kind() == "call_expression"
            && let Some(function) = node.child_by_field_name("function")
            && function.kind() == "identifier"
            && &text[function.byte_range()] == name
        {
            return true;
        }
        let mut cursor = node.walk();
        pending.extend(node.named_children(&mut cursor));
    }
    false
}

/// All comments, in groups.
fn comments(root: Node<'_>, text: &str) -> Vec<CommentGroup> {
    let mut nodes = Vec::new();
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        if node.kind() == "comment" {
            nodes.push(node);
        }
        let mut cursor = node.walk();
        pending.extend(node.children(&mut cursor));
    }
    nodes.sort_by_key(Node::start_byte);
    let mut groups: Vec<CommentGroup> = Vec::new();
    for node in nodes {
        let (start, end) = (node.start_byte(), node.end_byte());
        let (first_line, last_line) = (node.start_position().row, node.end_position().row);
        let comment = text[start..end].replace('\r', "");
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        if let Some(last) = groups.last_mut()
            && text[last.end..start].trim().is_empty()
            && first_line <= last.last_line + usize::from(!last.trails)
        {
            last.comments.push(comment);
            (last.end, last.last_line) = (end, last_line);
            continue;
        }
        let trails = !text[line_start..start].trim().is_empty();
        groups.push(CommentGroup { start, end, first_line, last_line, trails, comments: vec![comment] });
    }
    groups
}

fn imports(reader: &Reader<'_>, node: Node<'_>, into: &mut Vec<(String, String)>) {
    let mut pending = vec![node];
    while let Some(node) = pending.pop() {
        if node.kind() != "import_spec" {
            let mut cursor = node.walk();
            pending.extend(node.named_children(&mut cursor));
            continue;
        }
        let Some(path) = node.child_by_field_name("path") else { continue };
        let path = reader.text(path).trim_matches(['"', '`']).to_owned();
        let name = match node.child_by_field_name("name") {
            Some(name) => reader.text(name),
            None => package_of(&path).to_owned(),
        };
        into.push((name, path));
    }
}

/// The name of the package at an import path, as far as the path tells.
fn package_of(path: &str) -> &str {
    let mut parts = path.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let is_version = last.strip_prefix('v').is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
    if is_version { parts.next().unwrap_or(last) } else { last }
}

/// Reads declarations of one file.
struct Reader<'t> {
    text: &'t str,
    comments: Vec<CommentGroup>,
    depth: usize,
}

impl Reader<'_> {
    fn text(&self, node: Node<'_>) -> String {
        self.text[node.byte_range()].to_owned()
    }

    fn field_text(&self, node: Node<'_>, field: &str) -> String {
        node.child_by_field_name(field).map(|it| self.text(it)).unwrap_or_default()
    }

    /// The comment that ends directly above a line.
    fn above(&self, row: usize) -> Option<CommentGroup> {
        let line = row.checked_sub(1)?;
        self.comments.iter().find(|group| !group.trails && group.last_line == line).cloned()
    }

    /// The comment behind `end`, on the same line.
    fn trailing(&self, row: usize, end: usize) -> Option<CommentGroup> {
        self.comments.iter().find(|group| group.start >= end && group.first_line == row).cloned()
    }

    fn types(&mut self, declaration: Node<'_>, into: &mut Vec<TypeDecl>) {
        let mut cursor = declaration.walk();
        let specs: Vec<Node<'_>> = declaration
            .named_children(&mut cursor)
            .filter(|node| matches!(node.kind(), "type_spec" | "type_alias"))
            .collect();
        let is_group = declaration.child(1).is_some_and(|it| it.kind() == "(");
        for spec in specs {
            let Some(name) = spec.child_by_field_name("name") else { continue };
            let own = if is_group { spec } else { declaration };
            let doc = self.above(own.start_position().row);
            into.push(TypeDecl {
                name: self.text(name),
                at: position(name.start_position()),
                doc,
                ty: spec.child_by_field_name("type").map(|it| self.type_expr(it)).unwrap_or_default(),
                is_alias: spec.kind() == "type_alias",
                is_generic: spec.child_by_field_name("type_parameters").is_some(),
            });
        }
    }

    fn func(&mut self, node: Node<'_>) -> FuncDecl {
        let receiver = node.child_by_field_name("receiver").and_then(|list| {
            let parameter = list.named_child(0)?.child_by_field_name("type")?;
            Some(self.text(parameter).trim_matches(['*', '(', ')', ' ']).split('[').next()?.to_owned())
        });
        FuncDecl {
            name: self.field_text(node, "name"),
            at: position(node.start_position()),
            doc: self.above(node.start_position().row),
            receiver,
            is_generic: node.child_by_field_name("type_parameters").is_some(),
            ..self.signature(node)
        }
    }

    /// The parameters and results of a function.
    fn signature(&mut self, node: Node<'_>) -> FuncDecl {
        let mut func = FuncDecl::default();
        if let Some(parameters) = node.child_by_field_name("parameters") {
            func.params = self.params(parameters);
        }
        match node.child_by_field_name("result") {
            Some(list) if list.kind() == "parameter_list" => {
                let results = self.params(list);
                func.results = results.into_iter().map(|it| it.ty).collect();
            }
            Some(result) => func.results.push(self.type_expr(result)),
            None => {}
        }
        func
    }

    /// The parameters of a list. Comments belong to them by the lines.
    fn params(&mut self, list: Node<'_>) -> Vec<FieldDecl> {
        let mut params = Vec::new();
        let mut cursor = list.walk();
        for node in list.named_children(&mut cursor).collect::<Vec<_>>() {
            let variadic = node.kind() == "variadic_parameter_declaration";
            if !variadic && node.kind() != "parameter_declaration" {
                continue;
            }
            let ty = node.child_by_field_name("type").map(|it| self.type_expr(it)).unwrap_or_default();
            let mut names = node.walk();
            let names: Vec<Node<'_>> = node.children_by_field_name("name", &mut names).collect();
            let places = if names.is_empty() { vec![node] } else { names };
            for place in places {
                let name = if place.kind() == "identifier" { self.text(place) } else { String::new() };
                let at = position(place.start_position());
                params.push((place, FieldDecl { name, at, ty: ty.clone(), variadic, ..FieldDecl::default() }));
            }
        }
        let row = |node: Node<'_>| node.start_position().row;
        let mut before = row(list);
        let rows: Vec<usize> = params.iter().map(|(node, _)| row(*node)).collect();
        let end = list.end_position().row;
        let with_comments = params.into_iter().enumerate().map(|(index, (node, mut param))| {
            let own = rows[index];
            // A comment above is on lines between this parameter and what is before it.
            if own > before + 1 {
                param.above = self.above(own);
            }
            if rows.get(index + 1).copied().unwrap_or(end) != own {
                param.trailing = self.trailing(own, node.end_byte());
            }
            before = own;
            param
        });
        with_comments.collect()
    }

    fn type_expr(&mut self, node: Node<'_>) -> TypeExpr {
        let (at, text) = (position(node.start_position()), self.text(node));
        self.depth += 1;
        let form = if self.depth > MAX_DEPTH { TypeForm::Other } else { self.form(node) };
        self.depth -= 1;
        TypeExpr { at, text, form }
    }

    fn form(&mut self, node: Node<'_>) -> TypeForm {
        match node.kind() {
            "type_identifier" => TypeForm::Name(self.text(node)),
            "qualified_type" => TypeForm::Qualified(self.field_text(node, "package"), self.field_text(node, "name")),
            "pointer_type" => match node.named_child(0) {
                Some(inner) => TypeForm::Pointer(Box::new(self.type_expr(inner))),
                None => TypeForm::Other,
            },
            "parenthesized_type" => node.named_child(0).map(|inner| self.form(inner)).unwrap_or_default(),
            "slice_type" => match node.child_by_field_name("element") {
                Some(element) => TypeForm::Slice(Box::new(self.type_expr(element))),
                None => TypeForm::Other,
            },
            "struct_type" => TypeForm::Struct(node.named_child(0).map(|list| self.fields(list)).unwrap_or_default()),
            "interface_type" => self.interface(node),
            _ => TypeForm::Other,
        }
    }

    fn interface(&mut self, node: Node<'_>) -> TypeForm {
        let (mut methods, mut embedded) = (Vec::new(), Vec::new());
        let mut cursor = node.walk();
        for member in node.named_children(&mut cursor).collect::<Vec<_>>() {
            match member.kind() {
                "method_elem" => methods.push(FuncDecl {
                    name: self.field_text(member, "name"),
                    // Where `go/ast` says that the type of the method is.
                    at: position(member.child_by_field_name("parameters").unwrap_or(member).start_position()),
                    doc: self.above(member.start_position().row),
                    ..self.signature(member)
                }),
                "type_elem" => embedded.extend(member.named_child(0).map(|it| self.type_expr(it))),
                _ => {}
            }
        }
        TypeForm::Interface(methods, embedded)
    }

    fn fields(&mut self, list: Node<'_>) -> Vec<FieldDecl> {
        let mut fields = Vec::new();
        let mut cursor = list.walk();
        for node in list.named_children(&mut cursor).collect::<Vec<_>>() {
            if node.kind() != "field_declaration" {
                continue;
            }
            let row = node.start_position().row;
            let (above, trailing) = (self.above(row), self.trailing(node.end_position().row, node.end_byte()));
            let mut ty = node.child_by_field_name("type").map(|it| self.type_expr(it)).unwrap_or_default();
            let tag = self.field_text(node, "tag");
            let mut names = node.walk();
            let names: Vec<Node<'_>> = node.children_by_field_name("name", &mut names).collect();
            if names.is_empty() && node.child(0).is_some_and(|it| it.kind() == "*") {
                ty = TypeExpr { text: format!("*{}", ty.text), at: ty.at, form: TypeForm::Pointer(Box::new(ty)) };
            }
            let places = if names.is_empty() {
                vec![(String::new(), node)]
            } else {
                names.iter().map(|it| (self.text(*it), *it)).collect()
            };
            for (name, place) in places {
                let (above, trailing, ty, tag) = (above.clone(), trailing.clone(), ty.clone(), tag.clone());
                let at = position(place.start_position());
                fields.push(FieldDecl { name, at, above, trailing, ty, variadic: false, tag });
            }
        }
        fields
    }

    fn constants(&mut self, declaration: Node<'_>, into: &mut Vec<ConstDecl>) {
        let mut cursor = declaration.walk();
        let specs: Vec<Node<'_>> =
            declaration.named_children(&mut cursor).filter(|node| node.kind() == "const_spec").collect();
        let is_group = declaration.child(1).is_some_and(|it| it.kind() == "(");
        let (mut ty, mut values): (Option<TypeExpr>, Vec<Value>) = (None, Vec::new());
        for (iota, spec) in specs.into_iter().enumerate() {
            // A constant without a type and a value repeats those of the one before.
            if let Some(list) = spec.child_by_field_name("value") {
                ty = spec.child_by_field_name("type").map(|it| self.type_expr(it));
                let mut cursor = list.walk();
                values = list.named_children(&mut cursor).map(|it| self.value(it)).collect();
            }
            let own = if is_group { spec } else { declaration };
            let above = self.above(own.start_position().row);
            let trailing = self.trailing(spec.end_position().row, spec.end_byte());
            let mut names = spec.walk();
            let names: Vec<Node<'_>> =
                spec.children_by_field_name("name", &mut names).filter(|it| it.kind() == "identifier").collect();
            for (index, name) in names.into_iter().enumerate() {
                into.push(ConstDecl {
                    name: self.text(name),
                    at: position(name.start_position()),
                    above: above.clone(),
                    trailing: trailing.clone(),
                    ty: ty.clone(),
                    value: values.get(index).cloned(),
                    iota: i64::try_from(iota).unwrap_or(i64::MAX),
                });
            }
        }
    }

    fn value(&self, node: Node<'_>) -> Value {
        match node.kind() {
            "interpreted_string_literal" | "raw_string_literal" => match unquoted(&self.text(node)) {
                Some(text) => Value::Text(text),
                None => Value::Other,
            },
            "int_literal" | "float_literal" | "true" | "false" => Value::Literal(self.text(node)),
            "identifier" | "iota" => Value::Name(self.text(node)),
            "parenthesized_expression" => node.named_child(0).map_or(Value::Other, |inner| self.value(inner)),
            "call_expression" | "type_conversion_expression" => {
                let name = node.child_by_field_name("function").or_else(|| node.child_by_field_name("type"));
                let inner = node.child_by_field_name("arguments").and_then(|it| it.named_child(0));
                let inner = inner.or_else(|| node.child_by_field_name("operand"));
                match (name, inner) {
                    (Some(name), Some(inner)) => Value::Call(self.text(name), Box::new(self.value(inner))),
                    _ => Value::Other,
                }
            }
            "binary_expression" => {
                let side = |name: &str| node.child_by_field_name(name).map_or(Value::Other, |it| self.value(it));
                let operator = self.field_text(node, "operator");
                Value::Binary(Box::new(side("left")), operator, Box::new(side("right")))
            }
            _ => Value::Other,
        }
    }
}

/// The text of a string literal.
fn unquoted(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = Vec::new();
    let mut chars = inner.chars();
    let mut buffer = [0; 4];
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let number = |chars: &mut std::str::Chars<'_>, digits: usize, radix: u32| {
            u32::from_str_radix(&chars.take(digits).collect::<String>(), radix).ok()
        };
        match chars.next()? {
            'n' => text.push(b'\n'),
            't' => text.push(b'\t'),
            'r' => text.push(b'\r'),
            'a' => text.push(7),
            'b' => text.push(8),
            'f' => text.push(12),
            'v' => text.push(11),
            'x' => text.push(u8::try_from(number(&mut chars, 2, 16)?).ok()?),
            'u' => {
                text.extend_from_slice(char::from_u32(number(&mut chars, 4, 16)?)?.encode_utf8(&mut buffer).as_bytes())
            }
            'U' => {
                text.extend_from_slice(char::from_u32(number(&mut chars, 8, 16)?)?.encode_utf8(&mut buffer).as_bytes())
            }
            c if c.is_digit(8) => {
                let rest: String = chars.by_ref().take(2).collect();
                text.push(u8::from_str_radix(&format!("{c}{rest}"), 8).ok()?);
            }
            c => text.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    String::from_utf8(text).ok()
}
