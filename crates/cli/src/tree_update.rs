//! Writes a set of files into a directory tree as one step.
//!
//! *Invariants.* New files are prepared in a directory of their own and then renamed to their
//! places. Until the list of renames is complete on disk, an interrupted update leaves the old
//! tree; from then on the next command completes it. A configuration file is renamed last, so that
//! a module never refers to files that are not there.
//!
//! A tree may come from someone else. So the list of renames is in the user's state directory: what
//! a tree holds never makes a command complete an update that it did not begin. No symlink of the
//! tree leads a file out of it.

use std::fs::{DirBuilder, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rondel_digest::Digest;
use rondel_fault::{Attempt as _, Fault, Result};
use rustix::fs::{Access, FlockOperation, access, flock};
use serde::{Deserialize, Serialize};

/// The directory in which an update is prepared.
const STAGE: &str = ".rondel-update";
/// The directory of the new files in it.
const NEW: &str = "new";
/// The file in it that says that the update was decided. It holds the token of the plan.
const DECIDED: &str = "decided";
/// The directory of plans in the state directory.
const PLANS: &str = "updates";
/// Configuration files of modules. They are renamed last.
pub(crate) const CONFIGS: [&str; 2] = ["dagger.json", "dagger-module.toml"];

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

/// Where plans are kept while they are carried out.
#[derive(Debug, Clone)]
pub(crate) struct Plans(PathBuf);

impl Plans {
    /// Those in the state directory `state`.
    ///
    /// # Errors
    /// When their directory cannot be made.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let directory = state.join(PLANS);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.attempt(|| format!("make the directory `{}`", directory.display()))?;
        Ok(Self(directory))
    }

    /// Waits until no other command changes modules, and keeps others waiting until the file is
    /// dropped. What a change follows from is read under this lock.
    ///
    /// # Errors
    /// When the file of the lock cannot be used.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.0.join("lock");
        let attempted = || format!("lock `{}`", path.display());
        let file = File::options().create(true).append(true).open(&path).attempt(attempted)?;
        flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from).attempt(attempted)?;
        Ok(file)
    }

    /// Completes the updates of the tree in `folder` and of those around it that were decided and
    /// interrupted. Returns whether there were any.
    ///
    /// # Errors
    /// When a file cannot be replaced.
    pub(crate) fn complete_interrupted(&self, folder: &Path) -> Result<bool> {
        let mut was_interrupted = false;
        for stage in folder.ancestors().map(|dir| dir.join(STAGE)) {
            if self.file(&stage).exists() && stage.join(DECIDED).exists() {
                complete(self, &stage)?;
                was_interrupted = true;
            }
        }
        Ok(was_interrupted)
    }

    /// The file of the plan for the directory `stage`.
    fn file(&self, stage: &Path) -> PathBuf {
        self.0.join(format!("{}.json", Digest::of_bytes(stage.as_os_str().as_bytes())))
    }
}

/// What is renamed and removed. Paths are relative to `root`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Plan {
    /// A random text, by which the plan and its stage know each other.
    token: String,
    root: PathBuf,
    moved: Vec<PathBuf>,
    removed: Vec<PathBuf>,
}

/// An update of the tree in `root` while it is prepared.
pub(crate) struct TreeUpdate {
    /// The directory that paths are relative to. It exists.
    root: PathBuf,
    /// The updated tree in it. Empty if the root is the tree itself.
    tree: PathBuf,
    stage: PathBuf,
    plan_file: PathBuf,
    _lock: Option<File>,
}

impl TreeUpdate {
    /// Begins an update of the tree in the directory `tree`, which need not exist. The files to
    /// write are in or below the directory `folder`. Completes an update that was interrupted.
    ///
    /// # Errors
    /// When the directory cannot be written, or holds an update that `plans` does not know.
    pub(crate) fn begin(plans: &Plans, tree: &Path, folder: &Path) -> Result<Self> {
        let existing = |path: &Path| path.ancestors().find(|path| path.is_dir()).unwrap_or(path).to_owned();
        let (root, base) = (existing(tree), existing(folder));
        let tree = tree.strip_prefix(&root).unwrap_or(Path::new("")).to_owned();
        // Commands with another state directory do not share the lock of the plans.
        let lock = File::open(&base).ok().filter(|dir| flock(dir, FlockOperation::LockExclusive).is_ok());
        for stage in base.ancestors().map(|dir| dir.join(STAGE)) {
            // The update that made the tree was prepared outside of it.
            if stage.starts_with(&root) || plans.file(&stage).exists() {
                complete(plans, &stage)?;
            }
        }
        let stage = base.join(STAGE);
        let refused = |e| cannot_write(&base, e);
        std::fs::create_dir(&stage).map_err(refused)?;
        std::fs::create_dir_all(stage.join(NEW).join(&tree)).map_err(refused)?;
        let plan_file = plans.file(&stage);
        Ok(Self { root, tree, stage, plan_file, _lock: lock })
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
        let token = format!("{:032x}", rand::random::<u128>());
        let mut plan = Plan { token, root: self.root.clone(), ..Plan::default() };
        self.plan_directory(Path::new(""), &mut plan, &mut changes)?;
        for path in removed {
            let path = self.tree.join(path);
            if self.root.join(&path).symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                changes.push((path.clone(), FileChange::Removed));
                plan.removed.push(path);
            }
        }
        for path in plan.moved.iter().chain(&plan.removed) {
            self.check_inside(path)?;
            self.check_writable(path)?;
        }
        let is_config = |path: &PathBuf| CONFIGS.iter().any(|name| path.file_name().is_some_and(|it| it == *name));
        plan.moved.sort_by_key(is_config);
        if !(plan.moved.is_empty() && plan.removed.is_empty()) {
            self.decide(&plan)?;
            let applied = plan.apply(&self.stage);
            applied.map_err(|e| e.with_hint("some of the files are in place: run the command again for the others"))?;
            forget(&self.plan_file)?;
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

    /// Checks that no symlink leads the file out of the tree.
    fn check_inside(&self, path: &Path) -> Result<()> {
        let place = self.root.join(path);
        let outside = || {
            Fault::denied(format!(
                "cannot write `{}`: a symlink leads out of `{}`",
                place.display(),
                self.root.display()
            ))
            .with_hint("replace the symlink by what it leads to, and run the command again")
        };
        let root = self.root.canonicalize().map_err(|e| cannot_write(&self.root, e))?;
        let Some(existing) = place.ancestors().find(|path| path.symlink_metadata().is_ok()) else { return Ok(()) };
        // The target of a symlink may be missing, and then it cannot be told where it is.
        let found = existing.canonicalize().map_err(|_| outside())?;
        if found.starts_with(root) { Ok(()) } else { Err(outside()) }
    }

    /// Checks that the directory of a file can be changed.
    fn check_writable(&self, path: &Path) -> Result<()> {
        let place = self.root.join(path);
        let Some(parent) = place.ancestors().skip(1).find(|parent| parent.exists()) else { return Ok(()) };
        access(parent, Access::WRITE_OK).map_err(|e| cannot_write(&place, e.into()))
    }

    /// Puts the plan on disk. The mark in the stage comes last: without it nothing was renamed.
    fn decide(&self, plan: &Plan) -> Result<()> {
        let draft = self.plan_file.with_extension("draft");
        let text = serde_json::to_string(plan)
            .map_err(|e| Fault::user("a path of the module is not UTF-8 text").caused_by(e))?;
        let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &self.plan_file));
        written.map_err(|e| cannot_write(&self.plan_file, e))?;
        // The mark appears with its content: half of it would be the mark of an unknown plan.
        let (decided, draft) = (self.stage.join(DECIDED), self.stage.join("draft"));
        let written = std::fs::write(&draft, &plan.token).and_then(|()| std::fs::rename(&draft, &decided));
        written.map_err(|e| cannot_write(&decided, e))
    }
}

impl Drop for TreeUpdate {
    fn drop(&mut self) {
        // A decided update that failed is left for the next command.
        if !self.stage.join(DECIDED).exists() {
            let _ = std::fs::remove_dir_all(&self.stage);
            let _ = std::fs::remove_file(&self.plan_file);
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
///
/// # Errors
/// When the stage says that it was decided, and `plans` has no plan of it.
fn complete(plans: &Plans, stage: &Path) -> Result<()> {
    let plan_file = plans.file(stage);
    let plan = std::fs::read_to_string(&plan_file).ok().and_then(|text| serde_json::from_str::<Plan>(&text).ok());
    let decided = std::fs::read_to_string(stage.join(DECIDED)).ok();
    match (plan, decided) {
        (Some(plan), Some(token)) if plan.token == token => plan.apply(stage)?,
        (_, Some(_)) => {
            return Err(Fault::user(format!(
                "`{}` holds an interrupted change of a module, and the state directory has no record of it",
                stage.display()
            ))
            .with_hint(
                "use the state directory of the command that was interrupted, or look at the files and remove it",
            ));
        }
        _ if stage.symlink_metadata().is_ok() => {
            std::fs::remove_dir_all(stage).map_err(|e| cannot_write(stage, e))?;
        }
        _ => {}
    }
    forget(&plan_file)
}

/// Removes a plan that was carried out or given up.
fn forget(plan_file: &Path) -> Result<()> {
    match std::fs::remove_file(plan_file) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(cannot_write(plan_file, e)),
        _ => Ok(()),
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
    fn prepared(plans: &Plans, root: &Path) -> TreeUpdate {
        for (path, text) in [("m/dagger.json", "old"), ("m/gone/x", "x"), ("m/same", "same"), ("other", "other")] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("works");
            std::fs::write(path, text).expect("works");
        }
        let update = TreeUpdate::begin(plans, root, &root.join("m")).expect("begins");
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

    fn plans() -> Plans {
        Plans::open(&folder()).expect("opens")
    }

    fn new_tree() -> Vec<(String, String)> {
        let files = [("m/dagger.json", "new"), ("m/same", "same"), ("m/src/a/main.py", "code"), ("m/x.py", "x")];
        let mut all: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        all.push(("other".into(), "other".into()));
        all
    }

    #[test]
    fn every_file_is_reported() {
        let (root, plans) = (folder(), plans());
        let changes = prepared(&plans, &root).commit(vec!["m/gone/x".into()]).expect("works");
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
            let (root, plans) = (folder(), plans());
            let update = prepared(&plans, &root);
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
            assert_eq!(plans.complete_interrupted(&root.join("m")).expect("works"), steps > 0);
            assert_eq!(files(&root), if steps == 0 { before.clone() } else { new_tree() }, "{steps}");
            drop(TreeUpdate::begin(&plans, &root, &root.join("m")).expect("begins again"));
            assert_eq!(plans.0.read_dir().expect("lists").count(), 0);
            assert_eq!(files(&root), if steps == 0 { before } else { new_tree() }, "{steps}");
            assert!(!root.join("m").join(STAGE).exists());
            std::fs::remove_dir_all(root).expect("works");
        }
    }

    #[test]
    fn a_new_tree_is_made_by_one_rename() {
        let (root, plans) = (folder(), plans());
        let update = TreeUpdate::begin(&plans, &root.join("a/b"), &root.join("a/b")).expect("begins");
        update.add(Path::new("dagger.json"), "new").expect("works");
        let changes = update.commit(Vec::new()).expect("works");
        assert_eq!(changes, [(root.join("a/b/dagger.json"), FileChange::Created)]);
        assert_eq!(files(&root), [("a/b/dagger.json".to_owned(), "new".to_owned())]);
        std::fs::remove_dir_all(root).expect("works");
    }

    #[test]
    fn an_interrupted_update_that_made_the_tree_is_completed() {
        let (root, plans) = (folder(), plans());
        let update = TreeUpdate::begin(&plans, &root.join("a/b"), &root.join("a/b")).expect("begins");
        update.add(Path::new("dagger.json"), "new").expect("works");
        let plan = Plan { root: root.clone(), moved: vec!["a".into()], ..Plan::default() };
        update.decide(&plan).expect("works");
        plan.apply_step(&update.stage, 0).expect("works");
        std::mem::forget(update);
        drop(TreeUpdate::begin(&plans, &root.join("a/b"), &root.join("a/b")).expect("begins again"));
        assert!(!root.join(STAGE).exists());
        assert_eq!(files(&root), [("a/b/dagger.json".to_owned(), "new".to_owned())]);
        // What another command outside of the tree prepares is none of its business.
        std::fs::create_dir(root.join(STAGE)).expect("works");
        drop(TreeUpdate::begin(&plans, &root.join("a/b"), &root.join("a/b")).expect("begins again"));
        assert!(root.join(STAGE).exists());
        std::fs::remove_dir_all(root).expect("works");
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let (root, plans) = (folder(), plans());
        let update = prepared(&plans, &root);
        let before = files(&root);
        update.add(Path::new("m/gone"), "a file").expect("works");
        let refused = update.commit(Vec::new()).expect_err("is refused").to_string();
        assert!(refused.ends_with("m/gone`: something else is there"), "{refused}");
        assert_eq!(files(&root), before);
        std::fs::remove_dir_all(root).expect("works");
    }

    #[test]
    fn a_tree_cannot_bring_an_update_of_its_own() {
        let (root, plans, victim) = (folder(), plans(), folder());
        std::fs::write(victim.join("file"), "mine").expect("works");
        let stage = root.join(STAGE);
        std::fs::create_dir_all(stage.join(NEW)).expect("works");
        std::fs::write(stage.join(NEW).join("file"), "theirs").expect("works");
        let plan = Plan { token: "t".into(), root: victim.clone(), moved: vec!["file".into()], ..Plan::default() };
        let text = serde_json::to_string(&plan).expect("is JSON");
        std::fs::write(stage.join("plan.json"), &text).expect("works");
        drop(TreeUpdate::begin(&plans, &root, &root).expect("removes what nothing is known of"));
        assert!(!stage.exists());
        // What says that it was decided is kept, and not carried out.
        std::fs::create_dir_all(stage.join(NEW)).expect("works");
        std::fs::write(stage.join(DECIDED), "t").expect("works");
        let refused = TreeUpdate::begin(&plans, &root, &root).err().expect("is refused").to_string();
        assert!(refused.contains("has no record of it"), "{refused}");
        assert!(stage.exists());
        // Nor with the token of another plan.
        std::fs::write(plans.file(&stage), text.replace("\"t\"", "\"u\"")).expect("works");
        assert!(TreeUpdate::begin(&plans, &root, &root).is_err());
        assert_eq!(std::fs::read_to_string(victim.join("file")).expect("reads"), "mine");
        for folder in [root, victim] {
            std::fs::remove_dir_all(folder).expect("works");
        }
    }

    #[test]
    fn symlinks_do_not_lead_files_out_of_the_tree() {
        for link in ["m/x.py", "m/src"] {
            for missing in [false, true] {
                let (root, plans, victim) = (folder(), plans(), folder());
                let update = prepared(&plans, &root);
                let before = files(&root);
                let target = if missing { victim.join("missing") } else { victim.clone() };
                let is_file = link == "m/x.py";
                if is_file && !missing {
                    std::fs::write(victim.join("file"), "mine").expect("works");
                }
                let target = if is_file && !missing { victim.join("file") } else { target };
                std::os::unix::fs::symlink(&target, root.join(link)).expect("works");
                let refused = update.commit(Vec::new()).expect_err("is refused").to_string();
                assert!(refused.contains("a symlink leads out of") || refused.contains("something else"), "{refused}");
                std::fs::remove_file(root.join(link)).expect("works");
                assert_eq!(files(&root), before);
                assert_eq!(files(&victim).len(), usize::from(is_file && !missing));
                for folder in [root, victim] {
                    std::fs::remove_dir_all(folder).expect("works");
                }
            }
        }
        let (root, plans) = (folder(), plans());
        let update = prepared(&plans, &root);
        std::fs::write(root.join("m/real.py"), "old").expect("works");
        std::os::unix::fs::symlink("real.py", root.join("m/x.py")).expect("works");
        update.commit(Vec::new()).expect("a symlink inside of the tree is followed");
        assert_eq!(std::fs::read_to_string(root.join("m/real.py")).expect("reads"), "x");
        std::fs::remove_dir_all(root).expect("works");
    }
}
