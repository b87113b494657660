//! The inputs of work that ran or was cached, for `rondel cache why`: entries in a file of bounded
//! size, written in the background and compared when a client asks.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondel_events::Emitter;
use rondel_fault::{Fault, Result, lock};
use rondel_model::exec::Scope;
use rondel_model::explain::{Difference, Ended, Note, Parts};
use rondel_model::{SecretRef, Snapshot, SocketRef};
use rondel_ops::{NoServices, OpContext, Ops, ScopeBinding, ScopedProcess, Scopes};
use rondel_ports::BoxFuture;
use rondel_ports::egress::EgressScope;
use rondel_ports::secrets::{Plaintext, Secrets};
use rondel_ports::streams::{Sockets, Stream};
use serde::{Deserialize, Serialize};

/// The name of the file, and of its older half.
const FILE: &str = "explained.jsonl";
const ROTATED_FILE: &str = "explained.jsonl.old";
/// The size at which the file becomes the older half, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// How many entries may wait to be written. Of more, the oldest are lost.
const MAX_WAITING: usize = 5_000;
/// The kind of the entry that marks the start of a session.
const SESSION_KIND: &str = "session";

/// The log of inputs of one engine.
pub struct InputLog {
    folder: PathBuf,
    waiting: Mutex<Vec<Note>>,
    writing: Mutex<()>,
}

/// A request for explanations of cache misses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MissQuery {
    /// Only work of any session with this text in its title. `None` asks for the work of the last
    /// session.
    pub matching: Option<String>,
    /// Also work that was cached.
    pub all: bool,
    /// The greatest number of explanations, the latest first. Zero is no limit.
    pub most: usize,
}

/// The explanations of cache misses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MissReport {
    /// The session, when the request is about the last one.
    pub session: Option<Note>,
    /// How much work was cached. Work that was not looked up does not count.
    pub cached: usize,
    /// The explained work, in order.
    pub work: Vec<Explanation>,
}

/// Work beside the earlier work whose inputs are nearest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// The work.
    pub note: Note,
    /// When the nearest earlier work ran. `None` if there was none.
    pub nearest: Option<i64>,
    /// How the nearest earlier work ended.
    pub nearest_ended: Option<Ended>,
    /// The inputs that differ.
    pub differences: Vec<Difference>,
}

impl InputLog {
    /// The log in the state directory `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), waiting: Mutex::default(), writing: Mutex::default() }
    }

    /// Adds an entry. It is written later.
    pub fn add(&self, note: Note) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MAX_WAITING {
            waiting.drain(..MAX_WAITING / 2);
        }
        waiting.push(note);
    }

    /// Marks the start of a session.
    pub fn session(&self, at: i64, session: &str, title: String) {
        let (session, kind) = (session.to_owned(), SESSION_KIND.to_owned());
        self.add(Note { at, session, kind, title, ended: Ended::Ran, parts: Parts::new() });
    }

    /// Writes the waiting entries. Entries that cannot be written are lost: nothing depends on
    /// them, and they must not fill the disk.
    pub fn write(&self) {
        let _one_at_a_time = lock(&self.writing);
        let notes = std::mem::take(&mut *lock(&self.waiting));
        let path = self.folder.join(FILE);
        if notes.is_empty() {
            return;
        }
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_FILE_BYTES) {
            let _ = fs::rename(&path, self.folder.join(ROTATED_FILE));
        }
        let mut lines = Vec::new();
        for note in &notes {
            if serde_json::to_writer(&mut lines, note).is_ok() {
                lines.push(b'\n');
            }
        }
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(&path) {
            let _ = file.write_all(&lines);
        }
    }

    fn read(&self) -> Vec<Note> {
        self.write();
        let texts = [ROTATED_FILE, FILE].map(|name| fs::read(self.folder.join(name)).unwrap_or_default());
        // A line that was cut off when the engine was killed is skipped.
        let lines = texts.iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Explains why work ran, as `request` asks.
    pub async fn explain_miss(&self, ops: &Arc<Ops>, request: &MissQuery) -> MissReport {
        let notes = self.read();
        let last = notes.iter().rev().find(|note| note.kind == SESSION_KIND);
        let is_asked = |note: &Note| match &request.matching {
            Some(text) => note.kind != SESSION_KIND && note.title.contains(text.as_str()),
            None => note.kind != SESSION_KIND && last.is_some_and(|last| last.session == note.session),
        };
        let mut why =
            MissReport { session: last.filter(|_| request.matching.is_none()).cloned(), ..MissReport::default() };
        let most = if request.most == 0 { usize::MAX } else { request.most };
        for (at, note) in notes.iter().enumerate().rev().filter(|(_, note)| is_asked(note)) {
            let explanation = explain(note, &notes[..at]);
            let cached = is_cached(&explanation);
            why.cached += usize::from(cached);
            if why.work.len() < most && (request.all || request.matching.is_some() || !cached) {
                why.work.push(with_files(ops, explanation, &notes[..at]).await);
            }
        }
        why.work.reverse();
        why
    }
}

/// Whether the work was cached. An import of host files is cached when the files are unchanged.
fn is_cached(explanation: &Explanation) -> bool {
    let unchanged = explanation.nearest.is_some() && explanation.differences.is_empty();
    explanation.note.ended == Ended::Cached || (explanation.note.kind == "import" && unchanged)
}

fn nearest<'a>(note: &Note, earlier: &'a [Note]) -> Option<&'a Note> {
    let alike = earlier
        .iter()
        .rev()
        .filter(|other| other.kind == note.kind && (note.kind == "exec" || other.title == note.title));
    note.parts.nearest(alike, |other| &other.parts)
}

fn explain(note: &Note, earlier: &[Note]) -> Explanation {
    let nearest = nearest(note, earlier);
    Explanation {
        note: note.clone(),
        nearest: nearest.map(|nearest| nearest.at),
        nearest_ended: nearest.map(|nearest| nearest.ended),
        differences: nearest.map(|nearest| note.parts.differences(&nearest.parts)).unwrap_or_default(),
    }
}

/// Adds the files that differ, where both trees are still in the store.
async fn with_files(ops: &Arc<Ops>, mut explanation: Explanation, earlier: &[Note]) -> Explanation {
    let Some(nearest) = nearest(&explanation.note, earlier) else { return explanation };
    let cx = OpContext {
        events: Emitter::nowhere(),
        secrets: Arc::new(NothingAvailable),
        scopes: Arc::new(NothingAvailable),
        services: Arc::new(NoServices),
        sockets: Arc::new(NothingAvailable),
        egress: EgressScope::Outside,
        failures: None,
    };
    for difference in &mut explanation.differences {
        let trees = (nearest.parts.tree(&difference.part), explanation.note.parts.tree(&difference.part));
        if let (Some(old), Some(new)) = trees {
            let (old, new) = (Snapshot::new(old), Snapshot::new(new));
            difference.files = ops.changed_files(&cx, &old, &new).await.unwrap_or_default();
        }
    }
    explanation
}

/// Has no secrets, sockets or API: comparing files needs none.
struct NothingAvailable;

impl Secrets for NothingAvailable {
    fn plaintext<'a>(&'a self, _: &'a SecretRef) -> BoxFuture<'a, Result<Arc<Plaintext>>> {
        Box::pin(std::future::ready(Err(Fault::bug("explaining needs no secrets"))))
    }

    fn known(&self, _: &SecretRef) -> Option<Arc<Plaintext>> {
        None
    }
}

impl Scopes for NothingAvailable {
    fn bind(&self, _: &Scope, _: ScopedProcess) -> Result<ScopeBinding> {
        Err(Fault::bug("explaining starts no process"))
    }
}

impl Sockets for NothingAvailable {
    fn find<'a>(&'a self, _: &'a SocketRef) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Err(Fault::bug("explaining needs no sockets"))))
    }

    fn connect<'a>(&'a self, _: &'a SocketRef) -> BoxFuture<'a, Result<Stream>> {
        Box::pin(std::future::ready(Err(Fault::bug("explaining needs no sockets"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: &str, title: &str, parts: &[(&str, &str)]) -> Note {
        let mut all = Parts::new();
        parts.iter().for_each(|(name, value)| all.add(*name, *value));
        let session = "s".to_owned();
        Note { at: 1, session, kind: kind.into(), title: title.into(), ended: Ended::Ran, parts: all }
    }

    #[test]
    fn the_nearest_of_its_kind_counts() {
        let earlier = [
            note("exec", "make", &[("args", "make"), ("rootfs", "a")]),
            note("exec", "make", &[("args", "make"), ("rootfs", "b")]),
            note("function", "f", &[("args", "make"), ("rootfs", "c")]),
        ];
        let found = explain(&note("exec", "make", &[("args", "make"), ("rootfs", "c")]), &earlier);
        let changed: Vec<_> = found.differences.iter().map(|d| (d.part.as_str(), d.old.as_deref())).collect();
        assert_eq!(changed, [("rootfs", Some("b"))]);
        assert!(!is_cached(&found));
        let again = explain(&note("import", "i", &[("files", "x")]), &[note("import", "i", &[("files", "x")])]);
        assert!(is_cached(&again));
        assert!(explain(&note("import", "other", &[]), &earlier).nearest.is_none());
    }
}
