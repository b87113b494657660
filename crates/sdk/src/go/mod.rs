//! The Go SDK: generates bindings and a program around the module's package, and compiles it.
//!
//! Everything is generated here, without a process. One process compiles, with caches that all
//! modules share. Generated code needs the standard library alone, so a module without other
//! requirements is built without a network. The runtime starts the program directly.

mod bindings;
mod dispatch;
mod go_mod;
mod names;
mod starter;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rondel_fault::{Fault, Result};
use rondel_gql::types::TypeKind;
use rondel_model::op::{ExecOutput, Filter, TreePath};
use rondel_model::{AbsPath, Container, ExecOp, ExecTitle, Fs, FsOp, ImageConfig, Mount, MountSource};
use rondel_ops::{OpContext, Ops};
use rondel_typescan::go::{GoModule, is_built, main_type, scan};
use rondel_typescan::{ModuleFacts, SourceFile, SourceTypes};
use rondel_version::View;

use self::dispatch::Program;
use self::go_mod::IMAGE;
use crate::runtime_parts::{cache, copy_filtered, image, read_file, write};
use crate::sdk::{GeneratedFiles, Sdk, SdkSource};

/// The folder of the module's context directory in the runtime.
const CODE: &str = "/src";
/// The program.
const PROGRAM: &str = "/runtime";
/// The script that compiles. It is a file, so that messages about a failure can name it.
const BUILD: &str = "/opt/rondel/build-module";
/// The file of the program in the module's package.
const MAIN_FILE: &str = "dagger.gen.go";
/// The folder of the generated package.
const PACKAGE: &str = "internal/dagger";

/// Compiles the package in the working directory. Paths in messages become relative to the context
/// directory. In a workspace Go takes versions from all its modules, and none may be added.
const SCRIPT: &str = r#"set -e
mode=-mod=mod
if [ -n "$(go env GOWORK)" ]; then
	go work use .
	mode=
fi
if ! go build $mode -ldflags '-s -w' -o /runtime . 2>/tmp/build.log; then
	sed -e '/^# /d' -e "s|^\./|$RONDEL_CODE|" /tmp/build.log >&2
	exit 1
fi
rm -f /tmp/build.log
"#;

/// Before this version package main has aliases of generated types.
const QUALIFIED_TYPES: View = View::new(0, 12, 0);
/// Since this version an enum has names and values.
const ENUM_NAMES: View = View::new(0, 18, 11);

/// The key of the configuration that names private packages: patterns of `GOPRIVATE`.
const PRIVATE: &str = "goprivate";
/// Where the client's SSH agent is while the module is built.
const AGENT: &str = "/tmp/ssh-agent";
/// Variables of the engine that the build gets, set or not.
const ENGINE_VARIABLES: [&str; 2] = ["GODEBUG", "GOPROXY"];

/// The Go SDK.
pub struct Go;

impl Sdk for Go {
    fn version(&self) -> &'static str {
        "go/1"
    }

    fn generates_bindings(&self) -> bool {
        true
    }

    fn config_keys(&self) -> &'static [&'static str] {
        &[PRIVATE]
    }

    /// Packages of private repositories alone are fetched with git.
    fn uses_client_git(&self, source: &SdkSource) -> bool {
        source.config.contains_key(PRIVATE)
    }

    fn types<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<SourceTypes>> {
        Box::pin(async move {
            let code = Code::read(ops, cx, source).await?;
            Ok(SourceTypes::Declared(code.scanned(source)?.types))
        })
    }

    fn runtime<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<Container>> {
        Box::pin(async move {
            let code = Code::read(ops, cx, source).await?;
            let generated = code.generated(source, traces_below(ops, cx, source).await?)?;
            let doing = || format!("prepare the base image of module `{}`", source.name);
            let base = image(ops, cx, IMAGE).await.map_err(|e| e.context(doing()))?;
            runtime(&base, &generated, source)
        })
    }

    fn codegen<'a>(
        &'a self,
        ops: &'a Arc<Ops>,
        cx: &'a OpContext,
        source: &'a SdkSource,
    ) -> BoxFuture<'a, Result<GeneratedFiles>> {
        Box::pin(async move {
            let code = Code::read(ops, cx, source).await?;
            if source.is_new {
                go_mod::check_new(&code.path, &source.name)?;
            }
            let mut files = code.generated(source, traces_below(ops, cx, source).await?)?.files;
            if code.is_new {
                files.extend(code.files.iter().map(|file| (file.path.clone(), file.text.clone())));
            }
            let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
            Ok(GeneratedFiles {
                files,
                generated: owned(&["dagger.gen.go", "internal/dagger/**", "internal/telemetry/**"]),
                ignored: owned(&["dagger.gen.go", "internal/dagger", "internal/telemetry", ".env"]),
            })
        })
    }
}

/// The code of a module.
struct Code {
    /// The Go files of its package.
    files: Vec<SourceFile>,
    /// Whether they are a starter, because there are none.
    is_new: bool,
    go_mod: Option<String>,
    /// The module path of `go.mod`.
    path: String,
}

/// Generated files, relative to the folder of the code.
struct Generated {
    files: Vec<(String, String)>,
    uses_cgo: bool,
}

impl Code {
    async fn read(ops: &Arc<Ops>, cx: &OpContext, source: &SdkSource) -> Result<Self> {
        let folder = AbsPath::new(&source.source);
        let place = TreePath {
            fs: source.context.place.fs.clone(),
            path: source.context.place.path.join_inside(&source.source),
        };
        let found = match ops.stat(cx, &place, true).await? {
            Some(_) => ops.glob(cx, &place, "*.go").await?,
            None => Vec::new(),
        };
        let mut files = Vec::new();
        for entry in found {
            if let Some(text) = read_file(ops, cx, source, &folder.join(&entry.name)).await?
                && is_built(&entry.name, &text)
            {
                files.push(SourceFile { path: entry.name, text });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let go_mod = read_file(ops, cx, source, &folder.join("go.mod")).await?;
        let path = match &go_mod {
            Some(text) => go_mod::module_path(text, &source.name)?,
            None => go_mod::new_path(&source.name),
        };
        let is_new = files.is_empty();
        if is_new {
            let text = starter::code(&source.name, &main_type(&source.name), &format!("{path}/{PACKAGE}"));
            files.push(SourceFile { path: "main.go".to_owned(), text });
        }
        Ok(Self { files, is_new, go_mod, path })
    }

    fn scanned(&self, source: &SdkSource) -> Result<GoModule> {
        let facts = ModuleFacts { name: source.name.clone(), folder: source.source.clone(), view: source.view };
        scan(&self.files, &facts, &|name| bindings::api_name(&source.schema, name))
    }

    /// The files that are generated for the code. With `traces`, other packages of the module make
    /// spans.
    fn generated(&self, source: &SdkSource, traces: bool) -> Result<Generated> {
        let package = self.scanned(source)?.package;
        let schema = &source.schema;
        let own = main_type(&source.name);
        let old = source.view < QUALIFIED_TYPES;
        let declared = |name: &String| !self.files.iter().any(|file| declares(&file.text, name));
        let program = Program {
            package: &package,
            import: format!("{}/{PACKAGE}", self.path),
            api_name: &|name| if name.starts_with(&own) { name.to_owned() } else { format!("{own}{name}") },
            is_interface: &|name| {
                let found = bindings::api_name(schema, name).and_then(|name| schema.types.get(name.as_str()).cloned());
                source.view >= bindings::UNIFIED_IDS
                    && found.is_some_and(|ty| matches!(ty.kind, TypeKind::Interface(_)))
            },
            aliases: if old { bindings::aliases(schema).into_iter().filter(declared).collect() } else { Vec::new() },
            constants: if old {
                bindings::unscoped_constants(&source.core).into_keys().filter(declared).collect()
            } else {
                Vec::new()
            },
            members_have_names: source.view >= ENUM_NAMES,
        };
        let mut files = vec![(MAIN_FILE.to_owned(), program.text())];
        let folder = format!("{CODE}/");
        let generated = bindings::files(&source.core, schema, source.view, &folder);
        files.extend(generated.into_iter().map(|(name, text)| (format!("{PACKAGE}/{name}"), text)));
        if traces {
            files.push((format!("{PACKAGE}/tracer.gen.go"), dispatch::tracer_file()));
        }
        if self.go_mod.is_none() {
            files.push(("go.mod".to_owned(), go_mod::new(&source.name)));
        }
        if self.is_new {
            files.extend(self.files.iter().map(|file| (file.path.clone(), file.text.clone())));
        }
        Ok(Generated { files, uses_cgo: package.uses_cgo })
    }
}

/// Whether a package below that of the module makes spans with the generated package.
async fn traces_below(ops: &Arc<Ops>, cx: &OpContext, source: &SdkSource) -> Result<bool> {
    let folder = AbsPath::new(&source.source);
    let place =
        TreePath { fs: source.context.place.fs.clone(), path: source.context.place.path.join_inside(&source.source) };
    if ops.stat(cx, &place, true).await?.is_none() {
        return Ok(false);
    }
    for entry in ops.glob(cx, &place, "*/**/*.go").await? {
        let is_code = !entry.name.starts_with(PACKAGE) && entry.name.ends_with(".go");
        if is_code
            && let Some(text) = read_file(ops, cx, source, &folder.join_inside(&entry.name)).await?
            && text.contains("dagger.Tracer(")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the text declares a type, function, variable or constant of that name.
fn declares(text: &str, name: &str) -> bool {
    ["type", "func", "var", "const"].iter().any(|word| {
        let start = format!("{word} {name}");
        let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        text.match_indices(&start).any(|(at, _)| is_end(&text[at + start.len()..]))
    })
}

/// The container of the compiled program.
// IDENTITY: the inputs are the base image, the code, what is generated from it and the API, and how
// the client reaches private repositories. From which proxy packages come does not change them.
fn runtime(base: &Container, generated: &Generated, source: &SdkSource) -> Result<Container> {
    let code = AbsPath::new(CODE).join_inside(&source.source);
    // What another version of a tool generated is no part of the code.
    let inside = |path: &str| match source.source.as_str() {
        "" => path.to_owned(),
        folder => format!("{folder}/{path}"),
    };
    let filter = Filter { exclude: vec![inside(MAIN_FILE), inside(PACKAGE)], ..Filter::default() };
    let mut fs = copy_filtered(base.rootfs.clone(), source.context.place.clone(), CODE, filter);
    for (path, text) in &generated.files {
        fs = write(fs, code.join_inside(path).as_str(), text);
    }
    let fs = write(fs, BUILD, SCRIPT);
    let mut env = base.environment();
    let folder = if source.source.is_empty() { String::new() } else { format!("{}/", source.source) };
    let variables = [
        ("GOCACHE", "/root/.cache/go-build"),
        ("GOMODCACHE", "/go/pkg/mod"),
        ("GOTOOLCHAIN", "local"),
        ("GOFLAGS", "-buildvcs=false"),
        ("CGO_ENABLED", if generated.uses_cgo { "1" } else { "0" }),
        ("RONDEL_CODE", &folder),
    ];
    env.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let title = ExecTitle { text: format!("build module {}", source.name).into(), internal: false };
    let mut mounts = vec![cache("gomod", "/go/pkg/mod"), cache("gobuild", "/root/.cache/go-build")];
    let mut secret_env = Vec::new();
    if let Some(private) = private_packages(source)? {
        env.push(("GOPRIVATE".to_owned(), private.to_owned()));
        env.push(("GIT_SSH_COMMAND".to_owned(), "ssh -o StrictHostKeyChecking=no".to_owned()));
        env.push(("GIT_CONFIG_COUNT".to_owned(), source.git_rewrites.len().to_string()));
        for (at, (name, value)) in source.git_rewrites.iter().enumerate() {
            secret_env.push((format!("GIT_CONFIG_KEY_{at}"), name.clone()));
            env.push((format!("GIT_CONFIG_VALUE_{at}"), value.clone()));
        }
        if let Some(socket) = &source.ssh_agent {
            env.push(("SSH_AUTH_SOCK".to_owned(), AGENT.to_owned()));
            let socket = MountSource::Socket { socket: socket.clone(), owner: None };
            mounts.push(Mount { target: AbsPath::new(AGENT), source: socket });
        }
    }
    let of_engine = |name: &str| {
        let set = source.build_variables.iter().find(|(set, _)| set == name);
        (name.to_owned(), set.map(|(_, value)| value.clone()).unwrap_or_default())
    };
    let exec = ExecOp {
        mounts,
        env,
        secret_env,
        volatile_env: ENGINE_VARIABLES.map(of_engine).into(),
        workdir: code,
        title: Some(title),
        ..ExecOp::new(fs, vec!["sh".to_owned(), BUILD.to_owned()], base.platform.clone())
    };
    let mut container = base.clone();
    container.rootfs = Fs::new(FsOp::Exec { exec: Arc::new(exec), output: ExecOutput::Rootfs });
    Ok(container.configure(configure))
}

/// The patterns of private packages in the configuration.
fn private_packages(source: &SdkSource) -> Result<Option<&str>> {
    match source.config.get(PRIVATE) {
        None => Ok(None),
        Some(serde_json::Value::String(patterns)) => Ok(Some(patterns)),
        Some(_) => Err(Fault::user(format!("`sdk.config.{PRIVATE}` of module `{}` is no string", source.name))
            .with_hint("it has the patterns of GOPRIVATE, such as `github.com/me/*`")),
    }
}

fn configure(config: &mut ImageConfig) {
    config.entrypoint = Some(vec![PROGRAM.into()]);
    config.cmd = None;
    config.user = String::new();
    config.working_dir = "/scratch".into();
}
