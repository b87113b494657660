//! Dockerfiles to containers, without evaluating anything.
#![allow(clippy::unwrap_used)]

use rondel_digest::Digest;
use rondel_dockerfile::{Base, Error, Known, Need, Outcome, Request, Secret, build, parse};
use rondel_model::entitlement::Entitlement;
use rondel_model::op::{CopyPattern, ExecOutput, TreePath};
use rondel_model::{AbsPath, Container, ExecOp, Fs, FsOp, ImageConfig, MountSource, Platform, SecretRef};

fn request() -> Request {
    Request {
        context: TreePath { fs: Fs::scratch(), path: AbsPath::root() },
        ignore: Vec::new(),
        platform: "linux/arm64".parse().unwrap(),
        target: String::new(),
        args: Vec::new(),
        secrets: Vec::new(),
        ssh: None,
        no_init: false,
        namespace: String::new(),
        entitlements: Vec::new(),
    }
}

/// Answers every need with an empty tree and this configuration.
fn answer(config: &ImageConfig, needs: Vec<(Need, Error)>, known: &mut Known) {
    for (need, _) in needs {
        let place = TreePath { fs: Fs::scratch(), path: AbsPath::new("/file") };
        known.insert(need, Base { place, config: config.clone(), history: None, platform: Platform::native() });
    }
}

fn built_with(text: &str, request: &Request, config: &ImageConfig) -> Result<Container, String> {
    let dockerfile = parse("Dockerfile", text).map_err(|e| e.to_string())?;
    let mut known = Known::new();
    loop {
        match build(&dockerfile, request, &known).map_err(|e| e.to_string())? {
            Outcome::Done(container) => return Ok(*container),
            Outcome::Needs(needs) => answer(config, needs, &mut known),
        }
    }
}

fn built(text: &str, request: &Request) -> Container {
    built_with(text, request, &ImageConfig::default()).unwrap()
}

fn entries(config: &ImageConfig) -> Vec<String> {
    config.env.iter().flat_map(|env| env.values()).map(ToString::to_string).collect()
}

#[test]
fn arguments_and_variables() {
    let check = |text: &str, args: &[(&str, &str)], want: &[&str]| {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let container = built(text, &Request { args, ..request() });
        assert_eq!(entries(&container.config), want, "{text}");
    };
    check("ARG A=1\nFROM x\nENV B=$A", &[], &["B="]);
    check("ARG A=1\nFROM x\nARG A\nENV B=$A", &[], &["B=1"]);
    check("ARG A=1\nFROM x\nARG A=2\nENV B=$A", &[], &["B=2"]);
    check("ARG A=1\nFROM x\nARG A=2\nENV B=$A", &[("A", "3")], &["B=3"]);
    check("FROM x\nENV A=env\nARG A=arg\nENV B=$A", &[("A", "given")], &["A=env", "B=env"]);
    check("FROM x\nARG A=1\nARG A=2\nENV B=$A", &[], &["B=2"]);
    check("FROM x\nENV A=1 B=$A\nENV B=$A", &[], &["A=1", "B=1"]);
    check("FROM x AS a\nARG A=1\nFROM a\nENV B=$A", &[], &["B=1"]);
    check("FROM x AS a\nARG A=1\nFROM x\nENV B=$A", &[], &["B="]);
    check("FROM x\nARG TARGETARCH\nENV B=$TARGETARCH C=$TARGETOS", &[], &["B=arm64", "C="]);
    check("FROM x\nARG UNSET\nENV B=${UNSET-none}", &[], &["B=none"]);
}

fn exec(fs: &Fs) -> &ExecOp {
    match fs.op() {
        FsOp::Exec { exec, output: ExecOutput::Rootfs } => exec,
        other => panic!("{other:?}"),
    }
}

fn gather(fs: &Fs) -> &CopyPattern {
    match fs.op() {
        FsOp::CopyPattern(op) => op,
        other => panic!("{other:?}"),
    }
}

#[test]
fn processes() {
    let text = "FROM x\nARG A=1\nENV B=2\nUSER u\nSHELL [\"ash\", \"-x\"]\nRUN --network=none echo $A";
    let container = built(text, &Request { no_init: true, ..request() });
    let op = exec(&container.rootfs);
    assert_eq!(op.args, ["ash", "-x", "echo $A"]);
    assert_eq!(op.env, [("B".to_owned(), "2".to_owned()), ("A".to_owned(), "1".to_owned())]);
    assert_eq!((&*op.user, op.offline, op.no_init), ("u", true, true));
    let check = |text: &str, want: &[&str]| {
        let container = built(&format!("FROM x\n{text}"), &request());
        assert_eq!(exec(&container.rootfs).args, want, "{text}");
    };
    check("RUN [\"a\", \"b c\"]", &["a", "b c"]);
    check("RUN [\"a\", b]", &["/bin/sh", "-c", "[\"a\", b]"]);
    check("RUN <<E\nx\nE", &["/bin/sh", "-c", "x\n"]);
    check("RUN cat <<E >f\nx\nE", &["/bin/sh", "-c", "cat <<E >f\nx\nE"]);
    check("RUN <<E\n#!/bin/x\nE", &["/run/rondel-scripts/E"]);
}

#[test]
fn mounts() {
    let secret =
        SecretRef { key: Digest::of_bytes(b"x"), name: "token".into(), uri: "".into(), from_nested_client: false };
    let secrets = vec![Secret { names: vec!["token".into()], secret: secret.clone() }];
    let text = "FROM x\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,env=T --mount=type=cache,target=/c \
                --mount=target=/b,source=s --mount=type=tmpfs,target=t,size=1k x";
    let container = built(text, &Request { secrets, ..request() });
    let op = exec(&container.rootfs);
    let targets: Vec<&str> = op.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/run/secrets/token", "/c", "/b", "/t"]);
    let MountSource::Bind { fs, read_only: true, .. } = &op.mounts[2].source else { panic!("no bind mount") };
    assert!(matches!(fs.op(), FsOp::Isolate(_)));
    assert!(matches!(op.mounts[3].source, MountSource::Temp { size: Some(1024) }));
    assert_eq!(op.secret_env, [("T".to_owned(), secret.clone())]);
    assert_eq!((op.redact.len(), &container.redact[..]), (0, &[secret][..]));
    for (option, want) in [("", false), (",ro", true), (",ro=false", false), (",rw=false", true)] {
        let container = built(&format!("FROM x\nRUN --mount=type=cache,target=/c{option} x"), &request());
        let MountSource::Cache { read_only, .. } = exec(&container.rootfs).mounts[0].source else { panic!("no cache") };
        assert_eq!(read_only, want, "{option}");
    }
}

#[test]
fn cache_mounts() {
    let volume = |options: &str, namespace: &str| {
        let text = format!("FROM x AS a\nFROM x\nRUN --mount=type=cache,target=/c{options} x");
        let container = built(&text, &Request { namespace: namespace.into(), ..request() });
        let source = &exec(&container.rootfs).mounts[0].source;
        let MountSource::Cache { volume, source, owner, .. } = source else { panic!("{source:?}") };
        (volume.clone(), source.clone(), owner.clone())
    };
    assert_eq!(volume("", ""), volume(",sharing=locked", ""));
    for other in [",id=d", ",uid=1", ",gid=1", ",mode=0700", ",from=a", ",from=a,source=/s"] {
        assert_ne!(volume("", ""), volume(other, ""), "{other}");
    }
    assert_ne!(volume("", ""), volume("", "m"));
    assert_ne!(volume("", "n"), volume("", "m"));
}

#[test]
fn proxies_are_named_and_count_for_no_more() {
    let op = |args: &[(&str, &str)]| {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        exec(&built("FROM x\nRUN x", &Request { args, ..request() }).rootfs).digest()
    };
    assert_eq!(op(&[("HTTP_PROXY", "http://a")]), op(&[("HTTP_PROXY", "http://b")]));
    assert_ne!(op(&[("HTTP_PROXY", "http://a")]), op(&[]));
}

#[test]
fn copies() {
    let container = built("FROM x\nWORKDIR /w\nCOPY --chown=a:b --exclude=*.md d e f/", &request());
    let op = gather(&container.rootfs);
    assert_eq!((op.paths.len(), op.target.as_str(), op.target_is_dir), (2, "/w/f", true));
    assert_eq!((&*op.owner.as_ref().unwrap().0, op.keep_owner, op.unpack), ("a:b", false, false));
    let container = built("FROM x AS a\nFROM x\nCOPY --from=a / /\nADD d /", &request());
    let op = gather(&container.rootfs);
    assert!(op.unpack && !op.keep_owner && gather(&op.base).keep_owner);
    let container = built("FROM x\nADD https://x.example/a.tgz /t/", &request());
    let op = gather(&container.rootfs);
    assert_eq!((&*op.paths[0], op.unpack), ("file", false));
}

#[test]
fn commands_and_entrypoints() {
    let check = |text: &str, entrypoint: Option<&[&str]>, cmd: Option<&[&str]>| {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let (own, own_cmd) = (Some(words(&["base"])), Some(words(&["base-cmd"])));
        let base = ImageConfig { entrypoint: own, cmd: own_cmd, ..ImageConfig::default() };
        let container = built_with(text, &request(), &base).unwrap();
        assert_eq!(container.config.entrypoint, entrypoint.map(words), "{text}");
        assert_eq!(container.config.cmd, cmd.map(words), "{text}");
    };
    check("FROM x", Some(&["base"]), Some(&["base-cmd"]));
    check("FROM x\nCMD a b", Some(&["base"]), Some(&["/bin/sh", "-c", "a b"]));
    check("FROM x\nENTRYPOINT [\"e\"]", Some(&["e"]), None);
    check("FROM x\nCMD [\"c\"]\nENTRYPOINT [\"e\"]", Some(&["e"]), Some(&["c"]));
    check("FROM x AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]", Some(&["e"]), None);
    check("FROM x\nENTRYPOINT []\nCMD []", None, Some(&[]));
}

#[test]
fn triggers_of_base_images_run_first() {
    let mut base = ImageConfig::default();
    base.other.insert("OnBuild".into(), serde_json::json!(["ENV A=1", "COPY --from=first /x /y"]));
    let text = "FROM scratch AS first\nENV B=0\nFROM x\nENV C=$A";
    let container = built_with(text, &request(), &base).unwrap();
    assert_eq!(entries(&container.config), ["A=1", "C=1"]);
    assert!(container.config.other.is_empty());
    gather(&container.rootfs);
    base.other.insert("OnBuild".into(), serde_json::json!(["FROM y"]));
    let error = built_with(text, &request(), &base).unwrap_err();
    assert_eq!(error, "`Dockerfile` line 3, `FROM`: the base image has the trigger `FROM y`, which cannot be one");
}

#[test]
fn needs_are_asked_for_once_and_with_their_place() {
    let text =
        "FROM a AS one\nFROM --platform=linux/amd64 b AS unneeded\nFROM a\nCOPY --from=one x x\nCOPY --from=c y y";
    let dockerfile = parse("Dockerfile", text).unwrap();
    let asked = |known: &Known| match build(&dockerfile, &request(), known).unwrap() {
        Outcome::Needs(needs) => needs,
        Outcome::Done(_) => Vec::new(),
    };
    let mut known = Known::new();
    let mut said = Vec::new();
    loop {
        let needs = asked(&known);
        if needs.is_empty() {
            break;
        }
        said.extend(needs.iter().map(|(_, place)| place.to_string()));
        answer(&ImageConfig::default(), needs, &mut known);
    }
    assert_eq!(
        said,
        ["`Dockerfile` line 1, `FROM`: it cannot be had", "`Dockerfile` line 5, `COPY`: it cannot be had"]
    );
}

#[test]
fn what_goes_beyond_the_walls_has_to_be_allowed() {
    let text = "FROM scratch\nRUN [\"true\"]\nRUN --security=insecure [\"true\"]\n";
    let allowed = Request { entitlements: vec![Entitlement::SecurityInsecure], ..request() };
    let other = Request { entitlements: vec![Entitlement::NetworkHost], ..request() };
    let dockerfile = parse("Dockerfile", text).unwrap();
    for refused in [request(), other] {
        let error = build(&dockerfile, &refused, &Known::new()).err().unwrap();
        assert_eq!(error.denied, Some(Entitlement::SecurityInsecure));
        assert_eq!((error.line, &*error.message), (3, "security.insecure is not allowed"));
    }
    assert!(build(&dockerfile, &allowed, &Known::new()).is_ok());
}
