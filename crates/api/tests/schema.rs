//! The core API as a registry: everything that is registered is in the schema text, and every view shows what it should.
//!
//! `UPDATE_GOLDENS=1 cargo test -p rondel-api --test schema` writes the golden files anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rondel_api::{Surface, core_sdl, register_core, registry};
use rondel_schema::{Registry, Scope};
use rondel_version::{ENGINE, View};

fn core() -> Registry {
    let mut surface = Surface::new();
    register_core(&mut surface);
    registry(&surface).expect("the core API is consistent")
}

fn view(text: &str) -> View {
    text.parse().expect("a version")
}

/// Fields with the cache scope of a client or session whose results are nevertheless the same for a
/// nested client and the user's: why none of them depends on the client.
const SAME_FOR_ALL_CLIENTS: [(&str, &str); 13] = [
    // What they give is a call of a field that depends on the client, or content.
    ("Address", "container directory file gitRef gitRepository secret service socket"),
    // It names nothing outside of the receiver, and is evaluated with the credentials that a client passes.
    ("Container", "withRegistryAuth withoutRegistryAuth withVolatileVariable"),
    // The seal of its address holds the egress scope.
    ("Container", "from"),
    // The content of the file counts. Its variables are evaluated for the client that reads them.
    ("File", "asEnvFile"),
    ("EnvFile", "withVariable"),
    // The figures of the engine itself.
    ("EngineCache", "entrySet"),
    // What a service has of its own.
    ("Service", "ports"),
    // What they give is content, and the call that gives it again holds that content.
    ("Query", "http _http"),
    // The text is in the session. A secret with an address records the client in its call.
    ("Query", "setSecret _secret"),
    // The session has the socket that a client gave.
    ("Query", "_socket"),
    // Texts and types.
    ("Query", "currentTypeDefs"),
    // Not supported.
    ("Query", "env llm currentEnv"),
    ("Env", "withCurrentModule"),
];

/// An ID is evaluated for the client that loads it. So each field whose result depends on the client
/// is registered as such, or is listed above with the reason.
#[test]
fn fields_that_depend_on_the_client_are_registered_as_such() {
    let mut surface = Surface::new();
    register_core(&mut surface);
    let mut builder = Registry::from_sdl(core_sdl()).expect("the text is read");
    let (mut missing, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for (type_name, fields) in SAME_FOR_ALL_CLIENTS {
        unknown.extend(fields.split(' ').map(|field| format!("{type_name}.{field}")));
    }
    let excused = unknown.clone();
    builder.attach_with(|info| {
        let own = matches!(info.scope, Some(Scope::Client | Scope::Session | Scope::Call));
        let name = format!("{}.{}", info.type_name, info.field);
        unknown.remove(&name);
        let resolver = surface.resolver(&info);
        if surface.has(info.type_name, info.field) && own && !resolver.depends_on_client && !excused.contains(&name) {
            missing.insert(name);
        }
        Some(resolver.erased())
    });
    assert!(missing.is_empty(), "say whether it depends on the client's machine: {missing:?}");
    assert!(unknown.is_empty(), "there is no such field: {unknown:?}");
}

/// One golden file per view that is unlike its neighbours: the engine's own in full, every other one as what differs from
/// the next one towards that.
#[test]
fn views_are_as_recorded() {
    let registry = core();
    let oldest = rondel_version::OLDEST_MODULE;
    let mut views = vec![oldest];
    views.extend(registry.boundaries().iter().filter(|boundary| **boundary > oldest));
    let own = views.partition_point(|first| *first <= ENGINE) - 1;
    let texts: Vec<String> = views.iter().map(|first| rondel_gql::print(&registry.project(*first))).collect();
    check_golden(&format!("{ENGINE}.graphql"), &texts[own]);
    for (at, first) in views.iter().enumerate().filter(|(at, _)| *at != own) {
        let nearer = if at < own { at + 1 } else { at - 1 };
        check_golden(&format!("{first}.changes"), &changes(*first, &texts[at], views[nearer], &texts[nearer]));
    }
    let golden = std::fs::read_dir(golden("")).expect("the folder is there").count();
    assert_eq!(golden, views.len(), "a golden file is of no view");
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn check_golden(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).position(|(old, new)| old != new);
    assert!(golden == text, "{name} differs from its golden file, first in line {differs:?}; see the top of this file");
}

/// The lines of every definition that only `text` has and that only `other` has.
fn changes(first: View, text: &str, other_first: View, other: &str) -> String {
    let mut out =
        format!("# `+` is what views from {first} on have, `-` what views from {other_first} on have instead.\n");
    let (own, other) = (definitions(text), definitions(other));
    for head in own.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        let lines =
            |text: Option<&&'_ str>| text.map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default();
        let (own, other): (Vec<String>, Vec<String>) = (lines(own.get(head)), lines(other.get(head)));
        let lost = other.iter().filter(|line| !own.contains(line)).map(|line| format!("-{line}\n"));
        let added = own.iter().filter(|line| !other.contains(line)).map(|line| format!("+{line}\n"));
        let changed: String = lost.chain(added).collect();
        if !changed.is_empty() {
            out.push_str(&format!("\n{head}\n{changed}"));
        }
    }
    out
}

/// Definitions by kind and name.
fn definitions(text: &str) -> BTreeMap<&str, &str> {
    let definitions = text.split("\n\n").map(str::trim_end).filter(|definition| !definition.is_empty());
    definitions.map(|definition| (head(definition), definition)).collect()
}

/// Kind and name, such as `type Container`, after a description.
fn head(definition: &str) -> &str {
    let line =
        definition.lines().find(|line| line.starts_with(|c: char| c.is_ascii_lowercase())).expect("a definition");
    line.match_indices([' ', '(']).nth(1).map_or(line, |(end, _)| &line[..end])
}

#[test]
fn nothing_is_dropped() {
    assert_eq!(core().missing(), [] as [&str; 0]);
}

/// Every field that this crate promises is registered; what is not says so when it is selected.
#[test]
fn promised_fields_are_registered() {
    let mut surface = Surface::new();
    register_core(&mut surface);
    let promised = [
        (
            "Query",
            "container directory host file secret setSecret cacheVolume address version defaultPlatform node error pipeline id __schemaVersion",
        ),
        (
            "Container",
            "from withExec stdout stderr combinedOutput exitCode sync rootfs withRootfs file directory exists stat withFile withFiles \
          withNewFile withDirectory withoutFile withoutFiles withoutDirectory withSymlink withMountedDirectory withMountedFile withMountedCache \
          withMountedTemp withMountedSecret withoutMount mounts withSecretVariable withoutSecretVariable withEnvVariable withoutEnvVariable \
          envVariable envVariables withVolatileVariable withoutVolatileVariable withWorkdir withoutWorkdir workdir withUser withoutUser user \
          withEntrypoint withoutEntrypoint entrypoint withDefaultArgs withoutDefaultArgs defaultArgs withLabel withoutLabel label labels \
          withAnnotation withoutAnnotation withExposedPort withoutExposedPort exposedPorts platform imageRef publish export import asTarball \
          withRegistryAuth withoutRegistryAuth withError",
        ),
        (
            "Directory",
            "entries glob file directory withFile withFiles withNewFile withDirectory withNewDirectory withoutFile withoutFiles \
          withoutDirectory withSymlink withTimestamps diff filter digest name exists stat findUp chown export sync withError",
        ),
        ("File", "contents name size digest withName withTimestamps withReplaced chown stat export sync"),
        ("Host", "directory file findUp"),
        ("Secret", "name uri plaintext"),
        ("Address", "value container directory file secret"),
        ("Error", "withValue values message"),
        ("ErrorValue", "name value"),
        ("EnvVariable", "name value"),
        ("Label", "name value"),
        ("Port", "port protocol description experimentalSkipHealthcheck"),
        ("Stat", "name size permissions fileType"),
    ];
    for (type_name, fields) in promised {
        for field in fields.split_whitespace() {
            assert!(surface.has(type_name, field), "{type_name}.{field}");
        }
    }
}

#[test]
fn engine_fields_are_not_shown() {
    let registry = core();
    let schema = registry.project(ENGINE);
    let query = schema.types.get("Query").expect("a root type");
    for field in ["_root", "_secret", "_snapshot", "_snapshotFile"] {
        assert!(query.field(field).is_none(), "{field} is shown");
        assert!(registry.lookup("Query", field, ENGINE).is_some(), "{field} cannot be found");
    }
    assert!(schema.types.get("Container").expect("a type").field("_from").is_none());
}

#[test]
fn members_follow_their_versions() {
    let registry = core();
    let has = |at: &str, type_name: &str, field: &str, arg: &str| {
        let schema = registry.project(view(at));
        let field = schema.types.get(type_name).and_then(|ty| ty.field(field)).cloned();
        field.is_some_and(|field| arg.is_empty() || field.arg(arg).is_some())
    };
    for (since, type_name, field, arg) in [
        ("v0.19.0", "Directory", "withDirectory", "source"),
        ("v0.19.0", "Container", "withDirectory", "source"),
        ("v0.12.0", "Container", "withNewFile", "expand"),
        ("v0.12.0", "Directory", "terminal", ""),
    ] {
        let since = view(since);
        let before = registry
            .boundaries()
            .iter()
            .rfind(|boundary| **boundary < since)
            .map_or("v0.9.9".into(), ToString::to_string);
        assert!(has(&since.to_string(), type_name, field, arg), "{type_name}.{field} {arg} at {since}");
        assert!(!has(&before, type_name, field, arg), "{type_name}.{field} {arg} at {before}");
    }
    assert!(has("v0.12.0", "Container", "withExec", "skipEntrypoint"));
    assert!(!has("v0.13.0", "Container", "withExec", "skipEntrypoint"));
    assert!(has("v0.18.10", "Directory", "withDirectory", "directory"));
    assert!(has("v0.21.8", "Query", "loadContainerFromID", "id"));
    assert!(!has("v0.22.0", "Query", "loadContainerFromID", "id"));
}

#[test]
fn volumes_can_be_put_into_namespaces() {
    let mut surface = Surface::new();
    register_core(&mut surface);
    let namespaced =
        rondel_api::types::cache_volume::namespaced(|client| client.scope.as_ref().map(|_| "module".to_owned()));
    surface.prepare("Query", "cacheVolume", namespaced);
    assert!(registry(&surface).is_ok());
}

#[test]
fn a_field_that_the_schema_text_lacks_is_refused() {
    let mut surface = Surface::new();
    surface.field("Container", "nonsense", rondel_surface::surface::id);
    let refused = registry(&surface).err().map(|fault| fault.to_string());
    assert_eq!(refused.as_deref(), Some("cannot register `Container.nonsense`: the schema text has no such field"));
}

#[test]
fn the_schema_text_is_embedded() {
    assert!(core_sdl().contains("type Query"));
}
