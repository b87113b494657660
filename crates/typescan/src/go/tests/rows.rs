//! One test for each row of what the original's documentation and code generator say of types and
//! comments.

use super::*;

/// The type of the first argument of a function of the main object. `code` stands beside it.
fn argument(ty: &str, code: &str) -> Json {
    let code = format!("type Foo struct{{}}\n{code}\nfunc (f *Foo) F(a {ty}) {{}}\n");
    types(&code)["types"][0]["functions"][0]["args"][0]["type"].clone()
}

/// The first argument of a function, with lines of comments above it.
fn commented(comments: &str, ty: &str) -> Json {
    let comments = comments.replace('\n', "\n\t// ");
    function(&format!("func (*Foo) F(\n\tctx context.Context,\n\t// {comments}\n\ta {ty},\n) {{}}"))["args"][0].clone()
}

fn names(list: &Json) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|it| it["name"].as_str()).collect()
}

#[test]
fn only_what_the_main_object_reaches_is_a_type() {
    let found =
        types("type Foo struct{ B *Bar }\ntype Bar struct{ B []Baz }\ntype Baz struct{}\ntype Other struct{}\n");
    assert_eq!(names(&found["types"]), ["Foo", "Bar", "Baz"]);
}

#[test]
fn foreign_types_are_refused_but_not_error() {
    assert!(
        refused("type Foo struct{}\nfunc (*Foo) F(d time.Duration) {}")
            .contains("cannot code-generate for foreign type")
    );
    assert_eq!(argument("error", ""), "String!");
}

#[test]
fn unexported_methods_are_ignored_and_functions_are_in_alphabetical_order() {
    let found =
        types("type Foo struct{}\nfunc (Foo) B() {}\nfunc (f *Foo) A() {}\nfunc (Foo) c() {}\nfunc (*Foo) Z() {}\n");
    assert_eq!(names(&found["types"][0]["functions"]), ["A", "B", "Z"]);
}

#[test]
fn methods_of_embedded_structs_are_promoted_and_those_of_generated_types_are_not() {
    let code = "type Base struct{}\nfunc (Base) Own() {}\ntype Foo struct {\n\tBase\n\t*dagger.Container\n}\n";
    assert_eq!(names(&types(code)["types"][0]["functions"]), ["Own"]);
}

#[test]
fn fields_are_exported_and_renamed_or_dropped_by_their_tags() {
    let code = "type Foo struct {\n\tA string\n\tb string\n\tC string `json:\"other\"`\n\tD string `json:\"-\"`\n\t// +private\n\tE string\n}\n";
    assert_eq!(names(&types(code)["types"][0]["fields"]), ["A", "other"]);
}

#[test]
fn the_constructor_is_new_and_gives_the_main_struct() {
    for result in ["Foo", "*Foo", "(*Foo, error)"] {
        let found = types(&format!("type Foo struct{{}}\nfunc New(a string) {result} {{ panic(0) }}\n"));
        assert_eq!(found["types"][0]["constructor"]["args"][0]["name"], "a", "{result}");
    }
    assert!(
        refused("type Foo struct{}\nfunc New() int { return 0 }")
            .contains("New must return the main module object \"Foo\"")
    );
    assert!(refused("type Foo struct{}\nfunc New() {}").contains("New must return a value"));
}

#[test]
fn the_context_is_first_and_no_argument() {
    assert_eq!(names(&function("func (*Foo) F(ctx context.Context, a int) {}")["args"]), ["a"]);
    let late = refused("type Foo struct{}\nfunc (*Foo) F(a int, ctx context.Context) {}");
    assert!(late.contains("unexpected context type for arg ctx"), "{late}");
}

#[test]
fn a_variadic_parameter_is_a_required_list() {
    assert_eq!(argument("...string", ""), "[String!]!");
    assert_eq!(commented("+optional", "...string")["type"], "[String!]");
}

#[test]
fn text_numbers_and_booleans() {
    let types = ["string", "bool", "int", "int8", "int32", "int64", "float32", "float64"].map(|ty| argument(ty, ""));
    assert_eq!(types, ["String!", "Boolean!", "Int!", "Int!", "Int!", "Int!", "Float!", "Float!"]);
    for ty in ["uint", "uint64", "byte"] {
        let said = refused(&format!("type Foo struct{{}}\nfunc (*Foo) F(a {ty}) {{}}"));
        assert!(said.contains("unsupported basic type"), "{said}");
    }
}

#[test]
fn pointers_to_basic_types_are_optional_and_pointers_to_structs_are_not() {
    assert_eq!((argument("*int", ""), argument("*Bar", "type Bar struct{}")), (json!("Int"), json!("Bar!")));
}

#[test]
fn a_named_type_is_an_enum_if_it_has_constants() {
    assert_eq!(argument("Kind", "type Kind string\nconst KindA Kind = \"a\""), "Kind!");
    assert_eq!(argument("Kind", "type Kind int\nconst KindA Kind = 1"), "Kind!");
    assert_eq!(argument("Plain", "type Plain string"), "String!");
}

#[test]
fn an_alias_is_what_it_stands_for() {
    assert_eq!(argument("Alias", "type Alias = string"), "String!");
    assert_eq!(argument("Alias", "type Alias = Bar\ntype Bar struct{}"), "Bar!");
}

#[test]
fn maps_channels_functions_and_generic_types_are_refused() {
    for ty in ["map[string]string", "chan int", "func()", "Of[int]"] {
        let said = refused(&format!("type Foo struct{{}}\ntype Of[T any] struct{{}}\nfunc (*Foo) F(a {ty}) {{}}"));
        assert!(said.contains("unsupported type for named type reference"), "{ty}: {said}");
    }
}

#[test]
fn members_lose_the_name_of_the_enum_if_all_have_it() {
    let members = |constants: &str| {
        let found = types(&format!("type Foo struct{{ S Size }}\ntype Size string\nconst (\n{constants}\n)\n"));
        names(&found["types"][1]["members"]).join(" ")
    };
    assert_eq!(members("\tSizeBig Size = \"b\"\n\tSizeSmall Size = \"s\""), "Big Small");
    assert_eq!(members("\tSizeBig Size = \"b\"\n\tsmall Size = \"s\""), "SizeBig small");
}

#[test]
fn comments_and_deprecation_of_members_stand_above_or_behind() {
    let found = types(
        "type Foo struct{ S Size }\ntype Size string\nconst (\n\t// Not small\n\t// +deprecated=\"use Huge\"\n\tBig Size = \"b\"\n\tHuge Size = \"h\" // Large\n)\n",
    );
    let members = &found["types"][1]["members"];
    assert_eq!((&members[0]["description"], &members[0]["deprecated"]), (&json!("Not small"), &json!("use Huge")));
    assert_eq!(members[1]["description"], "Large");
}

#[test]
fn source_maps_are_those_of_names_in_the_file() {
    let found = types("type Foo struct {\n\tA string\n}\n\nfunc (f *Foo) F(a int, b int) {}\n");
    let place = |line: u32, column: u32| json!({"file": "main.go", "line": line, "column": column});
    let foo = &found["types"][0];
    assert_eq!(foo["fields"][0]["sourceMap"], place(12, 2));
    assert_eq!(foo["functions"][0]["args"][1]["sourceMap"], place(15, 24));
}

#[test]
fn optional() {
    assert_eq!(commented("+optional", "string")["type"], "String");
    assert_eq!(commented("+optional=false", "string")["type"], "String!");
    assert_eq!(commented("Text", "string")["type"], "String!");
}

#[test]
fn defaults_are_json_or_text() {
    let default = |pragma: &str, ty: &str| commented(pragma, ty)["default"].clone();
    assert_eq!(default("+default=\"a b\"", "string"), "a b");
    assert_eq!(default("+default=[\"a\"]", "[]string"), json!(["a"]));
    assert_eq!(default("+default=plain", "string"), "plain");
}

#[test]
fn default_paths_and_addresses_make_arguments_optional() {
    let found = commented("+defaultPath=\"/x\"", "*dagger.Directory");
    assert_eq!((&found["type"], &found["defaultPath"]), (&json!("Directory"), &json!("/x")));
    let found = commented("+defaultAddress=\"alpine:3\"", "*dagger.Container");
    assert_eq!((&found["type"], &found["defaultAddress"]), (&json!("Container"), &json!("alpine:3")));
}

#[test]
fn ignored_patterns_are_a_json_array() {
    let found = commented("+ignore=[\"a\", \"!b\"]", "*dagger.Directory");
    assert_eq!(found["ignore"], json!(["a", "!b"]));
}

#[test]
fn deprecation_of_types_fields_functions_and_arguments() {
    let found = types(
        "// +deprecated=\"old\"\ntype Foo struct {\n\t// +deprecated\n\tA string\n}\n\n// +deprecated=\"b\"\nfunc (f *Foo) F(\n\tctx context.Context,\n\t// +optional\n\t// +deprecated=\"c\"\n\ta string,\n) {}\n",
    );
    let foo = &found["types"][0];
    let reasons = [&foo["deprecated"], &foo["fields"][0]["deprecated"], &foo["functions"][0]["deprecated"]];
    assert_eq!(reasons, [&json!("old"), &json!(""), &json!("b")]);
    assert_eq!(foo["functions"][0]["args"][0]["deprecated"], "c");
}

#[test]
fn checks_generators_and_services() {
    let found = function("// +check\n// +generate\n// +up\nfunc (*Foo) F() {}");
    assert_eq!((&found["check"], &found["generator"], &found["up"]), (&json!(true), &json!(true), &json!(true)));
}

#[test]
fn cache_policies() {
    let cache = |policy: &str| function(&format!("// +cache=\"{policy}\"\nfunc (*Foo) F() {{}}"))["cache"].clone();
    assert_eq!(cache("never")["policy"], "NEVER");
    assert_eq!(cache("session")["policy"], "PER_SESSION");
    assert_eq!(cache("10m"), json!({"policy": "DEFAULT", "ttl": "10m"}));
}

#[test]
fn unknown_pragmas_are_removed_from_the_text() {
    let found = commented("The text\n+required", "string");
    assert_eq!((&found["description"], &found["type"]), (&json!("The text"), &json!("String!")));
}

#[test]
fn comments_behind_an_argument_win_over_those_above() {
    let found = function("func (*Foo) F(\n\tctx context.Context,\n\t// +default=1\n\ta int, // +default=2\n) {}");
    assert_eq!(found["args"][0]["default"], 2);
}
