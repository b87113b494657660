//! Images in the store of the client's own container tool: Docker or a tool with its commands.
//! *Invariants.* The client finds the tool in its `PATH` and runs it. Images travel as archive
//! files, which are always removed afterwards. A process in a container has no image store.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Fs};
use rondel_session::{ClientLink, ResolverContext, client};

use crate::host_path;
use rondel_session::client::ops_and_context;

/// Prints the first container tool whose store answers.
const FIND: &str = "for tool in docker nerdctl podman; do \
    if command -v $tool >/dev/null 2>&1 && $tool info >/dev/null 2>&1; then echo $tool; exit 0; fi; done";

/// The store of the client's container tool.
pub(crate) struct ImageStore {
    link: Arc<dyn ClientLink>,
    tool: String,
}

impl ImageStore {
    /// The store of the caller's client.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn of(cx: &ResolverContext) -> Result<Self> {
        // Clients match on this text; see behaviour PUB-018.
        let none = || {
            Fault::user("client has no supported api for loading image")
                .with_hint("`docker`, `nerdctl` or `podman` must be in the client's `PATH`, with its service running")
        };
        let Some(link) = client(&cx.caller).link.clone() else { return Err(none()) };
        let tool = text(&link.command(FIND).await?);
        if tool.is_empty() { Err(none()) } else { Ok(Self { link, tool }) }
    }

    /// Loads the image archive at `place` under `name`.
    ///
    /// # Errors
    /// When the tool refuses it.
    pub(crate) async fn load(&self, cx: &ResolverContext, place: &TreePath, name: &str) -> Result<()> {
        let file = self.file().await?;
        let loaded = async {
            let to = host_path::resolve(client(&cx.caller), &file).await?;
            let (ops, op_cx) = ops_and_context(cx);
            ops.export_file(&op_cx, place, &to.real).await?;
            let said = self.run(&format!("load -i {}", quoted(&file))).await?;
            let id = loaded_image(&said).ok_or_else(|| {
                Fault::environment(format!("`{} load` did not say what it has loaded: {said}", self.tool))
            })?;
            self.run(&format!("tag {} {}", quoted(id), quoted(name))).await
        };
        let loaded = loaded.await;
        self.remove(&file).await?;
        loaded
            .map(drop)
            .map_err(|fault| fault.context(format!("cannot load the image `{name}` into the client's store")))
    }

    /// The image `name` as an archive.
    ///
    /// # Errors
    /// When there is no such image.
    pub(crate) async fn save(&self, cx: &ResolverContext, name: &str) -> Result<TreePath> {
        let file = self.file().await?;
        let saved = async {
            self.run(&format!("save -o {} {}", quoted(&file), quoted(name))).await?;
            let from = host_path::resolve(client(&cx.caller), &file).await?;
            let (ops, op_cx) = ops_and_context(cx);
            let snapshot = ops.import_file(&op_cx, &from.real).await?;
            let path = AbsPath::new(from.shown.file_name().unwrap_or_default());
            Ok(TreePath { fs: Fs::known(snapshot), path })
        };
        let saved = saved.await;
        self.remove(&file).await?;
        saved.map_err(|fault: Fault| fault.context(format!("cannot take the image `{name}` from the client's store")))
    }

    /// Runs the tool and returns its output.
    ///
    /// # Errors
    /// When it fails, with its output.
    async fn run(&self, words: &str) -> Result<String> {
        let script = format!("said=$({} {words} 2>&1); echo $?; printf %s \"$said\"", self.tool);
        let output = text(&self.link.command(&script).await?);
        let (code, said) = output.split_once('\n').unwrap_or((&output, ""));
        match code {
            "0" => Ok(said.to_owned()),
            code => Err(Fault::user(format!("`{}` failed with exit code {code}: {said}", self.tool))),
        }
    }

    /// Makes a temporary file on the client's machine.
    async fn file(&self) -> Result<String> {
        Ok(text(&self.link.command("mktemp \"${TMPDIR:-/tmp}/image-XXXXXXXX\"").await?))
    }

    async fn remove(&self, file: &str) -> Result<()> {
        self.link.command(&format!("rm -f {}", quoted(file))).await.map(drop)
    }
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}

/// Quotes a word for a shell's command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The image that `load` reports: a name, or else an ID.
fn loaded_image(said: &str) -> Option<&str> {
    let line = said.lines().find(|line| line.starts_with("Loaded image"))?;
    let (_, image) = line.split_once(": ")?;
    // Several names of one image are in one line.
    image.split([',', ' ']).find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded() {
        assert_eq!(loaded_image("Loaded image ID: sha256:ab"), Some("sha256:ab"));
        assert_eq!(loaded_image("x\nLoaded image: localhost/a:1\n"), Some("localhost/a:1"));
        assert_eq!(loaded_image("Loaded image(s): a:1, b:1"), Some("a:1"));
        assert_eq!(loaded_image("nothing"), None);
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
