//! The modules of a crate: the items that each defines, the names that it imports, and the paths
//! that its code names.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// A crate, starting at its `lib.rs` or `main.rs`, which is module 0.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) modules: Vec<Module>,
}

/// One module, in a file of its own or inline.
#[derive(Default)]
pub(super) struct Module {
    /// Relative to the crate's `src`.
    pub(super) file: String,
    /// The module around it; the root is its own.
    pub(super) parent: usize,
    pub(super) children: BTreeMap<String, usize>,
    /// Names of the items that the module defines itself.
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths that its code names, imports not included.
    pub(super) paths: Vec<Path>,
}

/// One name that a `use` brings into a module.
pub(super) struct Import {
    /// The name in the module; `None` for `*`.
    pub(super) name: Option<String>,
    pub(super) path: Path,
    /// Whether other modules see the name, too.
    pub(super) public: bool,
}

/// A path as it is written.
#[derive(Clone)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// Reads the crate whose root is the file `root`. `files` has the text of each file of `src` by its
/// path there.
pub(super) fn read(files: &BTreeMap<&str, &str>, root: &str) -> Result<Tree, String> {
    let mut tree = Tree::default();
    tree.modules.push(Module { file: root.to_owned(), ..Module::default() });
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let items = parse(files, root)?;
    tree.fill(files, 0, &folder, &items)?;
    Ok(tree)
}

fn parse(files: &BTreeMap<&str, &str>, path: &str) -> Result<Vec<Item>, String> {
    let text = files.get(path).copied().unwrap_or_default();
    Ok(syn::parse_file(text).map_err(|e| format!("{path}:{}: {e}", e.span().start().line))?.items)
}

impl Tree {
    /// Reads the items of a module whose child modules have their files in `folder`.
    fn fill(
        &mut self,
        files: &BTreeMap<&str, &str>,
        module: usize,
        folder: &str,
        items: &[Item],
    ) -> Result<(), String> {
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(declared) => {
                    let name = declared.ident.to_string();
                    let below = join(folder, &name);
                    let inline = declared.content.as_ref().map(|(_, items)| items);
                    let file = match inline {
                        Some(_) => self.modules[module].file.clone(),
                        None => {
                            let candidates = [format!("{below}.rs"), format!("{below}/mod.rs")];
                            let found = candidates.into_iter().find(|path| files.contains_key(path.as_str()));
                            found.ok_or_else(|| format!("{}: no file for `mod {name}`", self.modules[module].file))?
                        }
                    };
                    let child = self.modules.len();
                    self.modules.push(Module { file: file.clone(), parent: module, ..Module::default() });
                    self.modules[module].children.insert(name, child);
                    match inline {
                        Some(items) => self.fill(files, child, &below, items)?,
                        None => self.fill(files, child, &below, &parse(files, &file)?)?,
                    }
                }
                Item::Use(import) => {
                    let public = !matches!(import.vis, Visibility::Inherited);
                    flatten(&import.tree, &mut Vec::new(), public, &mut self.modules[module].imports);
                }
                _ => {
                    self.modules[module].items.extend(name(item));
                    let mut collector = Collector { paths: &mut self.modules[module].paths };
                    collector.visit_item(item);
                }
            }
        }
        Ok(())
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Gives one import for each name of a `use`, with the path that leads to it.
fn flatten(tree: &UseTree, before: &mut Vec<String>, public: bool, into: &mut Vec<Import>) {
    let mut add = |name: Option<String>, last: Option<&syn::Ident>, line: usize| {
        let mut segments = before.clone();
        segments.extend(last.map(ToString::to_string).filter(|last| last != "self"));
        let name = name.map(|name| if name == "self" { before.last().cloned().unwrap_or(name) } else { name });
        into.push(Import { name, path: Path { segments, line }, public });
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, public, into);
            before.pop();
        }
        UseTree::Name(name) => {
            add(Some(name.ident.to_string()), Some(&name.ident), name.ident.span().start().line);
        }
        UseTree::Rename(rename) => {
            add(Some(rename.rename.to_string()), Some(&rename.ident), rename.ident.span().start().line);
        }
        UseTree::Glob(glob) => add(None, None, glob.star_token.spans[0].start().line),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, public, into)),
    }
}

/// Collects the paths that code names, also in the arguments of macros.
struct Collector<'t> {
    paths: &'t mut Vec<Path>,
}

impl<'a> Visit<'a> for Collector<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter().map(|s| s.ident.to_string()).collect();
            let line = path.segments.first().map_or(0, |s| s.ident.span().start().line);
            self.paths.push(Path { segments, line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'a syn::ItemUse) {
        let mut imports = Vec::new();
        flatten(&import.tree, &mut Vec::new(), false, &mut imports);
        self.paths.extend(imports.into_iter().map(|import| import.path));
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    /// `pub(in crate::x)` is about who sees the item, not about what it needs.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

impl Collector<'_> {
    /// Names with `::` between them are a path; all else of a macro's arguments is skipped.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_colon = |at: usize, spacing: Spacing| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == spacing);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let mut segments = vec![first.to_string()];
                    while is_colon(at + 1, Spacing::Joint)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        segments.push(next.to_string());
                        at += 3;
                    }
                    if segments.len() > 1 || segments[0].starts_with(char::is_uppercase) {
                        self.paths.push(Path { segments, line });
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// `cfg(test)`, alone or as one of several conditions that all have to hold.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// The name under which other code finds the item. `None` for what has no name, such as an `impl`.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(i) => &i.ident,
        Item::Enum(i) => &i.ident,
        Item::Fn(i) => &i.sig.ident,
        Item::Macro(i) => i.ident.as_ref()?,
        Item::Static(i) => &i.ident,
        Item::Struct(i) => &i.ident,
        Item::Trait(i) => &i.ident,
        Item::Type(i) => &i.ident,
        Item::Union(i) => &i.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
