//! The builder of types through the API: requests in, schemas and errors out. These fields need no
//! engine.

#[path = "../../api/tests/toy/mod.rs"]
mod toy;

use rondel_modules::{Modules, register_modules};
use rondel_surface::Surface;
use rondel_version::{ENGINE, View};

use crate::toy::Toy;

struct World(Toy);

impl World {
    fn new() -> Self {
        let mut surface = Surface::new();
        rondel_api::register_core(&mut surface);
        register_modules(&mut surface, &Modules::new());
        Self(Toy::serving(&surface))
    }

    async fn ask(&self, view: View, query: &str) -> serde_json::Value {
        self.0.session("s", &view.to_string()).body(query).await
    }

    async fn id(&self, view: View, query: &str, path: &str) -> String {
        let body = self.ask(view, query).await;
        body.pointer(path).and_then(|id| id.as_str()).unwrap_or_else(|| panic!("{body}")).to_owned()
    }
}

#[tokio::test]
async fn a_registration_as_clients_send_it() {
    let world = World::new();
    let string = world.id(ENGINE, "{typeDef{withKind(kind: STRING_KIND){id}}}", "/data/typeDef/withKind/id").await;
    let object = world.id(ENGINE, "{typeDef{withObject(name: \"MyModule\"){id}}}", "/data/typeDef/withObject/id").await;
    let query = format!(
        r#"{{function(name: "container_echo", returnType: "{string}"){{withDescription(description: "d"){{
            withArg(name: "string_arg", typeDef: "{string}", description: "what", defaultValue: "\"hi\"", defaultPath: null, defaultAddress: null){{id}}}}}}}}"#
    );
    let function = world.id(ENGINE, &query, "/data/function/withDescription/withArg/id").await;
    let query = format!(
        r#"{{typeDef{{withObject(name: "MyModule", description: "Main"){{withField(name: "a_field", typeDef: "{string}", description: null){{
            withFunction(function: "{function}"){{id}}}}}}}}}}"#
    );
    let main = world.id(ENGINE, &query, "/data/typeDef/withObject/withField/withFunction/id").await;
    let query = format!(
        r#"{{module{{withDescription(description: "m"){{withObject(object: "{main}"){{description objects{{kind asObject{{name
            fields{{name typeDef{{kind}}}} functions{{name args{{name defaultValue typeDef{{kind optional}}}}}}}}}}}}}}}}}}"#
    );
    let got = world.ask(ENGINE, &query).await;
    let module = got.pointer("/data/module/withDescription/withObject").unwrap_or_else(|| panic!("{got}"));
    assert_eq!(
        *module,
        serde_json::json!({"description": "m", "objects": [{"kind": "OBJECT_KIND", "asObject": {
            "name": "MyModule",
            "fields": [{"name": "aField", "typeDef": {"kind": "STRING_KIND"}}],
            "functions": [{"name": "containerEcho", "args": [
                {"name": "stringArg", "defaultValue": "\"hi\"", "typeDef": {"kind": "STRING_KIND", "optional": false}}]}],
        }}]})
    );
    let query = format!(
        r#"{{function(name: "", returnType: "{string}"){{id}} typeDef{{withObject(name: "X"){{withConstructor(function: "{function}"){{id}}}}}}}}"#
    );
    let got = world.ask(ENGINE, &query).await;
    assert_eq!(got.pointer("/errors/0/message"), Some(&"the constructor of `X` must return `X`, not `String!`".into()));
    assert!(!object.is_empty());
}

#[tokio::test]
async fn members_are_judged_under_the_view_of_the_call() {
    let world = World::new();
    let query =
        r#"{typeDef{withEnum(name: "Level"){withEnumMember(name: "LOW", value: "low"){asEnum{members{name value}}}}}}"#;
    let check = async |view: View, name: &str, value: &str| {
        let got = world.ask(view, query).await;
        let member = got.pointer("/data/typeDef/withEnum/withEnumMember/asEnum/members/0");
        assert_eq!(member, Some(&serde_json::json!({"name": name, "value": value})), "{got}");
    };
    check(View::new(0, 18, 10), "low", "low").await;
    check(View::new(0, 18, 11), "LOW", "low").await;
    check(ENGINE, "LOW", "low").await;
}
