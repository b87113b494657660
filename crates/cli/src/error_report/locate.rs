//! Finds the files of an error on the user's machine, and names them from where the user is.
//!
//! An error names a file by its path in the context directory of a module. Which directory that is
//! depends on the rules of modules; here it is found by looking: it is the directory above the
//! user's in which the file has the line that the error quotes.

use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};

use rondel_fault::{Cause, Fault, Frame};

/// How many directories up a relative path may lead before the absolute path is clearer.
const MAX_UP: usize = 3;

/// The largest file that is read to find a line, in bytes. A file of module code is smaller.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Where files of the user are looked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    workdir: PathBuf,
    /// Directories to start from, in this order. Those above them count too.
    starts: Vec<PathBuf>,
}

impl Places {
    /// The directory `workdir` of the user, and the module that the user named.
    pub(crate) fn new(workdir: PathBuf, module: Option<&str>) -> Self {
        let named = module.map(|module| workdir.join(module)).filter(|path| path.exists());
        let starts = named.into_iter().chain(std::iter::once(workdir.clone())).collect();
        Self { workdir, starts }
    }

    /// The error with the paths of its files relative to the user's directory. Files that are not
    /// there keep their names.
    pub(crate) fn localized(&self, fault: &Fault) -> Fault {
        let siblings = fault.siblings().iter().map(|sibling| self.localized(sibling)).collect();
        let fault = fault.clone().with_siblings(siblings);
        if fault.causes().is_empty() {
            return fault;
        }
        let frame = |frame: &Frame| match frame.is_own().then(|| self.find(frame)).flatten() {
            Some(path) => Frame { file: self.shown(&path), ..frame.clone() },
            None => frame.clone(),
        };
        let cause = |cause: &Cause| match cause.origin.is_empty() {
            true => Cause { frames: cause.frames.iter().map(frame).collect(), ..cause.clone() },
            false => cause.clone(),
        };
        let causes = fault.causes().iter().map(cause).collect();
        fault.with_causes(causes)
    }

    /// The path of the frame's file, if a file there has the line that the frame quotes.
    fn find(&self, frame: &Frame) -> Option<PathBuf> {
        let inside = Path::new(&frame.file).components().all(|part| matches!(part, Component::Normal(_)));
        let above = self.starts.iter().flat_map(|start| start.ancestors());
        above.filter(|_| inside).map(|directory| directory.join(&frame.file)).find(|path| has_line(path, frame))
    }

    fn shown(&self, path: &Path) -> String {
        let common = path.components().zip(self.workdir.components()).take_while(|(one, other)| one == other).count();
        let up = self.workdir.components().count() - common;
        if up > MAX_UP {
            return path.display().to_string();
        }
        relative(path, &self.workdir).display().to_string()
    }
}

/// The path that leads from `workdir` to `path`. Both are absolute.
pub(crate) fn relative(path: &Path, workdir: &Path) -> PathBuf {
    let common = path.components().zip(workdir.components()).take_while(|(one, other)| one == other).count();
    let up = workdir.components().count() - common;
    std::iter::repeat_n(Component::ParentDir, up).chain(path.components().skip(common)).collect()
}

fn has_line(path: &Path, frame: &Frame) -> bool {
    if frame.line == 0 {
        return path.is_file();
    }
    // Module code chooses the name. Devices and pipes may never end, and files of `/proc`, whose
    // length is zero, may wait.
    let is_source = |file: &Metadata| file.is_file() && (1..=MAX_FILE_BYTES).contains(&file.len());
    if !path.metadata().is_ok_and(|file| is_source(&file)) {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let line = text.lines().nth(usize::try_from(frame.line).unwrap_or(usize::MAX).saturating_sub(1));
    let quoted = frame.source.trim_end_matches('…').trim_end();
    line.is_some_and(|line| line.starts_with(quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_from_where_the_user_is() {
        let root = std::env::temp_dir().join(format!("rondel-locate-{}", std::process::id()));
        let file = root.join("proj/ci/src/main.py");
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("makes a directory");
        std::fs::create_dir_all(root.join("proj/a/b/c/d")).expect("makes a directory");
        std::fs::write(&file, "one\n  two\n").expect("writes");
        let large = std::fs::File::create(root.join("proj/large.py")).expect("makes a file");
        large.set_len(MAX_FILE_BYTES + 1).expect("grows");
        let check = |workdir: &str, module: Option<&str>, path: &str, line: u32, source: &str, want: &str| {
            let places = Places::new(root.join(workdir), module);
            let frame = Frame { file: path.into(), line, source: source.into(), ..Frame::default() };
            let fault = Fault::user("x").with_causes(vec![Cause { frames: vec![frame], ..Cause::default() }]);
            assert_eq!(places.localized(&fault).causes()[0].frames[0].file, want, "{workdir} {module:?} {path}");
        };
        check("proj", None, "ci/src/main.py", 2, "  two", "ci/src/main.py");
        check("proj/ci", None, "ci/src/main.py", 2, "  two", "src/main.py");
        check("proj/ci/src", None, "ci/src/main.py", 0, "", "main.py");
        check("proj/a/b", None, "ci/src/main.py", 2, "  t…", "../../ci/src/main.py");
        check("proj/a/b/c/d", None, "ci/src/main.py", 2, "  two", &file.display().to_string());
        check("proj/a", Some("../ci"), "src/main.py", 2, "  two", "../ci/src/main.py");
        check("proj", Some("github.com/x/y"), "ci/src/main.py", 1, "one", "ci/src/main.py");
        check("proj/ci", None, "ci/src/main.py", 2, "another line", "ci/src/main.py");
        check("proj/ci", None, "../ci/src/main.py", 2, "  two", "../ci/src/main.py");
        check("proj/ci", None, "gone.py", 1, "one", "gone.py");
        // Files that are none of a module's.
        for path in ["large.py", "dev/zero", "dev/stdin", "proc/kmsg", "proc/self/status"] {
            check("proj/ci", None, path, 1, "", path);
        }
        std::fs::remove_dir_all(root).expect("removes");
    }
}
