//! Tests of the scanner of Go: every rule with a small package.

use rondel_version::View;
use serde_json::{Value as Json, json};

use super::*;

mod rows;

const HEAD: &str = "package main\n\nimport (\n\t\"context\"\n\t\"time\"\n\t\"dagger/foo/internal/dagger\"\n)\n\nvar _ = time.Now\nvar _ context.Context\n";

fn api(name: &str) -> Option<String> {
    ["Container", "Directory", "File", "DepURL"].contains(&name).then(|| name.replace("URL", "Url"))
}

fn scanned(files: &[(&str, &str)], view: View) -> Result<GoModule> {
    let files: Vec<_> =
        files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect();
    let facts = ModuleFacts { name: "foo".into(), folder: "ci".into(), view };
    scan(&files, &facts, &api)
}

fn types(code: &str) -> Json {
    let module = scanned(&[("main.go", &format!("{HEAD}{code}"))], View::new(0, 21, 8)).expect("is a module");
    serde_json::to_value(module.types).expect("is JSON")
}

/// The first function of the main object.
fn function(code: &str) -> Json {
    types(&format!("type Foo struct{{}}\n{code}"))["types"][0]["functions"][0].clone()
}

fn refused(code: &str) -> String {
    let module = scanned(&[("main.go", &format!("{HEAD}{code}"))], View::new(0, 21, 8));
    module.expect_err("is refused").to_string()
}

#[test]
fn types_of_parameters_and_results() {
    let check = |ty: &str, want: &str| {
        let found = function(&format!("func (*Foo) F(ctx context.Context, a {ty}) {{}}"));
        assert_eq!(found["args"][0]["type"], want, "{ty}");
        assert_eq!(found["returns"], Json::Null);
    };
    check("string", "String!");
    check("*string", "String");
    check("int64", "Int!");
    check("float32", "Float!");
    check("bool", "Boolean!");
    check("[]string", "[String!]!");
    check("...string", "[String!]!");
    check("*dagger.Container", "Container!");
    check("[]*dagger.Directory", "[Directory!]!");
    check("*dagger.DepURL", "DepUrl!");
    let check = |result: &str, want: Json| {
        let found = function(&format!("func (f Foo) F() {result} {{ panic(0) }}"));
        assert_eq!(found["returns"], want, "{result}");
    };
    check("", Json::Null);
    check("error", Json::Null);
    check("(string, error)", json!("String!"));
    check("*dagger.File", json!("File!"));
    check("(result []int, err error)", json!("[Int!]!"));
    check("*Foo", json!("Foo!"));
}

#[test]
fn comments_and_pragmas_of_arguments() {
    let found = function(
        "// F does it.\n//\n// Really.\n// +check\n// +cache=\"10m\"\nfunc (m *Foo) F(\n\tctx context.Context,\n\t// The name.\n\t// +optional\n\tname string,\n\tlevel int, // +default=3\n\t// +defaultPath=\"/\"\n\t// +ignore=[\n\t//   \"a\",\n\t//   \"b\"\n\t// ]\n\tsrc *dagger.Directory,\n) error { return nil }",
    );
    assert_eq!(found["description"], "F does it.\n\nReally.");
    assert_eq!((&found["check"], &found["cache"]), (&json!(true), &json!({"policy": "DEFAULT", "ttl": "10m"})));
    let arg = |index: usize| &found["args"][index];
    assert_eq!((&arg(0)["type"], &arg(0)["description"]), (&json!("String"), &json!("The name.")));
    assert_eq!((&arg(1)["type"], &arg(1)["default"]), (&json!("Int!"), &json!(3)));
    assert_eq!((&arg(2)["type"], &arg(2)["defaultPath"]), (&json!("Directory"), &json!("/")));
    assert_eq!(arg(2)["ignore"], json!(["a", "b"]));
    assert_eq!(arg(0)["sourceMap"], json!({"file": "main.go", "line": 21, "column": 2}));
    // The line after `func (` is too close for a comment above, and `(` is no argument.
    let near = function("// Doc.\nfunc (m *Foo) F(\n\ta string, // +optional\n\tb, c string) {}");
    assert_eq!(near["args"][0]["type"], "String");
    assert_eq!((&near["args"][1]["type"], &near["args"][2]["type"]), (&json!("String!"), &json!("String!")));
}

#[test]
fn structs_fields_and_methods() {
    let found = types(
        "// Base is embedded.\ntype Base struct {\n\t// The source.\n\tSource *dagger.Directory `json:\"src\"`\n\thidden int\n}\nfunc (b *Base) Build() string { return \"\" }\nfunc (b *Base) help() {}\n\n// Foo is it.\ntype Foo struct {\n\t*Base\n\tName string // +private\n\tCount, Size int\n\tGone string `json:\"-\"`\n}\nfunc New(name string) (*Foo, error) { return nil, nil }\nfunc (f Foo) Zed() []Item { return nil }\nfunc (f *Foo) Add() *Foo { return f }\ntype Item struct { Label string }\ntype Unused struct { M map[string]string }\n",
    );
    let names: Vec<_> = found["types"].as_array().expect("a list").iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["Foo", "Base", "Item"]);
    let foo = &found["types"][0];
    let of = |list: &Json| list.as_array().expect("a list").iter().map(|it| it["name"].clone()).collect::<Vec<_>>();
    assert_eq!(of(&foo["functions"]), ["Add", "Build", "Zed"]);
    assert_eq!(of(&foo["fields"]), ["Base", "Count", "Size"]);
    assert_eq!(foo["constructor"]["args"][0]["name"], "name");
    assert_eq!(foo["description"], "Foo is it.");
    let base = &found["types"][1];
    assert_eq!((of(&base["fields"]), &base["fields"][0]["description"]), (vec![json!("src")], &json!("The source.")));
}

#[test]
fn enums() {
    let found = types(
        "type Foo struct{}\n// Level is how.\ntype Level string\nconst (\n\t// Low one.\n\tLevelLow Level = \"low\"\n\tLevelHigh Level = \"hi\" + \"gh\" // High one.\n)\ntype Kind int\nconst (\n\tOne Kind = iota + 1\n\tTwo\n)\ntype Plain string\nfunc (f *Foo) F(l Level, k *Kind, p Plain) {}\n",
    );
    let level = &found["types"][1];
    let members: Vec<_> = level["members"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| format!("{}={} {}", it["name"], it["value"], it["description"]))
        .collect();
    assert_eq!(members, [r#""High"="high" "High one.""#, r#""Low"="low" "Low one.""#], "by name");
    assert_eq!(
        found["types"][2]["members"][1],
        json!({"name": "Two", "value": "2", "description": "", "deprecated": null, "sourceMap": {"file": "main.go", "line": 22, "column": 2}})
    );
    let args: Vec<_> = found["types"][0]["functions"][0]["args"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["type"].clone())
        .collect();
    assert_eq!(args, ["Level!", "Kind", "String!"]);
}

#[test]
fn interfaces() {
    let found = types(
        "type Foo struct{}\ntype Duck interface {\n\tDaggerObject\n\t// Quack it.\n\tQuack(ctx context.Context, times int) (string, error)\n\tWithName(name string) Duck\n}\nfunc (f *Foo) F(d Duck) Duck { return d }\n",
    );
    let duck = &found["types"][1];
    assert_eq!((&duck["kind"], &duck["functions"][0]["name"]), (&json!("INTERFACE"), &json!("Quack")));
    assert_eq!(
        (&duck["functions"][0]["description"], &duck["functions"][1]["returns"]),
        (&json!("Quack it."), &json!("Duck!"))
    );
    let code = "type Foo struct{}\ntype Duck interface { Quack() string }\nfunc (f *Foo) F(d Duck) {}";
    assert!(refused(code).contains("missing method ID from DaggerObject interface"));
}

#[test]
fn what_cannot_be_a_type() {
    let check = |code: &str, want: &str| {
        let said = refused(&format!("type Foo struct{{}}\n{code}"));
        assert!(said.contains(want) && said.starts_with("ci/main.go:"), "{said}");
    };
    check("func (*Foo) F(d time.Duration) {}", "cannot code-generate for foreign type Duration");
    check("func (*Foo) F(m map[string]string) {}", "unsupported type for named type reference");
    check("func (*Foo) F(c struct{ A int }, b int) {}", "struct types must be named");
    check("func (*Foo) F(u uint) {}", "unsupported basic type `uint`");
    check("func (*Foo) F() (int, string) { return 0, \"\" }", "second return value must be error, have string");
    check("func (*Foo) F() (int, string, error) { panic(0) }", "method F has too many return values");
    check("func (*Foo) F(a int, ctx context.Context) {}", "unexpected context type for arg ctx");
    check("func New() {}", "New must return a value");
    check("func New() int { return 0 }", "New must return the main module object \"Foo\"");
    check("type x struct{}\nfunc (*Foo) F(v x) {}", "cannot code-generate unexported type x");
    check("type G[T any] struct{}\nfunc (*Foo) F(v G[int]) {}", "unsupported type for named type reference");
    check("func (*Foo) F(v *dagger.Nope) {}", "undefined: dagger.Nope");
    check("func (*Foo) F(v Nope) {}", "undefined: Nope");
    check(
        "func (*Foo) F(\n\tctx context.Context,\n\t// +ignore=x\n\tv *dagger.Directory,\n) {}",
        "must be a valid JSON array",
    );
    check("// +cache=3\nfunc (*Foo) F() {}", "must be a valid string");
    check("func (*Foo) F(a int {}", "syntax error");
    let gone =
        scanned(&[("main.go", "package main\ntype Fooo struct{}")], View::new(0, 21, 8)).expect_err("is refused");
    assert!(
        gone.to_string().contains("declares no struct `Foo`") && gone.hints().iter().any(|it| it.contains("`Fooo`"))
    );
}

#[test]
fn types_of_private_fields_are_not_declared() {
    let found = types(
        "type hidden struct { N int }\ntype Config struct { M map[string]string }\ntype Foo struct {\n\t// +private\n\tA []hidden\n\t// +private\n\tB *Config\n}\n",
    );
    assert_eq!(found["types"].as_array().map(Vec::len), Some(1));
    assert!(refused("type Foo struct {\n\tM map[string]string // +private\n}\n").contains("unsupported type"));
}

#[test]
fn parameters_of_an_inline_struct() {
    let found = function(
        "func (*Foo) F(ctx context.Context, opts struct {\n\t// The name.\n\tName string // +default=\"x\"\n}) {}",
    );
    assert_eq!((&found["args"][0]["name"], &found["args"][0]["default"]), (&json!("Name"), &json!("x")));
}

#[test]
fn several_files_and_old_views() {
    let files = [
        ("a.go", "// Package main is here.\n\n// Not this.\n\npackage main\n\ntype Foo struct{}\n"),
        ("b.go", "package main\n\nfunc (f *Foo) Make(c *Container) *Directory { Tracer() }\n"),
    ];
    let found = scanned(&files, View::new(0, 11, 9)).expect("is a module");
    assert_eq!(found.types.description, "Package main is here.\n");
    assert_eq!(found.types.types[0].functions[0].returns.as_deref(), Some("Directory!"));
    assert!(found.package.uses_tracer && !found.package.uses_cgo);
    assert_eq!(main_type("my-module"), "MyModule");
    assert_eq!(main_type("apk2x"), "Apk2X");
    assert_eq!(
        (main_type("mariaDB"), main_type("SSH"), main_type("MyGitHub")),
        ("MariaDb".into(), "Ssh".into(), "MyGitHub".into())
    );
    let upper = scanned(&[("main.go", "package main\ntype FOO struct{}\n")], View::new(0, 21, 8)).expect("is a module");
    assert_eq!(upper.package.main, "FOO");
}
