//! Documents through the real evaluator on toy ports: configuration, identity, images, host, secrets, errors, views.

mod toy;

use std::sync::atomic::Ordering;

use serde_json::json;
use toy::{Connection, Toy};

const NEW: &str = "v0.21.8";

async fn check(connection: &Connection, query: &str, want: serde_json::Value) {
    assert_eq!(connection.value(query).await, want, "{query}");
}

async fn check_error(connection: &Connection, query: &str, want: &str) {
    let got = connection.error(query).await;
    assert!(got.contains(want), "{query}: {got}");
}

#[tokio::test]
async fn configuration_is_a_value() {
    let client = Toy::new().session("s", NEW);
    let image = r#"container{from(address:"alpine:3")"#;
    for (steps, want) in [
        ("defaultArgs", json!(["/bin/sh"])),
        ("entrypoint", json!([])),
        (r#"withEntrypoint(args:["e"]){defaultArgs}"#, json!([])),
        (r#"withEntrypoint(args:["e"],keepDefaultArgs:true){defaultArgs}"#, json!(["/bin/sh"])),
        (r#"withDefaultArgs(args:[]){withEntrypoint(args:["e"]){defaultArgs}}"#, json!([])),
        (r#"withEntrypoint(args:["e"]){withoutEntrypoint{entrypoint}}"#, json!([])),
        (r#"withEnvVariable(name:"PATH",value:"/x:${PATH}",expand:true){envVariable(name:"PATH")}"#, json!("/x:/bin")),
        (r#"withEnvVariable(name:"A",value:"$PATH"){envVariable(name:"A")}"#, json!("$PATH")),
        (r#"withoutEnvVariable(name:"PATH"){envVariable(name:"PATH")}"#, json!(null)),
        (r#"withVolatileVariable(name:"V",value:"1"){envVariable(name:"V")}"#, json!(null)),
        (r#"withWorkdir(path:"/a"){withWorkdir(path:"b/../c"){workdir}}"#, json!("/a/c")),
        ("workdir", json!("/")),
        (r#"withUser(name:"u:g"){user}"#, json!("u:g")),
        (r#"withUser(name:"u"){withoutUser{user}}"#, json!("")),
        (r#"label(name:"made")"#, json!("here")),
        (r#"withLabel(name:"made",value:"x"){withoutLabel(name:"made"){label(name:"made")}}"#, json!(null)),
        (r#"withMountedTemp(path:"/t"){withMountedCache(path:"c",cache:"CACHE"){mounts}}"#, json!(["/t", "/c"])),
        (r#"withMountedTemp(path:"/t"){withoutMount(path:"t"){mounts}}"#, json!([])),
    ] {
        let cache = client.text(r#"{cacheVolume(key:"k"){id}}"#).await;
        let query = format!("{{{image}{{{}}}}}}}", steps.replace("CACHE", &cache));
        check(&client, &query, want).await;
    }
    check(&client, r#"{container(platform:"linux/arm64/v8"){platform}}"#, json!("linux/arm64")).await;
    check(&client, "{version}", json!("v0.21.8")).await;
    let ports =
        r#"{container{withExposedPort(port:80){withExposedPort(port:80,protocol:UDP){exposedPorts{port protocol}}}}}"#;
    check(&client, ports, json!([{"port":80,"protocol":"TCP"},{"port":80,"protocol":"UDP"}])).await;
}

#[tokio::test]
async fn elements_of_lists_are_loaded_back() {
    let toy = Toy::new();
    let client = toy.session("s", NEW);
    let query =
        r#"{container{withEnvVariable(name:"A",value:"1"){withEnvVariable(name:"B",value:"2"){envVariables{id}}}}}"#;
    let list = client.value(query).await;
    let id = list[1]["id"].as_str().expect("an ID").to_owned();
    check(&client, &format!(r#"{{node(id:"{id}"){{... on EnvVariable{{value}}}}}}"#), json!("2")).await;
    let later = Toy::new().session("later", "v0.18.10");
    check(&later, &format!(r#"{{loadEnvVariableFromID(id:"{id}"){{name}}}}"#), json!("B")).await;
    check_error(
        &later,
        &format!(r#"{{loadFileFromID(id:"{id}"){{name}}}}"#),
        "load File: expected File, got EnvVariable",
    )
    .await;
}

#[tokio::test]
async fn a_tag_is_looked_up_once_per_session() {
    let toy = Toy::new();
    let (first, second) = (toy.session("1", NEW), toy.session("2", NEW));
    let query = r#"{container{from(address:"alpine:3"){imageRef}}}"#;
    let reference = first.text(query).await;
    assert!(reference.starts_with("docker.io/library/alpine:3@sha256:"), "{reference}");
    first.text(query).await;
    assert_eq!(toy.counters.resolved.load(Ordering::Relaxed), 1);
    let id =
        |connection| async move { Connection::text(connection, r#"{container{from(address:"alpine:3"){id}}}"#).await };
    assert_eq!(id(&first).await, id(&second).await);
    assert_eq!(toy.counters.resolved.load(Ordering::Relaxed), 2);
    check(&second, &format!(r#"{{container{{from(address:"{reference}"){{imageRef}}}}}}"#), json!(reference)).await;
    assert_eq!(toy.counters.resolved.load(Ordering::Relaxed), 2);
    check_error(
        &first,
        r#"{container{from(address:"alpine:3"){withUser(name:"x"){imageRef}}}}"#,
        "Image reference can only be retrieved immediately after the 'Container.From' call",
    )
    .await;
}

#[tokio::test]
async fn host_files_are_what_they_hold() {
    let toy = Toy::new();
    let client = toy.session("s", NEW);
    let here = client.text(r#"{host{directory(path:"."){id}}}"#).await;
    assert_eq!(here, client.text(r#"{host{directory(path:"~/other"){id}}}"#).await);
    assert_ne!(here, client.text(r#"{host{directory(path:".",exclude:["x"]){id}}}"#).await);
    let before = toy.counters.imports.load(Ordering::Relaxed);
    client.text(r#"{host{directory(path:"."){id}}}"#).await;
    assert_eq!(toy.counters.imports.load(Ordering::Relaxed), before);
    client.text(r#"{host{directory(path:".",noCache:true){id}}}"#).await;
    client.text(r#"{host{directory(path:".",noCache:true){id}}}"#).await;
    assert_eq!(toy.counters.imports.load(Ordering::Relaxed), before + 2);
    check(&client, r#"{host{file(path:"a/b.txt"){name}}}"#, json!("b.txt")).await;
    check(&client, r#"{address(value:"file://a/b.txt"){file{name}}}"#, json!("b.txt")).await;
    check(&client, r#"{host{findUp(name:"found")}}"#, json!("../found")).await;
    check(&client, r#"{host{findUp(name:"lost")}}"#, json!(null)).await;
    check_error(&client, r#"{host{directory(path:"missing"){id}}}"#, "missing: no such file or directory").await;
}

#[tokio::test]
async fn plaintext_is_in_no_id() {
    let toy = Toy::new();
    let client = toy.session("s", NEW);
    let id = client.text(r#"{setSecret(name:"n",plaintext:"plain-token"){id}}"#).await;
    assert_eq!(id, client.text(r#"{setSecret(name:"n",plaintext:"plain-token"){id}}"#).await);
    let call = toy.evaluator.decode(&id).expect("an ID");
    assert!(!format!("{:?}", call.spec()).contains("plain-token"));
    check(&client, &format!(r#"{{node(id:"{id}"){{... on Secret{{plaintext}}}}}}"#), json!("plain-token")).await;
    check(&client, &format!(r#"{{loadSecretFromID(id:"{id}"){{name}}}}"#), json!("n")).await;
    let other = toy.session("other", NEW);
    check_error(&other, &format!(r#"{{loadSecretFromID(id:"{id}"){{plaintext}}}}"#), "secret `n` is not known").await;
}

#[tokio::test]
async fn secrets_have_providers() {
    let toy = Toy::new();
    let client = toy.session("s", NEW);
    check(&client, r#"{secret(uri:"env://TOKEN"){plaintext}}"#, json!("plain-token")).await;
    check(&client, r#"{secret(uri:"env://TOKEN?cacheKey=k"){uri}}"#, json!("env://TOKEN")).await;
    check(&client, r#"{secret(uri:"cmd://echo hi"){plaintext}}"#, json!("hi")).await;
    check(&client, r#"{address(value:"TOKEN"){secret{plaintext}}}"#, json!("plain-token")).await;
    let id = client.text(r#"{secret(uri:"env://TOKEN",cacheKey:"k"){id}}"#).await;
    let load = format!(r#"{{loadSecretFromID(id:"{id}"){{plaintext}}}}"#);
    for session in ["s", "later", "later still"] {
        check(&toy.session(session, NEW), &load, json!("plain-token")).await;
    }
    for (uri, error) in [
        ("env://TOPSECRET", r#"secret env var not found: "TOP...""#),
        ("file:///no/such", "no such file or directory"),
        ("cmd://false", "failed to run secret command"),
        ("wtf://x", r#"unsupported secret provider: "wtf""#),
        ("wtf", "malformed id"),
        ("libsecret://a/b", "not supported"),
    ] {
        check_error(&client, &format!(r#"{{secret(uri:"{uri}"){{plaintext}}}}"#), error).await;
    }
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let client = Toy::new().session("s", NEW);
    for (query, want) in [
        ("{container{stdout}}", "no command has been set"),
        ("{container{withExec(args:[]){sync}}}", "no command has been set"),
        (r#"{container(platform:"windows98"){id}}"#, "unknown operating system or architecture"),
        (r#"{container{withError(err:"msg"){sync}}}"#, "msg"),
        (r#"{container{withMountedTemp(path:"/t"){directory(path:"/t/x"){id}}}}"#, "cannot retrieve path from tmpfs"),
        (r#"{file(name:"a/b",contents:""){id}}"#, "must not contain a directory"),
        (r#"{container{withExec(args:["x"],stdin:"a",redirectStdin:"b"){id}}}"#, "cannot set both"),
        (r#"{container{from(address:"nope:1"){id}}}"#, "not found"),
        (r#"{container{from(address:"NO/such"){id}}}"#, "invalid image reference"),
        (r#"{container{up}}"#, "no service command has been set"),
        (r#"{cloud{traceURL}}"#, "`Query.cloud` is not supported"),
        (r#"{node(id:""){id}}"#, "the ID is null"),
        (r#"{container{export(path:"../x")}}"#, "outside of the working directory"),
        (r#"{container{withNewFile(path:"x",contents:"",permissions:99999){id}}}"#, "permission bits"),
        (r#"{container{withExposedPort(port:0){id}}}"#, "between 1 and 65535"),
    ] {
        check_error(&client, query, want).await;
    }
    let long = format!(r#"{{directory{{withNewFile(path:"{}",contents:""){{id}}}}}}"#, "a".repeat(256));
    check_error(&client, &long, "File name length exceeds the maximum supported 255 characters").await;
    let secret = client.text(r#"{setSecret(name:"n",plaintext:"p"){id}}"#).await;
    let expand = format!(
        r#"{{container{{withSecretVariable(name:"X",secret:"{secret}"){{withExec(args:["$X"],expand:true){{id}}}}}}}}"#
    );
    check_error(&client, &expand, r#"expand cannot be used with secret env variable "X""#).await;
    assert!(!client.text(r#"{container{withError(err:""){id}}}"#).await.is_empty());
}

#[tokio::test]
async fn errors_carry_values() {
    let client = Toy::new().session("s", NEW);
    let query = r#"{error(message:"m"){withValue(name:"k",value:"{\"a\":[1,2]}"){message values{name value}}}}"#;
    let body = client.body(query).await;
    let want = json!({"message": "m", "values": [{"name": "k", "value": "{\"a\":[1,2]}"}]});
    assert_eq!(body["data"]["error"]["withValue"], want);
    check_error(&client, r#"{error(message:"m"){withValue(name:"k",value:"{"){message}}}"#, "as JSON").await;
}

#[tokio::test]
async fn old_views_mean_what_they_meant() {
    let toy = Toy::new();
    let old = toy.session("s", "v0.11.9");
    check(&old, r#"{pipeline(name:"x"){container{withFocus{pipeline(name:"y"){workdir}}}}}"#, json!("/")).await;
    let default = r#"{container{withEntrypoint(args:["e"]){withExec(args:[],skipEntrypoint:true){sync}}}}"#;
    check_error(&old, default, "no command has been set").await;
    let dir = r#"{container{withNewFile(path:"x"){id}}}"#;
    assert!(!old.text(dir).await.is_empty());
    let between = toy.session("t", "v0.12.0");
    assert!(!between.text(r#"{container{withEntrypoint(args:["e"]){withExec(args:[]){id}}}}"#).await.is_empty());
    let new = toy.session("u", NEW);
    check_error(&new, r#"{container{withEntrypoint(args:["e"]){withExec(args:[]){id}}}}"#, "no command has been set")
        .await;
}
