//! Writes a set of files into a directory tree as one step.
//!
//! *Invariants.* New files are prepared in a directory of their own and then renamed to their
//! places. Until the list of renames is complete on disk, an interrupted update leaves the old
//! tree; from then on the next command completes it. A configuration file is renamed last, so that
//! a module never refers to files that are not there.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rondel_fault::{Attempt as _, Fault, Result};
use rustix::fs::{Access, FlockOperation, access, flock};
use serde::{Deserialize, Serialize};

/// The directory in which an update is prepared.
const STAGE: &str = ".rondel-update";
/// The directory of the new files in it.
const NEW: &str = "new";
/// The list of renames in it. The update is decided when this file exists.
const PLAN: &str = "plan.json";
/// Configuration files, which are renamed last.
const CONFIGS: [&str; 2] = ["dagger.json", "dagger-module.toml"];

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileChange {
    Created,
    Changed,
    Removed,
    Unchanged,
}

impl FileChange {
    /// The word for it in the list of files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            FileChange::Created => "created",
            FileChange::Changed => "changed",
            FileChange::Removed => "removed",
            FileChange::Unchanged => "unchanged",
        }
    }
}

/// What is renamed and removed. Paths are relative to `root`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Plan {
    root: PathBuf,
    moved: Vec<PathBuf>,
    removed: Vec<PathBuf>,
}

/// An update of the tree in `root` while it is prepared. Other updates wait for it.
pub(crate) struct TreeUpdate {
    /// The directory that paths are relative to. It exists.
    root: PathBuf,
    /// The updated tree in it. Empty if the root is the tree itself.
    tree: PathBuf,
    stage: PathBuf,
    _lock: Option<File>,
}

impl TreeUpdate {
    /// Begins an update of the tree in the directory `tree`, which need not exist. The files to
    /// write are in or below the directory `folder`. Completes an update that was interrupted.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn begin(tree: &Path, folder: &Path) -> Result<Self> {
        let existing = |path: &Path| path.ancestors().find(|path| path.is_dir()).unwrap_or(path).to_owned();
        let (root, base) = (existing(tree), existing(folder));
        let tree = tree.strip_prefix(&root).unwrap_or(Path::new("")).to_owned();
        let lock = File::open(&base).ok().filter(|dir| flock(dir, FlockOperation::LockExclusive).is_ok());
        for dir in base.ancestors() {
            complete(&dir.join(STAGE))?;
            if dir == root {
                break;
            }
        }
        let stage = base.join(STAGE);
        let refused = |e| cannot_write(&base, e);
        std::fs::create_dir(&stage).map_err(refused)?;
        std::fs::create_dir_all(stage.join(NEW).join(&tree)).map_err(refused)?;
        Ok(Self { root, tree, stage, _lock: lock })
    }

    /// The directory for the new files, laid out as in the tree.
    pub(crate) fn new_files(&self) -> PathBuf {
        self.stage.join(NEW).join(&self.tree)
    }

    /// Adds a file. `path` is relative to the tree.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn add(&self, path: &Path, text: &str) -> Result<()> {
        let place = self.new_files().join(path);
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(|e| cannot_write(parent, e))?;
        }
        std::fs::write(&place, text).map_err(|e| cannot_write(&place, e))
    }

    /// Puts the new files in place and removes `removed`. Returns what became of each file, sorted
    /// by its absolute path.
    ///
    /// # Errors
    /// When a file cannot be replaced. Unless renaming had begun, nothing is changed.
    pub(crate) fn commit(self, removed: Vec<PathBuf>) -> Result<Vec<(PathBuf, FileChange)>> {
        let mut changes = Vec::new();
        let mut plan = Plan { root: self.root.clone(), ..Plan::default() };
        self.plan_directory(Path::new(""), &mut plan, &mut changes)?;
        for path in removed {
            let path = self.tree.join(path);
            if self.root.join(&path).symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                changes.push((path.clone(), FileChange::Removed));
                plan.removed.push(path);
            }
        }
        for path in plan.moved.iter().chain(&plan.removed) {
            self.check_writable(path)?;
        }
        let is_config = |path: &PathBuf| CONFIGS.iter().any(|name| path.file_name().is_some_and(|it| it == *name));
        plan.moved.sort_by_key(is_config);
        if !(plan.moved.is_empty() && plan.removed.is_empty()) {
            self.decide(&plan)?;
            plan.apply(&self.stage)?;
        }
        changes.sort();
        Ok(changes.into_iter().map(|(path, change)| (self.root.join(path), change)).collect())
    }

    /// Adds what is in the directory `path` of the new files to the plan.
    fn plan_directory(&self, path: &Path, plan: &mut Plan, changes: &mut Vec<(PathBuf, FileChange)>) -> Result<()> {
        let staged = self.stage.join(NEW).join(path);
        let listed = std::fs::read_dir(&staged).attempt(|| format!("list `{}`", staged.display()))?;
        let mut names = Vec::new();
        for entry in listed {
            names.push(entry.attempt(|| format!("list `{}`", staged.display()))?.file_name());
        }
        names.sort();
        for name in names {
            let path = path.join(name);
            let (staged, place) = (self.stage.join(NEW).join(&path), self.root.join(&path));
            let is_dir = staged.symlink_metadata().is_ok_and(|found| found.is_dir());
            match place.symlink_metadata() {
                // A whole directory is renamed at once.
                Err(_) if is_dir => {
                    if self.list_created(&path, changes)? {
                        plan.moved.push(path);
                    }
                }
                Err(_) => {
                    changes.push((path.clone(), FileChange::Created));
                    touch(&staged);
                    plan.moved.push(path);
                }
                Ok(_) if is_dir && place.is_dir() => self.plan_directory(&path, plan, changes)?,
                Ok(found) if is_dir || found.is_dir() => {
                    return Err(Fault::user(format!("cannot write `{}`: something else is there", place.display()))
                        .with_hint("move it away, and run the command again"));
                }
                Ok(found) => {
                    if is_equal(&staged, &place) {
                        changes.push((path, FileChange::Unchanged));
                        continue;
                    }
                    if !found.is_symlink() {
                        let mode = Permissions::from_mode(found.permissions().mode());
                        std::fs::set_permissions(&staged, mode).map_err(|e| cannot_write(&staged, e))?;
                    }
                    touch(&staged);
                    changes.push((path.clone(), FileChange::Changed));
                    plan.moved.push(path);
                }
            }
        }
        Ok(())
    }

    /// Lists the files below a new directory. Returns whether there are any.
    fn list_created(&self, path: &Path, changes: &mut Vec<(PathBuf, FileChange)>) -> Result<bool> {
        let before = changes.len();
        let staged = self.stage.join(NEW).join(path);
        for entry in std::fs::read_dir(&staged).attempt(|| format!("list `{}`", staged.display()))? {
            let entry = entry.attempt(|| format!("list `{}`", staged.display()))?;
            let path = path.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.list_created(&path, changes)?;
            } else {
                touch(&entry.path());
                changes.push((path, FileChange::Created));
            }
        }
        Ok(changes.len() > before)
    }

    /// Checks that the directory of a file can be changed.
    fn check_writable(&self, path: &Path) -> Result<()> {
        let place = self.root.join(path);
        let Some(parent) = place.ancestors().skip(1).find(|parent| parent.exists()) else { return Ok(()) };
        access(parent, Access::WRITE_OK).map_err(|e| cannot_write(&place, e.into()))
    }

    fn decide(&self, plan: &Plan) -> Result<()> {
        let (draft, plan_file) = (self.stage.join("draft.json"), self.stage.join(PLAN));
        let text = serde_json::to_string(plan)
            .map_err(|e| Fault::user("a path of the module is not UTF-8 text").caused_by(e))?;
        let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &plan_file));
        written.map_err(|e| cannot_write(&plan_file, e))
    }
}

impl Drop for TreeUpdate {
    fn drop(&mut self) {
        // A decided update that failed is left for the next command.
        if !self.stage.join(PLAN).exists() {
            let _ = std::fs::remove_dir_all(&self.stage);
        }
    }
}

impl Plan {
    /// Carries out what has not been carried out yet, and removes the directory `stage`.
    fn apply(&self, stage: &Path) -> Result<()> {
        for step in 0..self.moved.len() + self.removed.len() {
            self.apply_step(stage, step)?;
        }
        std::fs::remove_dir_all(stage).attempt(|| format!("remove `{}`", stage.display()))
    }

    /// Carries out one step. A step can be repeated.
    fn apply_step(&self, stage: &Path, step: usize) -> Result<()> {
        let ignore_missing = |done: std::io::Result<()>| match done {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        };
        match (self.moved.get(step), step.checked_sub(self.moved.len()).and_then(|step| self.removed.get(step))) {
            (Some(path), _) => {
                let (from, to) = (stage.join(NEW).join(path), self.root.join(path));
                if from.symlink_metadata().is_err() {
                    return Ok(());
                }
                if let Some(parent) = to.parent() {
                    std::fs::create_dir_all(parent).map_err(|e| cannot_write(parent, e))?;
                }
                // A symlink stays one: its target is replaced.
                let to = to.canonicalize().unwrap_or(to);
                std::fs::rename(&from, &to).map_err(|e| cannot_write(&to, e))
            }
            (None, Some(path)) => {
                let place = self.root.join(path);
                ignore_missing(std::fs::remove_file(&place)).map_err(|e| cannot_write(&place, e))?;
                // Directories go with their last file.
                for parent in place.ancestors().skip(1).take_while(|parent| *parent != self.root) {
                    if std::fs::remove_dir(parent).is_err() {
                        break;
                    }
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

/// Completes the update in the directory `stage` if it was decided. Otherwise removes what was
/// prepared.
fn complete(stage: &Path) -> Result<()> {
    let plan = match std::fs::read_to_string(stage.join(PLAN)) {
        Ok(text) => serde_json::from_str::<Plan>(&text).ok(),
        Err(_) => None,
    };
    match plan {
        Some(plan) => plan.apply(stage),
        None if stage.exists() => std::fs::remove_dir_all(stage).map_err(|e| cannot_write(stage, e)),
        None => Ok(()),
    }
}

fn is_equal(one: &Path, other: &Path) -> bool {
    match (std::fs::read(one), std::fs::read(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Sets the time of a file. Trees have fixed times, which build tools would take for old files.
fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Fault {
    Fault::user(format!("cannot write `{}`", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with files, and an update of them that is prepared.
    fn prepared(root: &Path) -> TreeUpdate {
        for (path, text) in [("m/dagger.json", "old"), ("m/gone/x", "x"), ("m/same", "same"), ("other", "other")] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("works");
            std::fs::write(path, text).expect("works");
        }
        let update = TreeUpdate::begin(root, &root.join("m")).expect("begins");
        for (path, text) in [("m/dagger.json", "new"), ("m/src/a/main.py", "code"), ("m/same", "same"), ("m/x.py", "x")]
        {
            update.add(Path::new(path), text).expect("works");
        }
        update
    }

    /// The files of a tree with their contents, without the stage.
    fn files(root: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut pending = vec![root.to_owned()];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(dir).expect("lists").flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true if entry.file_name() != STAGE => pending.push(path),
                    true => {}
                    false => {
                        let name = path.strip_prefix(root).expect("is below").display().to_string();
                        found.push((name, std::fs::read_to_string(&path).expect("reads")));
                    }
                }
            }
        }
        found.sort();
        found
    }

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rondel-tree-update-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("works");
        folder.canonicalize().expect("exists")
    }

    fn new_tree() -> Vec<(String, String)> {
        let files = [("m/dagger.json", "new"), ("m/same", "same"), ("m/src/a/main.py", "code"), ("m/x.py", "x")];
        let mut all: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        all.push(("other".into(), "other".into()));
        all
    }

    #[test]
    fn every_file_is_reported() {
        let root = folder();
        let changes = prepared(&root).commit(vec!["m/gone/x".into()]).expect("works");
        let below = |path: &Path| path.strip_prefix(&root).expect("is below").display().to_string();
        let changes: Vec<_> = changes.iter().map(|(path, change)| (below(path), change.word())).collect();
        let want = [
            ("m/dagger.json", "changed"),
            ("m/gone/x", "removed"),
            ("m/same", "unchanged"),
            ("m/src/a/main.py", "created"),
            ("m/x.py", "created"),
        ];
        assert_eq!(changes, want.map(|(path, word)| (path.to_owned(), word)));
        assert_eq!(files(&root), new_tree());
        assert!(!root.join("m/gone").exists() && !root.join("m").join(STAGE).exists());
        std::fs::remove_dir_all(root).expect("works");
    }

    #[test]
    fn an_interrupted_update_is_undone_or_completed() {
        for steps in 0..5 {
            let root = folder();
            let update = prepared(&root);
            let before = files(&root);
            let mut plan = Plan { root: root.clone(), removed: vec!["m/gone/x".into()], ..Plan::default() };
            update.plan_directory(Path::new(""), &mut plan, &mut Vec::new()).expect("works");
            assert_eq!(plan.moved.len(), 3);
            if steps > 0 {
                update.decide(&plan).expect("works");
                (0..steps - 1).for_each(|step| plan.apply_step(&update.stage, step).expect("works"));
            }
            // As after `kill -9`: nothing is cleaned up, and the lock is free.
            let TreeUpdate { _lock, .. } = &update;
            let _ = _lock.as_ref().map(|lock| flock(lock, FlockOperation::Unlock));
            std::mem::forget(update);
            drop(TreeUpdate::begin(&root, &root.join("m")).expect("begins again"));
            assert_eq!(files(&root), if steps == 0 { before } else { new_tree() }, "{steps}");
            assert!(!root.join("m").join(STAGE).exists());
            std::fs::remove_dir_all(root).expect("works");
        }
    }

    #[test]
    fn a_new_tree_is_made_by_one_rename() {
        let root = folder();
        let update = TreeUpdate::begin(&root.join("a/b"), &root.join("a/b")).expect("begins");
        update.add(Path::new("dagger.json"), "new").expect("works");
        let changes = update.commit(Vec::new()).expect("works");
        assert_eq!(changes, [(root.join("a/b/dagger.json"), FileChange::Created)]);
        assert_eq!(files(&root), [("a/b/dagger.json".to_owned(), "new".to_owned())]);
        std::fs::remove_dir_all(root).expect("works");
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let root = folder();
        let update = prepared(&root);
        let before = files(&root);
        update.add(Path::new("m/gone"), "a file").expect("works");
        let refused = update.commit(Vec::new()).expect_err("is refused").to_string();
        assert!(refused.ends_with("m/gone`: something else is there"), "{refused}");
        assert_eq!(files(&root), before);
        std::fs::remove_dir_all(root).expect("works");
    }
}
