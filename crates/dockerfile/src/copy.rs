//! `COPY` and `ADD`: files from the context, from stages, images, addresses, repositories and
//! here-documents.

use rondel_model::op::{CopyPattern, Edit, TreePath};
use rondel_model::{AbsPath, Fs, FsOp, ModeChange, Owner};

use crate::build::Builder;
use crate::command::Copy;
use crate::error::Location;
use crate::request::{Need, Stop};
use crate::stage_state::StageState;

/// What stands at the start of every address of a file.
const WEB: [&str; 2] = ["http://", "https://"];

/// Sources that are copied in one step.
struct CopyStep {
    source: TreePath,
    ignore: Vec<String>,
    paths: Vec<String>,
    unpack: bool,
    keep_owner: bool,
}

impl StageState {
    /// Does what `COPY` or `ADD` says.
    pub(crate) fn copy(
        &mut self,
        builder: &mut Builder<'_>,
        at: usize,
        copy: &Copy,
        location: &Location,
    ) -> Result<(), Stop> {
        let escape = builder.dockerfile.escape;
        let word = |text: &String| self.expand(escape, text, location);
        let target = word(&copy.target)?;
        if copy.sources.len() + copy.documents.len() > 1 && !names_directory(&target) {
            let message = "with more than one source the destination must be a directory and end with a `/`";
            return Err(location.error(message).into());
        }
        let owner = copy
            .chown
            .as_ref()
            .map(word)
            .transpose()?
            .filter(|owner| !owner.is_empty())
            .map(|owner| Owner(owner.into()));
        let mode = copy.chmod.as_ref().map(word).transpose()?.filter(|mode| !mode.is_empty());
        let mode = mode.map(|text| ModeChange::parse(&text)).transpose().map_err(|e| location.error(e.to_string()))?;
        let exclude = copy.exclude.iter().map(word).collect::<Result<Vec<_>, _>>()?;
        let steps = self.steps(builder, at, copy, location)?;
        for step in steps {
            self.container.rootfs = Fs::from(CopyPattern {
                base: self.container.rootfs.clone(),
                source: step.source,
                ignore: step.ignore,
                paths: step.paths,
                exclude: exclude.clone(),
                parents: copy.parents,
                unpack: step.unpack,
                target: self.container.workdir().join(&target),
                target_is_dir: names_directory(&target),
                owner: owner.clone(),
                keep_owner: step.keep_owner,
                mode: mode.clone(),
            });
        }
        Ok(())
    }

    fn steps(
        &self,
        builder: &mut Builder<'_>,
        at: usize,
        copy: &Copy,
        location: &Location,
    ) -> Result<Vec<CopyStep>, Stop> {
        let escape = builder.dockerfile.escape;
        let from = copy.from.as_ref().map(|from| builder.from(from, at, location)).transpose()?;
        let mut steps: Vec<CopyStep> = Vec::new();
        let mut local = false;
        let checksum = copy.checksum.as_ref().map(|text| self.expand(escape, text, location)).transpose()?;
        let checksum = checksum.filter(|text| !text.is_empty());
        for text in &copy.sources {
            let text = self.expand(escape, text, location)?;
            if copy.add && is_remote(&text) {
                steps.push(fetched(builder, copy, &text, checksum.as_deref(), location)?);
                local = false;
                continue;
            }
            if checksum.is_some() {
                return Err(location.error("`--checksum` is for sources that are addresses").into());
            }
            if let (true, Some(step)) = (local, steps.last_mut()) {
                step.paths.push(text);
                continue;
            }
            local = true;
            let (source, ignore, keep_owner) = match &from {
                Some(fs) => (TreePath { fs: fs.clone(), path: AbsPath::root() }, Vec::new(), true),
                None => (builder.request.context.clone(), builder.request.ignore.clone(), false),
            };
            let unpack = copy.add && copy.unpack.unwrap_or(true);
            steps.push(CopyStep { source, ignore, paths: vec![text], unpack, keep_owner });
        }
        for document in &copy.documents {
            let content = document.content();
            let content = if document.expand { self.expand_document(escape, &content, location)? } else { content };
            let path = AbsPath::root().join_inside(&document.name);
            let edit = Edit::WriteFile { path, contents: content.as_bytes().into(), permissions: 0o644, owner: None };
            let source = TreePath { fs: Fs::new(FsOp::Edit { base: Fs::scratch(), edit }), path: AbsPath::root() };
            let paths = vec![document.name.clone()];
            steps.push(CopyStep { source, ignore: Vec::new(), paths, unpack: false, keep_owner: false });
        }
        Ok(steps)
    }
}

/// Whether the text of a path names a directory.
fn names_directory(path: &str) -> bool {
    path.ends_with('/') || matches!(path.rsplit('/').next(), Some("." | ".."))
}

fn is_web(text: &str) -> bool {
    WEB.iter().any(|start| text.starts_with(start))
}

fn is_remote(text: &str) -> bool {
    is_web(text) || text.starts_with("git@") || text.starts_with("git://") || text.starts_with("ssh://")
}

/// The content of an address of `ADD`: a file of the web or a repository.
fn fetched(
    builder: &Builder<'_>,
    copy: &Copy,
    text: &str,
    checksum: Option<&str>,
    location: &Location,
) -> Result<CopyStep, Stop> {
    if let Some(need) = repository(text, copy.keep_git_dir, checksum) {
        let found = builder.need(need, location)?;
        let paths = vec![".".to_owned()];
        let unpack = copy.unpack.unwrap_or_default();
        return Ok(CopyStep { source: found.place, ignore: Vec::new(), paths, unpack, keep_owner: false });
    }
    let found =
        builder.need(Need::Http { url: text.to_owned(), checksum: checksum.map(ToOwned::to_owned) }, location)?;
    let path = found.place.path;
    let source = TreePath { fs: found.place.fs, path: path.parent().unwrap_or_else(AbsPath::root) };
    let paths = vec![path.file_name().unwrap_or_default().to_owned()];
    Ok(CopyStep { source, ignore: Vec::new(), paths, unpack: copy.unpack.unwrap_or_default(), keep_owner: false })
}

/// The repository that an address means: `https://host/x.git?branch=b&subdir=d`, or
/// `#ref:directory` after it.
fn repository(text: &str, mut keep_git_dir: bool, checksum: Option<&str>) -> Option<Need> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
    if is_web(text) && !url.trim_end_matches('/').ends_with(".git") {
        return None;
    }
    let (mut reference, mut directory) = match fragment.split_once(':') {
        Some((reference, directory)) => (reference.to_owned(), directory.to_owned()),
        None => (fragment.to_owned(), String::new()),
    };
    let mut commit = checksum.map(ToOwned::to_owned);
    for (key, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "true"))) {
        match key {
            "ref" | "branch" | "tag" => value.clone_into(&mut reference),
            "subdir" => value.clone_into(&mut directory),
            "checksum" | "commit" => commit = Some(value.to_owned()),
            "keep-git-dir" => keep_git_dir = value != "false" && value != "0",
            _ => {}
        }
    }
    Some(Need::Git {
        url: url.to_owned(),
        reference: Some(reference).filter(|reference| !reference.is_empty()),
        directory,
        keep_git_dir,
        commit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        let check = |text: &str, want: Option<(&str, Option<&str>, &str)>| {
            let got = repository(text, false, None).map(|need| match need {
                Need::Git { url, reference, directory, .. } => (url, reference, directory),
                other => panic!("{other:?}"),
            });
            let want = want.map(|(url, r, dir)| (url.to_owned(), r.map(ToOwned::to_owned), dir.to_owned()));
            assert_eq!(got, want, "{text}");
        };
        check("https://x.example/a.tgz", None);
        check("https://x.example/a.git", Some(("https://x.example/a.git", None, "")));
        check("https://x.example/a.git#main:sub", Some(("https://x.example/a.git", Some("main"), "sub")));
        check("git@x.example:a/b#v1", Some(("git@x.example:a/b", Some("v1"), "")));
        check("https://x.example/a.git?branch=b&subdir=d", Some(("https://x.example/a.git", Some("b"), "d")));
    }
}
