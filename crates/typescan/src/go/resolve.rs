//! What the functions of a module use of its package, from the main object on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rondel_fault::{Fault, Result};
use serde_json::Value as Json;

use super::comments::{CommentGroup, Documentation};
use super::constants::Constants;
use super::names::{FindApiType, main_type};
use super::package::{Enum, EnumConstant, Field, Func, Interface, Package, Param, Place, Struct, Type};
use super::syntax::{ConstDecl, FieldDecl, FuncDecl, ParsedFile, TypeDecl, TypeExpr, TypeForm};
use crate::source::{ModuleFacts, Position};

/// Basic types that the API has.
const BASIC: [&str; 11] =
    ["string", "bool", "int", "int8", "int16", "int32", "int64", "rune", "float32", "float64", "error"];
/// Basic types that it lacks.
const UNSUPPORTED: [&str; 11] =
    ["byte", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "complex64", "complex128", "any", "comparable"];
/// The interface that interfaces of a module embed.
const OBJECT_INTERFACE: &str = "DaggerObject";
/// How many aliases and embedded structs are followed.
const MAX_DEPTH: usize = 50;
/// How many names an error lists.
const MAX_LISTED: usize = 8;

/// Collects the declarations of the package in `files` that are reachable from the main object.
///
/// # Errors
/// When there is no main object, or something reachable cannot be a type.
pub(crate) fn package(files: &[ParsedFile], facts: &ModuleFacts, api: FindApiType<'_>) -> Result<Package> {
    let mut scope = Scope::new(files, facts, api);
    scope.declare()?;
    let wanted = main_type(&facts.name);
    let main = scope.types.values().find(|(_, ty)| is_exported(&ty.name) && main_type(&ty.name) == wanted);
    let Some((file, main)) = main.copied() else { return Err(no_main_object(files, facts, &wanted)) };
    let mut package = Package {
        name: file.package.clone(),
        // With its last line break, as `go/ast` gives it.
        description: file.doc.as_ref().map(CommentGroup::text).unwrap_or_default(),
        main: main.name.clone(),
        uses_tracer: files.iter().any(|file| file.calls_tracer) && !scope.funcs.contains_key("Tracer"),
        uses_cgo: files.iter().any(|file| file.imports.iter().any(|(_, path)| path == "C")),
        ..Package::default()
    };
    scope.resolve(&main.ty_reference(), file, 0)?;
    if let Some((file, new)) = scope.funcs.get("New").copied() {
        package.constructor = Some(scope.constructor(file, new, &main.name)?);
    }
    while let Some(name) = scope.pending.pop_front() {
        let Some((file, declared)) = scope.types.get(name.as_str()).copied() else { continue };
        match &declared.ty.form {
            TypeForm::Struct(fields) => package.structs.push(scope.object(file, declared, fields)?),
            TypeForm::Interface(methods, embedded) => {
                package.interfaces.push(scope.interface(file, declared, methods, embedded)?);
            }
            _ => package.enums.push(scope.enumeration(file, declared)?),
        }
    }
    Ok(package)
}

fn no_main_object(files: &[ParsedFile], facts: &ModuleFacts, wanted: &str) -> Fault {
    let structs = files.iter().flat_map(|file| &file.types).filter(|ty| matches!(ty.ty.form, TypeForm::Struct(_)));
    let names: Vec<String> = structs.map(|ty| format!("`{}`", ty.name)).take(MAX_LISTED).collect();
    let fault =
        Fault::user(format!("module `{}` has no main object: its package declares no struct `{wanted}`", facts.name))
            .with_hint(format!("add `type {wanted} struct {{}}`, whose exported methods are the functions"));
    if names.is_empty() { fault } else { fault.with_hint(format!("the package declares {}", names.join(", "))) }
}

fn is_exported(name: &str) -> bool {
    name.chars().next().is_some_and(char::is_uppercase)
}

impl TypeDecl {
    fn ty_reference(&self) -> TypeExpr {
        TypeExpr { at: self.at, text: self.name.clone(), form: TypeForm::Name(self.name.clone()) }
    }
}

/// The declarations of a package by name.
struct Scope<'a> {
    files: &'a [ParsedFile],
    facts: &'a ModuleFacts,
    api: FindApiType<'a>,
    types: BTreeMap<&'a str, (&'a ParsedFile, &'a TypeDecl)>,
    funcs: HashMap<&'a str, (&'a ParsedFile, &'a FuncDecl)>,
    methods: HashMap<&'a str, Vec<(&'a ParsedFile, &'a FuncDecl)>>,
    constants: Constants<'a>,
    /// Types of the package that were found and have not been read yet.
    pending: VecDeque<String>,
    found: HashSet<String>,
}

impl<'a> Scope<'a> {
    fn new(files: &'a [ParsedFile], facts: &'a ModuleFacts, api: FindApiType<'a>) -> Self {
        Scope {
            files,
            facts,
            api,
            types: BTreeMap::new(),
            funcs: HashMap::new(),
            methods: HashMap::new(),
            constants: Constants(HashMap::new()),
            pending: VecDeque::new(),
            found: HashSet::new(),
        }
    }

    fn declare(&mut self) -> Result<()> {
        for file in self.files {
            if let Some(first) = self.files.first().filter(|first| first.package != file.package) {
                let message = format!(
                    "package `{}` is not package `{}` of `{}`: a folder has one package",
                    file.package, first.package, first.file.path
                );
                return Err(self.facts.error_at(&file.file, Position { line: 1, column: 1 }, message));
            }
            for ty in &file.types {
                if let Some((other, before)) = self.types.insert(&ty.name, (file, ty)) {
                    let message =
                        format!("`{}` is declared twice, first at {}:{}", ty.name, other.file.path, before.at.line);
                    return Err(self.facts.error_at(&file.file, ty.at, message));
                }
            }
            for func in &file.funcs {
                match &func.receiver {
                    Some(receiver) => self.methods.entry(receiver).or_default().push((file, func)),
                    None => _ = self.funcs.insert(&func.name, (file, func)),
                }
            }
            self.constants.0.extend(file.constants.iter().map(|it| (it.name.as_str(), it)));
        }
        Ok(())
    }

    fn place(file: &ParsedFile, at: Position) -> Place {
        Place { file: file.file.path.clone(), at }
    }

    fn error(&self, file: &ParsedFile, at: Position, message: impl std::fmt::Display) -> Fault {
        self.facts.error_at(&file.file, at, message)
    }

    /// The type that an expression stands for. Types of the package that it names are read later.
    fn resolve(&mut self, expr: &TypeExpr, file: &'a ParsedFile, depth: usize) -> Result<Type> {
        if depth > MAX_DEPTH {
            return Err(self.error(file, expr.at, format!("the type `{}` is nested too deeply", expr.text)));
        }
        let depth = depth + 1;
        match &expr.form {
            TypeForm::Pointer(inner) => Ok(Type::Pointer(Box::new(self.resolve(inner, file, depth)?))),
            TypeForm::Slice(inner) => Ok(Type::List(Box::new(self.resolve(inner, file, depth)?))),
            TypeForm::Name(name) => self.named(name, expr, file, depth),
            TypeForm::Qualified(package, name) => self.qualified(package, name, expr, file),
            // Users match on this text; see docs/protocol.md#types-of-go.
            TypeForm::Struct(_) => Err(self.error(file, expr.at, "struct types must be named")),
            TypeForm::Interface(..) | TypeForm::Other => {
                Err(self.error(file, expr.at, format!("unsupported type for named type reference `{}`", expr.text)))
            }
        }
    }

    /// The type of a private field. A struct of the package need not be a type of the API.
    fn resolve_private(&mut self, expr: &TypeExpr, file: &'a ParsedFile, depth: usize) -> Result<Type> {
        match &expr.form {
            TypeForm::Pointer(inner) if depth < MAX_DEPTH => {
                Ok(Type::Pointer(Box::new(self.resolve_private(inner, file, depth + 1)?)))
            }
            TypeForm::Slice(inner) if depth < MAX_DEPTH => {
                Ok(Type::List(Box::new(self.resolve_private(inner, file, depth + 1)?)))
            }
            TypeForm::Name(name) => match self.types.get(name.as_str()) {
                Some((_, TypeDecl { ty: TypeExpr { form: TypeForm::Struct(_), .. }, .. })) => {
                    Ok(Type::Struct(name.clone()))
                }
                _ => self.resolve(expr, file, depth),
            },
            _ => self.resolve(expr, file, depth),
        }
    }

    fn named(&mut self, name: &str, expr: &TypeExpr, file: &'a ParsedFile, depth: usize) -> Result<Type> {
        if let Some((declared_in, declared)) = self.types.get(name).copied() {
            return self.own(declared, declared_in, expr, file, depth);
        }
        if BASIC.contains(&name) {
            return Ok(Type::Basic(name.to_owned()));
        }
        if UNSUPPORTED.contains(&name) {
            return Err(self.error(file, expr.at, format!("unsupported basic type `{name}`")));
        }
        // Before v0.12.0 generated types had aliases in the package; a dot import has the same
        // effect.
        if (self.api)(name).is_some() {
            return Ok(Type::Api(name.to_owned()));
        }
        Err(self.error(file, expr.at, format!("undefined: {name}")))
    }

    fn own(
        &mut self,
        declared: &'a TypeDecl,
        declared_in: &'a ParsedFile,
        expr: &TypeExpr,
        file: &'a ParsedFile,
        depth: usize,
    ) -> Result<Type> {
        let name = &declared.name;
        if declared.is_generic {
            return Err(self.error(file, expr.at, format!("unsupported type for named type reference `{name}`")));
        }
        if declared.is_alias {
            return self.resolve(&declared.ty, declared_in, depth);
        }
        let ty = match &declared.ty.form {
            TypeForm::Struct(_) | TypeForm::Interface(..) if !is_exported(name) => {
                return Err(self.error(file, expr.at, format!("cannot code-generate unexported type {name}")));
            }
            TypeForm::Struct(_) => Type::Struct(name.clone()),
            TypeForm::Interface(..) => Type::Interface(name.clone()),
            _ => match self.resolve(&declared.ty, declared_in, depth)? {
                Type::Basic(_) | Type::Named(..) if self.has_constants(name) => Type::Enum(name.clone()),
                Type::Basic(base) | Type::Named(_, base) => return Ok(Type::Named(name.clone(), base)),
                _ => {
                    let message = format!("unsupported type for named type reference `{name}`");
                    return Err(self.error(file, expr.at, message));
                }
            },
        };
        self.find(name);
        Ok(ty)
    }

    fn find(&mut self, name: &str) {
        if self.found.insert(name.to_owned()) {
            self.pending.push_back(name.to_owned());
        }
    }

    fn qualified(&self, package: &str, name: &str, expr: &TypeExpr, file: &ParsedFile) -> Result<Type> {
        let path = file.imports.iter().find(|(known, _)| known == package).map(|(_, path)| path.as_str());
        match path {
            Some(path) if path.ends_with("/internal/dagger") || path == "dagger.io/dagger" => {
                if (self.api)(name).is_none() {
                    let message = format!("undefined: {}", expr.text);
                    return Err(self.error(file, expr.at, message).with_hint(format!(
                        "the API of {} and the dependencies of module `{}` have no type `{name}`",
                        self.facts.view, self.facts.name
                    )));
                }
                Ok(Type::Api(name.to_owned()))
            }
            Some(_) => Err(self.error(file, expr.at, format!("cannot code-generate for foreign type {name}"))),
            None => Err(self.error(file, expr.at, format!("undefined: {package}"))),
        }
    }

    fn is_context(file: &ParsedFile, expr: &TypeExpr) -> bool {
        matches!(&expr.form, TypeForm::Qualified(package, name)
            if name == "Context" && file.imports.iter().any(|(known, path)| known == package && path == "context"))
    }

    fn object(&mut self, file: &'a ParsedFile, declared: &'a TypeDecl, fields: &'a [FieldDecl]) -> Result<Struct> {
        let documentation = Documentation::merged(declared.doc.as_ref(), None);
        let mut object = Struct {
            name: declared.name.clone(),
            deprecated: documentation.deprecated(),
            description: documentation.text,
            place: Self::place(file, declared.at),
            ..Struct::default()
        };
        for field in fields {
            let name = if field.name.is_empty() { embedded_name(&field.ty) } else { &field.name };
            if is_exported(name) {
                object.fields.push(self.field(file, field, name)?);
            }
        }
        let mut methods = BTreeMap::new();
        self.collect_methods(&declared.name, &mut methods, 0);
        for (file, func) in methods.into_values() {
            object.methods.push(self.func(file, func)?);
        }
        Ok(object)
    }

    /// The exported methods of a struct and of the structs that it embeds, by name.
    fn collect_methods(&self, name: &str, into: &mut BTreeMap<&'a str, (&'a ParsedFile, &'a FuncDecl)>, depth: usize) {
        for (file, func) in self.methods.get(name).into_iter().flatten() {
            if is_exported(&func.name) {
                into.entry(&func.name).or_insert((file, func));
            }
        }
        let Some((_, declared)) = self.types.get(name) else { return };
        let TypeForm::Struct(fields) = &declared.ty.form else { return };
        for field in fields.iter().filter(|field| field.name.is_empty() && depth < MAX_DEPTH) {
            self.collect_methods(embedded_name(&field.ty), into, depth + 1);
        }
    }

    fn field(&mut self, file: &'a ParsedFile, field: &FieldDecl, name: &str) -> Result<Field> {
        let documentation = self.documentation(field);
        let json = json_name(&field.tag);
        let private = documentation.has("private");
        Ok(Field {
            name: name.to_owned(),
            json_name: match json.as_deref() {
                Some("-") => None,
                Some("") | None => Some(name.to_owned()),
                Some(json) => Some(json.to_owned()),
            },
            ty: if private { self.resolve_private(&field.ty, file, 0)? } else { self.resolve(&field.ty, file, 0)? },
            private,
            deprecated: documentation.deprecated(),
            description: documentation.text,
            place: Self::place(file, field.at),
        })
    }

    fn documentation(&self, field: &FieldDecl) -> Documentation {
        Documentation::merged(field.above.as_ref(), field.trailing.as_ref())
    }

    fn constructor(&mut self, file: &'a ParsedFile, func: &'a FuncDecl, main: &str) -> Result<Func> {
        let constructor = self.func(file, func)?;
        let made = match constructor.result.as_ref() {
            // Users match on these texts; see docs/protocol.md#types-of-go.
            None => return Err(self.error(file, func.at, "New must return a value")),
            Some(Type::Pointer(inner)) => inner,
            Some(other) => other,
        };
        if *made != Type::Struct(main.to_owned()) {
            return Err(self.error(file, func.at, format!("New must return the main module object \"{main}\"")));
        }
        Ok(constructor)
    }

    fn func(&mut self, file: &'a ParsedFile, func: &FuncDecl) -> Result<Func> {
        let documentation = Documentation::merged(func.doc.as_ref(), None);
        let mut result = Func {
            name: func.name.clone(),
            deprecated: documentation.deprecated(),
            check: documentation.has("check"),
            generator: documentation.has("generate"),
            up: documentation.has("up"),
            cache: self.cache(file, func, &documentation)?,
            description: documentation.text,
            place: Self::place(file, func.at),
            ..Func::default()
        };
        if func.is_generic {
            return Err(self.error(
                file,
                func.at,
                format!("`{}` has type parameters: it cannot be a function", func.name),
            ));
        }
        let mut params = func.params.as_slice();
        if let Some((first, others)) = params.split_first()
            && Self::is_context(file, &first.ty)
        {
            (result.takes_context, params) = (true, others);
        }
        if let [FieldDecl { ty: TypeExpr { form: TypeForm::Struct(fields), .. }, .. }] = params {
            (result.has_inline_params, params) = (true, fields.as_slice());
        }
        for param in params {
            result.params.push(self.param(file, param, &func.name)?);
        }
        self.results(file, func, &mut result)?;
        Ok(result)
    }

    fn cache(&self, file: &ParsedFile, func: &FuncDecl, documentation: &Documentation) -> Result<Option<String>> {
        match documentation.pragmas.get("cache") {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.error(file, func.at, format!("cache pragma {other}, must be a valid string"))),
        }
    }

    fn results(&mut self, file: &'a ParsedFile, func: &FuncDecl, into: &mut Func) -> Result<()> {
        let is_error = |expr: &TypeExpr| matches!(&expr.form, TypeForm::Name(name) if name == "error");
        let mut results = func.results.as_slice();
        if results.len() > 2 {
            return Err(self.error(file, func.at, format!("method {} has too many return values", func.name)));
        }
        if let Some((last, others)) = results.split_last() {
            if is_error(last) {
                (into.returns_error, results) = (true, others);
            } else if !others.is_empty() {
                let message = format!("second return value must be error, have {}", last.text);
                return Err(self.error(file, last.at, message));
            }
        }
        if let Some(result) = results.first() {
            into.result = Some(self.resolve(result, file, 0)?);
        }
        Ok(())
    }

    fn param(&mut self, file: &'a ParsedFile, param: &FieldDecl, func: &str) -> Result<Param> {
        if Self::is_context(file, &param.ty) {
            return Err(self.error(file, param.at, format!("unexpected context type for arg {}", param.name)));
        }
        if param.name.is_empty() || param.name == "_" {
            let message = format!("a parameter of `{func}` has no name: arguments are given by name");
            return Err(self.error(file, param.at, message));
        }
        let documentation = self.documentation(param);
        let ty = self.resolve(&param.ty, file, 0)?;
        let ty = if param.variadic { Type::List(Box::new(ty)) } else { ty };
        let is_basic_pointer =
            matches!(&ty, Type::Pointer(inner) if matches!(**inner, Type::Basic(_) | Type::Named(..) | Type::Enum(_)));
        let (default_path, default_address) =
            (documentation.string("defaultPath"), documentation.string("defaultAddress"));
        let optional =
            documentation.has("optional") || is_basic_pointer || default_path.is_some() || default_address.is_some();
        let default = documentation.pragmas.get("default").filter(|value| !value.is_null()).cloned();
        let deprecated = documentation.deprecated();
        if deprecated.is_some() && !optional && default.is_none() {
            let message = format!("argument \"{}\" on {func} is required and cannot be deprecated", param.name);
            return Err(self.error(file, param.at, message));
        }
        Ok(Param {
            name: param.name.clone(),
            ignore: self.ignored(file, param, &documentation)?,
            ty,
            variadic: param.variadic,
            optional,
            default,
            default_path,
            default_address,
            description: documentation.text,
            deprecated,
            place: Self::place(file, param.at),
        })
    }

    fn ignored(&self, file: &ParsedFile, param: &FieldDecl, documentation: &Documentation) -> Result<Vec<String>> {
        let Some(value) = documentation.pragmas.get("ignore") else { return Ok(Vec::new()) };
        serde_json::from_value(value.clone()).map_err(|_| {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.error(file, param.at, format!("ignore pragma \"{shown}\", must be a valid JSON array"))
        })
    }

    fn interface(
        &mut self,
        file: &'a ParsedFile,
        declared: &'a TypeDecl,
        methods: &'a [FuncDecl],
        embedded: &'a [TypeExpr],
    ) -> Result<Interface> {
        let mut all: BTreeMap<&str, (&ParsedFile, &FuncDecl)> = BTreeMap::new();
        let mut is_object = self.gather(file, methods, embedded, &mut all, 0)?;
        is_object |=
            ["ID", "XXX_GraphQLType", "XXX_GraphQLIDType", "XXX_GraphQLID"].iter().all(|it| all.contains_key(it));
        if !is_object {
            let message = "missing method ID from DaggerObject interface, which must be embedded in interfaces used in \
                           Functions and Objects";
            return Err(self.error(file, declared.at, message));
        }
        let documentation = Documentation::merged(declared.doc.as_ref(), None);
        let mut interface = Interface {
            name: declared.name.clone(),
            description: documentation.text,
            place: Self::place(file, declared.at),
            ..Interface::default()
        };
        let own = |name: &str| is_exported(name) && name != "ID" && !name.starts_with("XXX_");
        for (file, method) in all.into_values().filter(|(_, method)| own(&method.name)) {
            interface.methods.push(self.func(file, method)?);
        }
        Ok(interface)
    }

    /// Adds methods of an interface and of those that it embeds. Returns whether one of them is the
    /// interface of all objects.
    fn gather(
        &self,
        file: &'a ParsedFile,
        methods: &'a [FuncDecl],
        embedded: &'a [TypeExpr],
        into: &mut BTreeMap<&'a str, (&'a ParsedFile, &'a FuncDecl)>,
        depth: usize,
    ) -> Result<bool> {
        into.extend(methods.iter().map(|method| (method.name.as_str(), (file, method))));
        let mut is_object = false;
        for other in embedded {
            let name = embedded_name(other);
            match self.types.get(name) {
                _ if name == OBJECT_INTERFACE => is_object = true,
                Some((file, TypeDecl { ty: TypeExpr { form: TypeForm::Interface(methods, embedded), .. }, .. }))
                    if depth < MAX_DEPTH =>
                {
                    is_object |= self.gather(file, methods, embedded, into, depth + 1)?;
                }
                _ => {
                    let message = format!("the interface `{}` cannot be embedded here", other.text);
                    return Err(self.error(file, other.at, message));
                }
            }
        }
        Ok(is_object)
    }

    fn has_constants(&self, ty: &str) -> bool {
        self.files.iter().flat_map(|file| &file.constants).any(|it| constant_type(it) == Some(ty))
    }

    fn enumeration(&mut self, file: &'a ParsedFile, declared: &'a TypeDecl) -> Result<Enum> {
        let documentation = Documentation::merged(declared.doc.as_ref(), None);
        let mut found = Enum {
            name: declared.name.clone(),
            base: declared.ty.text.clone(),
            description: documentation.text,
            place: Self::place(file, declared.at),
            ..Enum::default()
        };
        for file in self.files {
            for constant in file.constants.iter().filter(|it| constant_type(it) == Some(&declared.name)) {
                let documentation = Documentation::merged(constant.above.as_ref(), constant.trailing.as_ref());
                let Some(value) = self.constants.text(constant) else {
                    let message =
                        format!("the value of the constant `{}` cannot be read from the source", constant.name);
                    return Err(self.error(file, constant.at, message).with_hint("write it as a literal"));
                };
                found.constants.push(EnumConstant {
                    constant: constant.name.clone(),
                    member: constant.name.clone(),
                    value,
                    deprecated: documentation.deprecated(),
                    description: documentation.text,
                    place: Self::place(file, constant.at),
                });
            }
        }
        // Go's own packages list what a package declares by name.
        found.constants.sort_by(|a, b| a.constant.cmp(&b.constant));
        let prefix = &declared.name;
        if found.constants.iter().all(|it| it.constant.len() > prefix.len() && it.constant.starts_with(prefix.as_str()))
        {
            for constant in &mut found.constants {
                constant.member = constant.constant[prefix.len()..].to_owned();
            }
        }
        Ok(found)
    }
}

/// The type of a constant, declared or of its conversion.
fn constant_type(constant: &ConstDecl) -> Option<&str> {
    match (&constant.ty, &constant.value) {
        (Some(TypeExpr { form: TypeForm::Name(name), .. }), _) => Some(name),
        (None, Some(super::syntax::Value::Call(name, _))) => Some(name),
        _ => None,
    }
}

/// The name of an embedded type.
fn embedded_name(ty: &TypeExpr) -> &str {
    match &ty.form {
        TypeForm::Name(name) | TypeForm::Qualified(_, name) => name,
        TypeForm::Pointer(inner) => embedded_name(inner),
        _ => "",
    }
}

/// The name in the JSON tag of a field.
fn json_name(tag: &str) -> Option<String> {
    let tag = match tag.strip_prefix('`') {
        Some(raw) => raw.trim_end_matches('`').to_owned(),
        None => tag.replace("\\\"", "\""),
    };
    let value = tag.split_once("json:\"")?.1.split_once('"')?.0;
    Some(value.split(',').next().unwrap_or_default().to_owned())
}
