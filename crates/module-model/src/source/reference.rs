//! Kinds of references to modules, and paths inside of a context directory.

use rondel_fault::{Fault, Result};

use crate::config::module_config::ModuleConfig;

/// The kind of a reference to a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A path on the host.
    Local,
    /// A git repository.
    Git,
    /// A path if the folder exists, else a git repository.
    Either,
}

/// The kind of a reference: docs/protocol.md#references-to-modules.
pub fn classify(reference: &str, pin: &str) -> ReferenceKind {
    let scheme = ["http://", "https://", "ssh://", "git://"].iter().any(|scheme| reference.starts_with(scheme));
    let scp = || {
        let (host, path) = reference.split_once(':')?;
        (host.contains('@') && !host.contains('/') && !path.is_empty()).then_some(())
    };
    if !pin.is_empty() || scheme || scp().is_some() {
        return ReferenceKind::Git;
    }
    if reference.starts_with(['/', '.', '~']) || !reference.contains('.') {
        ReferenceKind::Local
    } else {
        ReferenceKind::Either
    }
}

/// `path` resolved from the folder `from`, both inside a context directory. `None` when it leaves
/// the directory.
pub fn inside_context(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The include and exclude patterns of the module in the folder `root` of a context directory.
///
/// # Errors
/// When a path leaves the context directory.
pub fn context_patterns(root: &str, config: &ModuleConfig) -> Result<(Vec<String>, Vec<String>)> {
    let file = config.format.file_name();
    let at = |path: &str| {
        let outside =
            || Fault::user(format!("path \"{path}\" in `{file}` of `{}` is outside of context directory", config.name));
        inside_context(root, path).ok_or_else(outside)
    };
    let mut include: Vec<String> = vec![at(file)?];
    let source = at(config.source_subpath())?;
    include.push(if source.is_empty() { "**".to_owned() } else { format!("{source}/**") });
    let mut exclude = Vec::new();
    for pattern in &config.include {
        match pattern.strip_prefix('!') {
            Some(pattern) => exclude.push(at(pattern)?),
            None => include.push(at(pattern)?),
        }
    }
    for pattern in &config.exclude {
        exclude.push(at(pattern)?);
    }
    Ok((include, exclude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let check =
            |reference: &str, pin: &str, want: ReferenceKind| assert_eq!(classify(reference, pin), want, "{reference}");
        check("./greeter", "", ReferenceKind::Local);
        check("..", "", ReferenceKind::Local);
        check("/abs", "", ReferenceKind::Local);
        check("greeter", "", ReferenceKind::Local);
        check("github.com/x/y", "", ReferenceKind::Either);
        check("github.com/x/y", "abc", ReferenceKind::Git);
        check("https://x.org/y", "", ReferenceKind::Git);
        check("git@github.com:x/y", "", ReferenceKind::Git);
        check("some/dir@v1", "", ReferenceKind::Local);
    }

    #[test]
    fn paths_do_not_leave_their_context() {
        let check =
            |from: &str, path: &str, want: Option<&str>| assert_eq!(inside_context(from, path).as_deref(), want);
        check("a/b", "../c", Some("a/c"));
        check("a", "..", Some(""));
        check("", "..", None);
        check("a", "../../x", None);
        check("a", "./x/./y", Some("a/x/y"));
    }

    #[test]
    fn what_belongs_to_a_module() {
        let config = ModuleConfig {
            source: "src".into(),
            include: vec!["../shared".into(), "!src/tmp".into()],
            exclude: vec!["**/*.log".into()],
            ..ModuleConfig::default()
        };
        let (include, exclude) = context_patterns("mods/a", &config).expect("stays inside");
        assert_eq!(include, ["mods/a/dagger.json", "mods/a/src/**", "mods/shared"]);
        assert_eq!(exclude, ["mods/a/src/tmp", "mods/a/**/*.log"]);
        let included = |root: &str| context_patterns(root, &ModuleConfig::default()).map(|(include, _)| include).ok();
        assert_eq!(included("").as_deref(), Some(["dagger.json".to_owned(), "**".to_owned()].as_slice()));
        assert_eq!(included("m").as_deref(), Some(["m/dagger.json".to_owned(), "m/**".to_owned()].as_slice()));
        let error =
            context_patterns("mods", &config).and_then(|_| context_patterns("", &config)).map_err(|e| e.to_string());
        assert_eq!(error, Err("path \"../shared\" in `dagger.json` of `` is outside of context directory".to_owned()));
    }
}
