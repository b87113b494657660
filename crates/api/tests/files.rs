//! Files of directories and containers, through the real evaluator and the real store.

mod toy;

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

/// A directory with `a.txt`, `sub/b.txt`, `sub/deep/c.md` and the link `link` to `a.txt`.
const TREE: &str = r#"directory{withNewFile(path:"a.txt",contents:"1\n2\n3\n"){withNewFile(path:"sub/b.txt",contents:"b",permissions:384){
    withNewFile(path:"sub/deep/c.md",contents:"c"){withSymlink(target:"a.txt",linkName:"link")"#;

fn tree(rest: &str) -> String {
    format!("{{{TREE}{{{rest}}}}}}}}}}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn directories() {
    let toy = Toy::on_disk();
    let client = toy.session("s", NEW);
    for (rest, want) in [
        ("entries", json!(["a.txt", "link", "sub/"])),
        (r#"entries(path:"sub")"#, json!(["b.txt", "deep/"])),
        (r#"directory(path:"sub"){entries}"#, json!(["b.txt", "deep/"])),
        (r#"directory(path:"sub"){name}"#, json!("sub/")),
        ("name", json!("/")),
        (r#"glob(pattern:"**/*.md")"#, json!(["sub/deep/c.md"])),
        (r#"file(path:"a.txt"){contents}"#, json!("1\n2\n3\n")),
        (r#"file(path:"link"){contents(offsetLines:1,limitLines:1)}"#, json!("2\n")),
        (r#"file(path:"sub/b.txt"){size}"#, json!(1)),
        (r#"file(path:"sub/b.txt"){name}"#, json!("b.txt")),
        (r#"file(path:"a.txt"){withReplaced(search:"2",replacement:"x"){contents}}"#, json!("1\nx\n3\n")),
        (r#"stat(path:"sub/b.txt"){permissions}"#, json!(384)),
        (r#"stat(path:"link",doNotFollowSymlinks:true){fileType}"#, json!("SYMLINK")),
        (r#"exists(path:"sub/deep")"#, json!(true)),
        (r#"exists(path:"sub/deep",expectedType:REGULAR_TYPE)"#, json!(false)),
        (r#"exists(path:"link",expectedType:SYMLINK_TYPE)"#, json!(true)),
        (r#"exists(path:"none")"#, json!(false)),
        (r#"findUp(name:"a.txt",start:"sub/deep")"#, json!("a.txt")),
        (r#"findUp(name:"none",start:"sub")"#, json!(null)),
        (r#"withoutFile(path:"*.txt"){entries}"#, json!(["link", "sub/"])),
        (r#"withoutDirectory(path:"sub"){entries}"#, json!(["a.txt", "link"])),
        (r#"withoutFiles(paths:["a.txt","sub/*.txt"]){entries(path:"sub")}"#, json!(["deep/"])),
        (r#"withNewDirectory(path:"new/er"){entries(path:"new")}"#, json!(["er/"])),
        (
            r#"filter(include:["sub/**"],exclude:["**/*.md"]){glob(pattern:"**/*")}"#,
            json!(["sub/", "sub/b.txt", "sub/deep/"]),
        ),
        (r#"directory(path:"sub"){withNewFile(path:"../x",contents:""){entries}}"#, json!(["b.txt", "deep/", "x"])),
    ] {
        check(&client, &tree(rest), want).await;
    }
    for (rest, want) in [
        (r#"directory(path:"a.txt"){id}"#, "path a.txt is a file, not a directory"),
        (r#"directory(path:"bogus"){sync}"#, "bogus: no such file or directory"),
        (r#"file(path:"keep/../this"){contents}"#, "keep/../this: no such file or directory"),
        (r#"file(path:"sub"){contents}"#, "path sub is a directory, not a file"),
    ] {
        check_error(&client, &tree(rest), want).await;
    }
    check(&toy.session("old", "v0.16.0"), &tree("entries"), json!(["a.txt", "link", "sub"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_combined() {
    let toy = Toy::on_disk();
    let client = toy.session("s", NEW);
    let id = client.text(&tree("id")).await;
    let file = client.text(&tree(r#"file(path:"sub/b.txt"){id}"#)).await;
    for (rest, want) in [
        (
            format!(r#"withDirectory(path:"d",source:"{id}",exclude:["sub"]){{entries(path:"d")}}"#),
            json!(["a.txt", "link"]),
        ),
        (format!(r#"withFile(path:"d/",source:"{file}"){{entries(path:"d")}}"#), json!(["b.txt"])),
        (format!(r#"withFile(path:"d",source:"{file}"){{entries}}"#), json!(["d"])),
        (format!(r#"withFiles(path:"d",sources:["{file}"]){{entries(path:"d")}}"#), json!(["b.txt"])),
        (format!(r#"diff(other:"{id}"){{entries}}"#), json!(["a.txt", "link", "sub/"])),
    ] {
        check(&client, &format!("{{directory{{{rest}}}}}"), want).await;
    }
    check(&client, &tree(&format!(r#"diff(other:"{id}"){{entries}}"#)), json!([])).await;
    let digest = client.text(&tree(r#"directory(path:"sub"){digest}"#)).await;
    let moved = format!(
        r#"{{directory{{withDirectory(path:"elsewhere",source:"{id}"){{directory(path:"elsewhere/sub"){{digest}}}}}}}}"#
    );
    check(&client, &moved, json!(digest)).await;
    let renamed = format!(r#"{{loadFileFromID(id:"{file}"){{withName(name:"n"){{name}}}}}}"#);
    check(&client, &renamed, json!("n")).await;
    let old = toy.session("old", "v0.18.10");
    check(
        &old,
        &format!(r#"{{directory{{withDirectory(path:"/",directory:"{id}"){{entries(path:"sub")}}}}}}"#),
        json!(["b.txt", "deep/"]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_containers() {
    let toy = Toy::on_disk();
    let client = toy.session("s", NEW);
    let id = client.text(&tree("id")).await;
    let sub = client.text(&tree(r#"directory(path:"sub"){id}"#)).await;
    let file = client.text(&tree(r#"file(path:"a.txt"){id}"#)).await;
    let work = r#"container{withWorkdir(path:"/w")"#;
    for (rest, want) in [
        (
            format!(r#"withDirectory(path:"d",source:"{sub}"){{directory(path:"/w/d"){{entries}}}}"#),
            json!(["b.txt", "deep/"]),
        ),
        (format!(r#"withFile(path:"/tmp/x",source:"{file}"){{file(path:"../tmp/x"){{name}}}}"#), json!("x")),
        (r#"withNewFile(path:"n",contents:"hi"){file(path:"n"){contents}}"#.to_owned(), json!("hi")),
        (r#"withNewFile(path:"n",contents:"hi"){withoutFile(path:"n"){exists(path:"n")}}"#.to_owned(), json!(false)),
        (
            r#"withNewFile(path:"n",contents:"hi"){withoutDirectory(path:""){directory(path:"."){entries}}}"#
                .to_owned(),
            json!([]),
        ),
        (r#"withSymlink(target:"n",linkName:"l"){exists(path:"l",expectedType:SYMLINK_TYPE)}"#.to_owned(), json!(true)),
        (format!(r#"withRootfs(directory:"{sub}"){{rootfs{{entries}}}}"#), json!(["b.txt", "deep/"])),
        (
            format!(r#"withMountedDirectory(path:"m",source:"{sub}"){{directory(path:"m/deep"){{entries}}}}"#),
            json!(["c.md"]),
        ),
        (
            format!(
                r#"withMountedDirectory(path:"m",source:"{sub}"){{withNewFile(path:"m/deep/n",contents:"x"){{file(path:"/w/m/deep/n"){{contents}}}}}}"#
            ),
            json!("x"),
        ),
        (
            format!(
                r#"withMountedDirectory(path:"m",source:"{sub}"){{withNewFile(path:"m/n",contents:"x"){{withoutMount(path:"m"){{exists(path:"m/n")}}}}}}"#
            ),
            json!(false),
        ),
        (
            format!(
                r#"withMountedFile(path:"f",source:"{file}"){{withNewFile(path:"f",contents:"over"){{file(path:"f"){{contents}}}}}}"#
            ),
            json!("over"),
        ),
        (
            format!(
                r#"withNewFile(path:"f",contents:"x"){{withMountedFile(path:"f",source:"{file}"){{withoutFile(path:"f"){{exists(path:"f")}}}}}}"#
            ),
            json!(false),
        ),
        (
            format!(
                r#"withMountedDirectory(path:"m",source:"{id}"){{withMountedDirectory(path:"m/sub/deep",source:"{sub}"){{directory(path:"m/sub/deep"){{entries}}}}}}"#
            ),
            json!(["b.txt", "deep/"]),
        ),
        (
            format!(
                r#"withMountedDirectory(path:"m",source:"{sub}"){{withoutFile(path:"m/*.txt"){{directory(path:"m"){{entries}}}}}}"#
            ),
            json!(["deep/"]),
        ),
    ] {
        check(&client, &format!("{{{work}{{{rest}}}}}}}"), want).await;
    }
    for (rest, want) in [
        (r#"directory(path:"bogus"){id}"#.to_owned(), "bogus: no such file or directory"),
        (
            format!(r#"withFile(path:"f",source:"{file}"){{directory(path:"/w/f"){{id}}}}"#),
            "path /w/f is a file, not a directory",
        ),
        (
            r#"withMountedCache(path:"/c",cache:"CACHE"){file(path:"/c/x"){id}}"#.to_owned(),
            "cannot retrieve path from cache",
        ),
    ] {
        let cache = client.text(r#"{cacheVolume(key:"k"){id}}"#).await;
        check_error(&client, &format!("{{{work}{{{}}}}}}}", rest.replace("CACHE", &cache)), want).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_gives_an_id_that_loads() {
    let toy = Toy::on_disk();
    let client = toy.session("s", NEW);
    let id = client.text(r#"{container{withNewFile(path:"/x",contents:"y"){sync}}}"#).await;
    check(&client, &format!(r#"{{node(id:"{id}"){{... on Container{{file(path:"/x"){{contents}}}}}}}}"#), json!("y"))
        .await;
    let id = client.text(&tree("sync")).await;
    let later = toy.session("later", "v0.18.12");
    check(&later, &format!(r#"{{loadDirectoryFromID(id:"{id}"){{file(path:"sub/b.txt"){{contents}}}}}}"#), json!("b"))
        .await;
}
