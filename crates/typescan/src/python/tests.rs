//! The rules of the library, each on a small module.

use serde_json::{Value as Json, json};

use super::{Api, ApiType, PythonModule, types};
use crate::source::{SourceFile, SourceTypes};

struct TestApi;

impl Api for TestApi {
    fn find(&self, name: &str) -> Option<ApiType> {
        Some(match name {
            "Container" | "Directory" | "File" | "Secret" => ApiType::Object,
            "Platform" | "JSON" => ApiType::Scalar,
            "NetworkProtocol" => ApiType::Enum(vec![
                ("TCP".into(), "TCP".into()),
                ("UDP".into(), "UDP".into()),
                ("X".into(), "TCP".into()),
            ]),
            "BuildArg" => ApiType::Other,
            _ => return None,
        })
    }

    fn names(&self) -> Vec<String> {
        ["Container", "Directory", "File", "Secret", "Platform", "JSON"].map(str::to_owned).to_vec()
    }

    fn has_field(&self, _: &str, field: &str) -> bool {
        field != "withUp"
    }
}

const IMPORTS: &str = "import dagger\nfrom dagger import dag, function, object_type\n";

fn scan_files(files: &[(&str, &str)]) -> Result<Json, String> {
    let files: Vec<SourceFile> =
        files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() }).collect();
    let module = PythonModule { main_class: "App".into(), package: "app".into(), ..PythonModule::default() };
    match types(&files, &module, &TestApi) {
        SourceTypes::Declared(document) => Ok(plain(serde_json::to_value(document).expect("JSON"))),
        SourceTypes::Undecided(reason) => Err(reason),
    }
}

/// Without what is empty.
fn plain(json: Json) -> Json {
    match json {
        Json::Object(entries) => {
            let kept = entries.into_iter().map(|(key, value)| (key, plain(value)));
            let is_empty = |value: &Json| *value == json!("") || *value == json!([]) || *value == json!(false);
            kept.filter(|(key, value)| key == "default" || !(value.is_null() || is_empty(value))).collect()
        }
        Json::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn scan(code: &str) -> Result<Json, String> {
    scan_files(&[("src/app/__init__.py", &format!("{IMPORTS}{code}"))])
}

/// The functions of the main object.
#[track_caller]
fn check_functions(code: &str, want: Json) {
    let found = scan(code).unwrap_or_else(|reason| panic!("{reason}\n{code}"));
    let main = found["types"].as_array().and_then(|types| types.iter().find(|ty| ty["name"] == "App"));
    assert_eq!(main.map(|main| main["functions"].clone()), Some(want), "{code}");
}

/// The arguments of a method `f` with the parameters `params`.
#[track_caller]
fn check_args(params: &str, want: Json) {
    check_args_after("", params, want);
}

#[track_caller]
fn check_args_after(before: &str, params: &str, want: Json) {
    let names = "import enum, typing\nfrom typing import Annotated, Optional, Self\nfrom collections.abc import Sequence\n\
        from dagger import DefaultAddress, DefaultPath, Deprecated, Doc, Ignore, Name\n";
    let code = format!("{names}{before}\n@object_type\nclass App:\n    @function\n    def f(self, {params}): ...\n");
    check_functions(&code, json!([{"name": "f", "returns": "Void", "args": want}]));
}

/// The type of a parameter with the annotation `annotation`.
#[track_caller]
fn check_type(annotation: &str, want: &str) {
    check_args(&format!("x: {annotation}"), json!([{"name": "x", "type": want}]));
}

/// Why the source does not decide the types of the module.
#[track_caller]
fn check_undecided(code: &str, want: &str) {
    let got = scan(code).expect_err("undecided");
    assert!(got.contains(want), "{got}\n{code}");
}

#[track_caller]
fn check_undecided_args(params: &str, want: &str) {
    let code =
        format!("from typing import *\n@object_type\nclass App:\n    @function\n    def f(self, {params}): ...\n");
    let code = code.replace(
        "from typing import *",
        "import typing, os\nfrom typing import Annotated, Self\nfrom dagger import Doc, DefaultPath, Deprecated",
    );
    check_undecided(&code, want);
}

#[test]
fn a_whole_module() {
    let code = r#"
@object_type
class App:
    """An app.

        With more.
    """

    source: dagger.Directory
    level: str = dagger.field(default="low", name="loudness", deprecated="no")
    tags: list[str] = dagger.field(default=list)
    hidden: int = 3

    @function
    def build_(self, with_cache: bool = True) -> dagger.Container:
        """Builds it."""

    @function(name="run", doc="Runs it.", cache="10s", deprecated="old")
    async def a(self) -> None: ...

    def not_exposed(self): ...
"#;
    let module = format!("\"\"\"The module.\"\"\"\n{IMPORTS}{code}");
    let want = json!({"description": "The module.", "types": [{
        "kind": "OBJECT", "name": "App", "description": "An app.\n\nWith more.",
        "fields": [
            {"name": "loudness", "type": "String!", "deprecated": "no"},
            {"name": "tags", "type": "[String!]!"}],
        "constructor": {"description": "An app.\n\nWith more.", "args": [
            {"name": "source", "type": "Directory!"},
            {"name": "level", "type": "String!", "default": "low"},
            {"name": "tags", "type": "[String!]"},
            {"name": "hidden", "type": "Int!", "default": 3}]},
        "functions": [
            {"name": "run", "description": "Runs it.", "deprecated": "old", "returns": "Void",
             "cache": {"policy": "DEFAULT", "ttl": "10s"}},
            {"name": "build", "description": "Builds it.", "returns": "Container!",
             "args": [{"name": "with_cache", "type": "Boolean!", "default": true}]}]}]});
    assert_eq!(scan_files(&[("src/app/__init__.py", &module)]), Ok(want));
}

#[test]
fn annotations() {
    check_type("str", "String!");
    check_type("int", "Int!");
    check_type("float", "Float!");
    check_type("bool", "Boolean!");
    check_type("str | None", "String");
    check_type("None | str", "String");
    check_type("Optional[str]", "String");
    check_type("typing.Union[str, None]", "String");
    check_type("list[str]", "[String!]!");
    check_type("typing.List[str | None]", "[String]!");
    check_type("Sequence[list[int]] | None", "[[Int!]!]");
    check_type("tuple[str, ...]", "[String!]!");
    check_type("'str | None'", "String");
    check_type("'dagger.Directory'", "Directory!");
    check_type("list['App']", "[App!]!");
    check_type("Annotated[list[Annotated[str, 1]], 'text']", "[String!]!");
    check_type("dagger.Platform", "Platform!");
    check_type("dagger.NetworkProtocol", "NetworkProtocol!");
    check_args_after(
        "Names = list[str]\nMaybe = Optional[Names]",
        "x: Maybe",
        json!([{"name": "x", "type": "[String!]"}]),
    );
}

#[test]
fn annotations_that_are_no_types() {
    check_undecided_args("x", "the parameter `x` has no annotation");
    check_undecided_args("x: dict[str, str]", "is no type of the API");
    check_undecided_args("x: typing.Any", "`typing.Any` is no type of the core API");
    check_undecided_args("x: int | str", "a union is no type of the API");
    check_undecided_args("x: Nope", "`Nope` is not defined");
    check_undecided_args("x: 'App' | None", "a computed value");
    check_undecided_args("x: Self", "`Self` in this place");
    check_undecided_args("x: dagger.BuildArg", "is no type of the core API");
    check_undecided_args("x: dagger.OfDependency", "is no type of the core API");
    check_undecided_args("*x: str", "the kind of the parameter `x`");
    check_undecided_args("x: str, /", "the kind of the parameter `x`");
}

#[test]
fn metadata() {
    let text = "x: Annotated[str, Doc('one'), Doc('two'), Name('other')]";
    check_args(text, json!([{"name": "other", "type": "String!", "description": "two"}]));
    let text = "x: Annotated[dagger.Directory, DefaultPath('.'), Ignore(['a', 'b'])]";
    check_args(text, json!([{"name": "x", "type": "Directory!", "defaultPath": ".", "ignore": ["a", "b"]}]));
    let text = "x: Annotated[dagger.Container, DefaultAddress(address='alpine')]";
    check_args(text, json!([{"name": "x", "type": "Container!", "defaultAddress": "alpine"}]));
    let text = "x: Annotated[str | None, Deprecated('no')] = None";
    check_args(text, json!([{"name": "x", "type": "String", "deprecated": "no", "default": null}]));
    let text = "x: Annotated[str, Doc('one')] | None = None";
    check_args(text, json!([{"name": "x", "type": "String", "default": null}]));
    let alias = "Source = Annotated[dagger.Directory, Doc('source')]";
    check_args_after(alias, "x: Source", json!([{"name": "x", "type": "Directory!", "description": "source"}]));
    check_args("from_: str", json!([{"name": "from", "type": "String!"}]));
    check_args("x__: str, _y_: str", json!([{"name": "x__", "type": "String!"}, {"name": "_y_", "type": "String!"}]));
    check_undecided_args("x: Annotated[str, Doc(f'{1}')]", "metadata of a type is computed");
    check_undecided_args("x: Annotated[str, Deprecated('no')]", "`x` is deprecated and required");
    check_undecided_args("x: Annotated[dagger.File, DefaultPath('.')] = None", "not optional");
}

#[test]
fn defaults() {
    let default = |params: &str, ty: &str, want: Json| {
        let before =
            "A = 'a'\nB = A\nLIST = ['x']\nclass Level(enum.Enum):\n    LOW = 'low'\nLevel = dagger.enum_type(Level)";
        check_args_after(before, params, json!([{"name": "x", "type": ty, "default": want}]));
    };
    default("x: str = 'a' 'b'", "String!", json!("ab"));
    default("x: int = -5", "Int!", json!(-5));
    default("x: float = 1_0.5", "Float!", json!(10.5));
    default("x: list[str] = []", "[String!]!", json!([]));
    default("x: list[int] = (1, -2)", "[Int!]!", json!([1, -2]));
    default("x: str = B", "String!", json!("a"));
    default("x: list[str] = LIST", "[String!]!", json!(["x"]));
    default("x: Level = Level.LOW", "Level!", json!("LOW"));
    default("x: str = Level.LOW.value", "String!", json!("low"));
    default("x: str | None = None", "String", json!(null));
    default("x: dagger.Platform = dagger.Platform('linux/amd64')", "Platform!", json!("linux/amd64"));
    default("x: dagger.NetworkProtocol = dagger.NetworkProtocol.X", "NetworkProtocol!", json!("TCP"));
    check_undecided_args("x: str = os.getenv('X', '')", "the default of `x` is computed");
    check_undecided_args("x: str = 'a' + 'b'", "the default of `x` is computed");
    check_undecided_args("x: int = 10 ** 3", "the default of `x` is computed");
    check_undecided_args("x: str = None", "`x` is not optional and defaults to `None`");
}

#[test]
fn values_that_change_at_import() {
    let app = "@object_type\nclass App:\n    @function\n    def f(self, x: list[str] = LIST): ...\n";
    let computed = "the default of `x` is computed";
    check_undecided(&format!("LIST = ['a']\nLIST.append('b')\n{app}"), computed);
    check_undecided(&format!("LIST = ['a']\nLIST += ['b']\n{app}"), computed);
    check_undecided(&format!("LIST = ['a']\nLIST[0] = 'b'\n{app}"), computed);
    check_undecided(&format!("LIST = ['a']\nOTHER = LIST\nOTHER.append('b')\n{app}"), computed);
    check_undecided(&format!("import random\nLIST = ['a']\nrandom.shuffle(LIST)\n{app}"), computed);
    check_undecided(&format!("LIST = ['a']\ndef g(): LIST.append('b')\ng()\n{app}"), computed);
    check_undecided(&format!("for LIST in [['a']]: pass\n{app}"), computed);
    check_undecided(
        &format!("import os\nif os.name == 'nt':\n    LIST = ['a']\nelse:\n    LIST = ['b']\n{app}"),
        computed,
    );
    assert!(scan(&format!("LIST = ['a']\nprint(len(LIST), LIST.copy())\n{app}")).is_ok());
    assert!(scan(&format!("import os\nif os.name == 'nt':\n    LIST = ['a']\nelse:\n    LIST = ['a']\n{app}")).is_ok());
    assert!(scan(&format!("try:\n    LIST = ['a']\nexcept ValueError:\n    LIST = ['a']\n{app}")).is_ok());
}

#[test]
fn results() {
    let result = |annotation: &str, want: &str| {
        let code = format!(
            "from typing import Annotated, Self\n@object_type\nclass App:\n    @function\n    def f(self){annotation}: ...\n"
        );
        check_functions(&code, json!([{"name": "f", "returns": want}]));
    };
    result("", "Void");
    result(" -> None", "Void");
    result(" -> Self", "App!");
    result(" -> list[Self]", "[App!]!");
    result(" -> 'App'", "App!");
    result(" -> Annotated[str, 1]", "String!");
    result(" -> dagger.Secret | None", "Secret");
}

#[test]
fn names_under_any_alias() {
    let app = |decorators: [&str; 2]| {
        format!("@{}\nclass App:\n    @{}\n    def f(self) -> str: ...\n", decorators[0], decorators[1])
    };
    let check = |import: &str, decorators: [&str; 2]| {
        let code = format!("{import}\n{}", app(decorators));
        let found = scan_files(&[("app.py", &code)]).unwrap_or_else(|reason| panic!("{reason}\n{code}"));
        assert_eq!(found["types"][0]["functions"][0]["name"], "f", "{code}");
    };
    check("import dagger", ["dagger.object_type", "dagger.function"]);
    check("import dagger as d", ["d.object_type()", "d.function()"]);
    check("from dagger import object_type as ot, function as fn", ["ot", "fn"]);
    check("from dagger.mod import object_type, function", ["object_type", "function"]);
    check("from dagger import mod", ["mod.object_type", "mod.function"]);
    check("from dagger import *", ["object_type", "function"]);
    check("import dagger\not = dagger.object_type\nfn = dagger.function", ["ot", "fn"]);
}

#[test]
fn several_files() {
    let main = "from typing import TYPE_CHECKING\nfrom .parts import Part, helper as h\nfrom . import constants\nfrom app.deep.er import Deep\n\
        import app.deep.er as er\nfrom dagger import function, object_type\nif TYPE_CHECKING:\n    import nothing\n\
        @object_type\nclass App:\n    @function\n    def f(self, x: str = constants.NAME, y: str = er.WORD) -> Part: ...\n\
        \n    @function\n    def g(self) -> list[Deep]: ...\n";
    let part = "from dagger import object_type\n@object_type\nclass Part:\n    '''A part.'''\ndef helper(): ...\n";
    let files = [
        ("src/app/__init__.py", "\"\"\"Doc.\"\"\"\nfrom .main import App\n"),
        ("src/app/main.py", main),
        ("src/app/parts/__init__.py", "from .part import *\n"),
        ("src/app/parts/part.py", part),
        ("src/app/constants.py", "NAME = 'name'\n"),
        (
            "src/app/deep/er.py",
            "import dagger\nfrom ..parts import Part\nWORD = 'word'\n@dagger.object_type\nclass Deep: ...\n",
        ),
    ];
    let found = scan_files(&files).expect("decided");
    let names: Vec<&str> =
        found["types"].as_array().expect("a list").iter().filter_map(|ty| ty["name"].as_str()).collect();
    assert_eq!((names, &found["description"]), (vec!["Part", "Deep", "App"], &json!("Doc.")));
    let args = &found["types"][2]["functions"][0]["args"];
    assert_eq!((&args[0]["default"], &args[1]["default"]), (&json!("name"), &json!("word")));
}

#[test]
fn modules_that_import_one_another() {
    let files = [
        ("app/__init__.py", "from .a import App\n"),
        (
            "app/a.py",
            "from dagger import function, object_type\nfrom . import b\n@object_type\nclass App:\n    @function\n    def f(self) -> b.B: ...\n",
        ),
        (
            "app/b.py",
            "import dagger\nfrom . import a\n@dagger.object_type\nclass B:\n    @dagger.function\n    def up(self) -> 'a.App': ...\n",
        ),
    ];
    let found = scan_files(&files).expect("decided");
    assert_eq!(found["types"][0]["functions"][0]["returns"], "App!");
    let broken = [files[0], files[1], ("app/b.py", "from .a import App\n")];
    assert_eq!(scan_files(&broken), Err("`app/b.py:1`: `app.a` has no name `App`".into()));
}

#[test]
fn inheritance() {
    let code = "
class Mixin:
    @function
    def m(self) -> str: ...
    @function
    def overridden(self) -> str: ...

@object_type
class Base:
    a: str = dagger.field(default='x')
    @function
    def b(self) -> 'Base': ...

@object_type
class App(Mixin, Base):
    c: int = 1
    def overridden(self) -> str: ...
    alias = Mixin.m
";
    let found = scan(code).expect("decided");
    let app = &found["types"][1];
    assert_eq!(app["functions"], json!([{"name": "m", "returns": "String!"}, {"name": "b", "returns": "Base!"}]));
    assert_eq!(app["fields"], json!([{"name": "a", "type": "String!"}]));
    let args = json!([{"name": "a", "type": "String!", "default": "x"}, {"name": "c", "type": "Int!", "default": 1}]);
    assert_eq!(app["constructor"]["args"], args);
}

#[test]
fn constructors() {
    let args = |body: &str| {
        let code = format!(
            "from dataclasses import InitVar, field\nfrom typing import ClassVar, Annotated, Self\n@object_type\nclass App:\n{body}"
        );
        let found = scan(&code).unwrap_or_else(|reason| panic!("{reason}\n{code}"));
        found["types"][0]["constructor"].clone()
    };
    let x = json!([{"name": "x", "type": "String!"}]);
    assert_eq!(args("    def __init__(self, x: str): ...\n    y: int\n"), json!({"args": x}));
    let create = "    @classmethod\n    async def create(cls, x: str) -> Self:\n        '''Makes it.'''\n    y: int\n";
    assert_eq!(args(create), json!({"args": x, "description": "Makes it."}));
    let fields = "    a: ClassVar[str] = 'a'\n    x: InitVar[str]\n    b: str = field(init=False)\n    c: str = dagger.field(init=False)\n";
    assert_eq!(args(fields), json!({"args": x}));
    let factory = "    x: str = dagger.field(default=lambda: 'y')\n    y: list[str] = field(default_factory=list)\n";
    assert_eq!(args(factory), json!({"args": [{"name": "x", "type": "String"}, {"name": "y", "type": "[String!]"}]}));
    let computed = |line: &str| format!("import os\n@object_type\nclass App:\n    {line}\n");
    check_undecided(&computed("x: str = dagger.field(default=os.getenv('X'))"), "the default of `x` is computed");
    check_undecided(&computed("x: list[str] = []"), "the default of `x` is a list");
    check_undecided(&computed("x = dagger.field()"), "the field `x` has no annotation");
}

#[test]
fn classes_as_functions() {
    let code = "
@object_type
class Part:
    '''A part.'''
    x: str
@object_type
class App:
    z_part = function(Part)
    @function
    def a(self): ...
    other = function(doc='Another.', name='more')(Part)
";
    let args = json!([{"name": "x", "type": "String!"}]);
    let want = json!([
        {"name": "more", "returns": "Part!", "args": args, "description": "Another."},
        {"name": "z_part", "returns": "Part!", "args": args, "description": "A part."},
        {"name": "a", "returns": "Void"}]);
    check_functions(code, want);
}

#[test]
fn methods_of_all_kinds() {
    let code = "
import functools, abc
from typing import override
@object_type
class App:
    @staticmethod
    @function
    def s(x: str): ...
    @classmethod
    @function
    def c(cls, x: str): ...
    @function
    @dagger.check
    def checked(self): ...
    @dagger.generate
    @function
    def generated(self): ...
    @function
    @override
    def o(self): ...
    @property
    def p(self) -> str: ...
    @p.setter
    def p(self, value): ...
    @functools.cache
    def cached(self): ...
";
    let args = json!([{"name": "x", "type": "String!"}]);
    let want = json!([
        {"name": "c", "returns": "Void", "args": args},
        {"name": "checked", "returns": "Void", "check": true},
        {"name": "generated", "returns": "Void", "generator": true},
        {"name": "o", "returns": "Void"},
        {"name": "s", "returns": "Void", "args": args}]);
    check_functions(code, want);
    let up = "@object_type\nclass App:\n    @function\n    @dagger.up\n    def f(self): ...\n";
    check_undecided(up, "the API of the module's version has no `Function.withUp`");
}

#[test]
fn enums() {
    let code = "
import enum
from enum import Enum, auto
@dagger.enum_type
class Level(Enum):
    '''How loud.'''
    LOW = 'low'
    '''Quiet.

    .. deprecated:: Use HIGH
    '''
    HIGH = 'high'
    @property
    def loud(self): ...
@dagger.enum_type
class Number(enum.IntEnum):
    ONE = auto()
    FIVE = 5
    SIX = auto()
@dagger.enum_type
class Old(dagger.Enum):
    A = 'a', 'The first.'
    B = 'b'
@dagger.enum_type
class Text(enum.StrEnum):
    SOME = auto()
@dagger.enum_type
class Mixed(str, Enum):
    A = 'a'
    _private = 'p'
@object_type
class App: ...
";
    let found = scan(code).expect("decided");
    let members = |at: usize| found["types"][at]["members"].clone();
    assert_eq!(found["types"][1]["description"], "How loud.");
    let level = json!([{"name": "LOW", "value": "low", "description": "Quiet.", "deprecated": "Use HIGH"}, {"name": "HIGH", "value": "high"}]);
    assert_eq!(members(1), level);
    assert_eq!(
        members(2),
        json!([{"name": "ONE", "value": "1"}, {"name": "FIVE", "value": "5"}, {"name": "SIX", "value": "6"}])
    );
    assert_eq!(
        members(3),
        json!([{"name": "A", "value": "a", "description": "The first."}, {"name": "B", "value": "b"}])
    );
    assert_eq!(members(4), json!([{"name": "SOME", "value": "some"}]));
    assert_eq!(members(5), json!([{"name": "A", "value": "a"}, {"name": "_private", "value": "p"}]));
    let bad = |body: &str| {
        format!("import enum, os\n@dagger.enum_type\nclass E(enum.Enum):\n{body}\n@object_type\nclass App: ...\n")
    };
    check_undecided(&bad("    A = os.name"), "the value of `E.A` is computed");
    check_undecided(&bad("    A = 'a'\n    B = 'a'"), "two members of `E` have one value");
    check_undecided(&bad("    A = ('a', 'b')"), "the value of `E.A` is computed");
    check_undecided(&bad("    A = 'a'\n    A = 'b'"), "`E.A` is defined twice");
    check_undecided("@dagger.enum_type\nclass E: ...\n@object_type\nclass App: ...\n", "`E` is no enum");
}

#[test]
fn interfaces() {
    let code = "
import typing
@dagger.interface
class Duck(typing.Protocol):
    '''Quacks.'''
    @function
    async def quack(self, loud: bool = False) -> str: ...
    @function
    def next(self) -> typing.Self: ...
@object_type
class App:
    @function
    def f(self, duck: Duck) -> list[Duck]: ...
";
    let found = scan(code).expect("decided");
    let want = json!({"kind": "INTERFACE", "name": "Duck", "description": "Quacks.", "functions": [
        {"name": "next", "returns": "Duck!"},
        {"name": "quack", "returns": "String!", "args": [{"name": "loud", "type": "Boolean!", "default": false}]}]});
    assert_eq!(found["types"][0], want);
    // The library takes the docstring of a class for the documentation of a parameter.
    assert_eq!(
        found["types"][1]["functions"][0]["args"],
        json!([{"name": "duck", "type": "Duck!", "description": "Quacks."}])
    );
    check_undecided("@dagger.interface\nclass Duck: ...\n@object_type\nclass App: ...\n", "is no `Protocol`");
}

#[test]
fn postponed_annotations() {
    let code = "from __future__ import annotations\nimport dagger\nfrom typing import Annotated\nfrom dagger import Doc, function\n\
        @dagger.object_type\nclass App:\n    '''Doc.'''\n    part: Annotated[Part, Doc('lost')] = dagger.field()\n    def __init__(self, x: Annotated[Part, Doc('kept')]) -> None: ...\n\
        \n    @function\n    def f(self) -> Part | None: ...\n@dagger.object_type\nclass Part:\n    '''Part.'''\n";
    let found = scan_files(&[("app.py", code)]).expect("decided");
    let app = &found["types"][0];
    assert_eq!(app["fields"], json!([{"name": "part", "type": "Part!"}]));
    assert_eq!(app["constructor"]["args"], json!([{"name": "x", "type": "Part!", "description": "kept"}]));
    assert_eq!(app["functions"], json!([{"name": "f", "returns": "Part"}]));
    // The signature in place of a docstring ends with a string then, which the library registers.
    let reason = scan_files(&[("app.py", &code.replace("    '''Doc.'''\n", ""))]).expect_err("undecided");
    assert_eq!(reason, "`app.py:6`: the class `App` has no docstring");
}

#[test]
fn what_the_source_does_not_decide() {
    let app = "@object_type\nclass App:\n    @function\n    def f(self): ...\n";
    let check = |before: &str, want: &str| check_undecided(&format!("{before}\n{app}"), want);
    check("exec('x = 1')", "`builtins.exec` is called at import");
    check("class A: ...\nsetattr(A, 'x', 1)", "`builtins.setattr` is called at import");
    check("class A: ...\nA.x = 1", "the attribute `x` is set at import");
    check("raise ValueError('x')", "an exception is raised at import");
    check("import sys\nsys.exit(1)", "`sys.exit` is called at import");
    check("import os\nif os.name:\n    @object_type\n    class B: ...", "types are defined under a condition");
    check("for x in 'ab':\n    @object_type\n    class B: ...", "types are defined under a condition");
    check("from nowhere import x", "no package that the project requires provides `nowhere`");
    check("from .nowhere import x", "there is no module `app.nowhere`");
    check("from dagger import nothing", "`nothing` is not in the library or the core API");
    check("def make():\n    @object_type\n    class B: ...\nmake()", "`make` runs at import and uses `object_type`");
    check("def f(:", "a syntax error");
    check("def f():\n    print 'x'", "`src/app/__init__.py:4`: a syntax error");
    check("from os.path import *", "names come from `os.path` by `import *`");
    let class = |head: &str, body: &str| {
        format!("import abc, functools, tenacity_free\n{head}\n    {body}\n").replace(", tenacity_free", "")
    };
    check_undecided(
        &class("@object_type\nclass App(abc.Nope):", "x: str"),
        "has a base class that is not in the module",
    );
    check_undecided(
        &class("class Meta(type): ...\n@object_type\nclass App(metaclass=Meta):", "x: str"),
        "has a `metaclass`",
    );
    check_undecided(&class("@functools.cache\n@object_type\nclass App:", "x: str"), "the decorator `functools.cache`");
    check_undecided(
        &class("def d(c): return c\n@d\n@object_type\nclass App:", "x: str"),
        "a decorator that the source does not decide",
    );
    check_undecided(
        &class("@object_type\nclass App:", "@function\n    @functools.cache\n    def f(self): ..."),
        "decorates the result of another decorator",
    );
    check_undecided(
        &class("def d(f): return function(f)\n@object_type\nclass App:", "@d\n    def f(self): ..."),
        "a decorator that the source does not decide",
    );
    check_undecided("@object_type\nclass Other: ...\n", "has no object type `App`");
    check_undecided("class App: ...\n", "has no object type `App`");
    assert_eq!(scan_files(&[("other.py", "")]), Err("there is no package `main`".into()));
}

#[test]
fn code_that_has_no_part_in_the_types() {
    let code = "
import logging, os, sys
from typing import TYPE_CHECKING
try:
    import tomllib
except ImportError:
    tomllib = None
if TYPE_CHECKING:
    from nowhere import Nothing
logging.basicConfig(level=os.environ.get('LEVEL', 'INFO'))
log = logging.getLogger(__name__)
TOKEN = os.environ['HOME'] if 'HOME' in os.environ else None
def helper(): raise ValueError
class Plain(dict):
    def method(self): exec('x')
with open(os.devnull) as nothing:
    pass
if __name__ == '__main__':
    sys.exit(helper())
@object_type
class App:
    @function
    def f(self): exec('x')
";
    check_functions(code, json!([{"name": "f", "returns": "Void"}]));
}
