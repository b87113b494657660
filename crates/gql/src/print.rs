//! Prints a schema as text. Equal schemas give equal text; golden files hold it.

use std::fmt::Write as _;

use crate::builtin;
use crate::types::{AppliedDirective, ArgDef, Fields, Schema, TypeDef, TypeKind};

/// Prints a schema: directives and types by name, members in their order; what is hidden or built
/// in is left out.
pub fn print(schema: &Schema) -> String {
    let mut out = String::new();
    let mut directives: Vec<_> = schema.directives.iter().collect();
    directives.sort_by(|a, b| a.name.cmp(&b.name));
    for directive in directives {
        if matches!(&*directive.name, "skip" | "include" | "deprecated") {
            continue;
        }
        describe(&mut out, "", &directive.description);
        let _ = write!(out, "directive @{}", directive.name);
        arguments(&mut out, directive.args.iter().map(|arg| &**arg));
        let locations: Vec<&str> = directive.locations.iter().map(|location| &**location).collect();
        let _ = writeln!(out, " on {}\n", locations.join(" | "));
    }
    let mut types: Vec<_> = schema.types.values().collect();
    types.sort_by(|a, b| a.name.cmp(&b.name));
    for ty in types {
        if !builtin::is_introspection(&ty.name) && !builtin::is_builtin_scalar(&ty.name) {
            print_type(&mut out, ty);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn print_type(out: &mut String, ty: &TypeDef) {
    describe(out, "", &ty.description);
    let (keyword, interfaces) = match &ty.kind {
        TypeKind::Scalar => ("scalar", None),
        TypeKind::Object(fields) => ("type", Some(&fields.interfaces)),
        TypeKind::Interface(fields) => ("interface", Some(&fields.interfaces)),
        TypeKind::Enum(_) => ("enum", None),
        TypeKind::Input(_) => ("input", None),
    };
    let _ = write!(out, "{keyword} {}", ty.name);
    for (at, interface) in interfaces.into_iter().flatten().enumerate() {
        let _ = write!(out, "{}{interface}", if at == 0 { " implements " } else { " & " });
    }
    apply(out, &ty.directives);
    match &ty.kind {
        TypeKind::Scalar => out.push('\n'),
        TypeKind::Object(members) | TypeKind::Interface(members) => {
            out.push_str(" {\n");
            fields(out, members);
            out.push_str("}\n");
        }
        TypeKind::Enum(members) => {
            out.push_str(" {\n");
            for member in members.iter().filter(|member| !member.hidden) {
                describe(out, "  ", &member.description);
                let _ = write!(out, "  {}", member.name);
                apply(out, &member.directives);
                out.push('\n');
            }
            out.push_str("}\n");
        }
        TypeKind::Input(members) => {
            out.push_str(" {\n");
            for member in members.iter().filter(|member| !member.hidden) {
                describe(out, "  ", &member.description);
                out.push_str("  ");
                argument(out, member);
                out.push('\n');
            }
            out.push_str("}\n");
        }
    }
    out.push('\n');
}

fn fields(out: &mut String, fields: &Fields) {
    for field in fields.list.iter().filter(|field| field.is_listed()) {
        describe(out, "  ", &field.description);
        let _ = write!(out, "  {}", field.name);
        arguments(out, field.args.iter().map(|arg| &**arg));
        let _ = write!(out, ": {}", field.ty);
        apply(out, &field.directives);
        out.push('\n');
    }
}

fn arguments<'s>(out: &mut String, args: impl Iterator<Item = &'s ArgDef>) {
    let shown: Vec<&ArgDef> = args.filter(|arg| !arg.hidden).collect();
    if shown.is_empty() {
        return;
    }
    let described = shown.iter().any(|arg| !arg.description.is_empty());
    out.push('(');
    for (at, arg) in shown.iter().enumerate() {
        if described {
            out.push('\n');
            describe(out, "    ", &arg.description);
            out.push_str("    ");
        } else if at > 0 {
            out.push_str(", ");
        }
        argument(out, arg);
    }
    out.push_str(if described { "\n  )" } else { ")" });
}

fn argument(out: &mut String, arg: &ArgDef) {
    let _ = write!(out, "{}: {}", arg.name, arg.ty);
    if let Some(default) = &arg.default {
        let _ = write!(out, " = {default}");
    }
    apply(out, &arg.directives);
}

fn apply(out: &mut String, directives: &[AppliedDirective]) {
    for directive in directives {
        let _ = write!(out, " @{}", directive.name);
        for (at, (name, value)) in directive.args.iter().enumerate() {
            let _ = write!(out, "{}{name}: {value}", if at == 0 { "(" } else { ", " });
        }
        if !directive.args.is_empty() {
            out.push(')');
        }
    }
}

/// A description as a block string, which the parser reads back unchanged where block strings can
/// hold the text.
fn describe(out: &mut String, indent: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let block = text.replace("\"\"\"", "\\\"\"\"");
    if crate::lexer::dedent(&format!("\n{text}\n")) != text
        || text.ends_with('\\')
        || text.chars().any(|c| c < ' ' && c != '\n' && c != '\t')
    {
        let _ = writeln!(out, "{indent}{}", crate::value::Value::string(text));
        return;
    }
    let _ = writeln!(out, "{indent}\"\"\"");
    for line in block.split('\n') {
        if line.is_empty() {
            out.push('\n');
        } else {
            let _ = writeln!(out, "{indent}{line}");
        }
    }
    let _ = writeln!(out, "{indent}\"\"\"");
}
