//! Base images made from Debian packages, for machines with package registries but no image
//! registry.
//!
//! *Invariants.* An image is never published under a name that promises something else: a tag tells
//! the release and the version that are inside. The mirror is the one that the machine's own
//! package manager uses. An image that is there and was made by the same recipe is not made again.

mod busybox;
mod debian;
mod golang;
mod layout;

use std::path::{Path, PathBuf};
use std::process::Command;

use self::layout::Layout;

/// The time stamp of everything in an image: equal packages give equal bytes.
const EPOCH: &str = "1700000000";
const PATH_VARIABLE: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Images that are made only when they are named.
const ON_REQUEST: &[&str] = &["redis", "debian-11"];

/// One image: how it is called, and how its layers are made.
struct Recipe {
    name: &'static str,
    /// Everything that decides the content, as text.
    text: String,
    environment: Vec<String>,
    command: Vec<String>,
    working_dir: &'static str,
    build: Build,
}

/// Puts the layers together in a scratch folder.
type Build = Box<dyn Fn(&Path) -> Result<Built, String> + Send + Sync>;

/// What a recipe made: uncompressed tars in the scratch folder, the lowest layer first, and the
/// full references of the image.
struct Built {
    layers: Vec<PathBuf>,
    references: Vec<String>,
}

/// Runs `base-images`.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let (folder, wanted) = match words {
        ["--into", folder, wanted @ ..] => (PathBuf::from(folder), wanted),
        wanted => (root.join(".state/images"), wanted),
    };
    let recipes = [
        busybox::recipe()?,
        debian::slim(),
        debian::python(),
        debian::older_python(),
        golang::recipe(),
        debian::redis(),
        debian::older(),
    ];
    if let Some(unknown) = wanted.iter().find(|w| recipes.iter().all(|r| r.name != **w)) {
        let known: Vec<&str> = recipes.iter().map(|r| r.name).collect();
        return Err(format!("there is no image `{unknown}`; there are: {}", known.join(", ")));
    }
    let layout = Layout::open(&folder)?;
    let missing: Vec<&Recipe> = recipes
        .iter()
        .filter(|r| wanted.contains(&r.name) || (wanted.is_empty() && !ON_REQUEST.contains(&r.name)))
        .filter(|r| !layout.has(r.name, &r.text))
        .collect();
    if missing.is_empty() {
        println!("the base images in `{}` are up to date", folder.display());
        return Ok(());
    }
    install_tools()?;
    let scratch = Scratch::new()?;
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let (layout, scratch) = (&layout, &scratch);
        let tasks: Vec<_> =
            missing.iter().map(|recipe| scope.spawn(move || make(recipe, layout, &scratch.path))).collect();
        tasks.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a build panicked".into()))).collect()
    });
    outcomes.into_iter().collect()
}

fn make(recipe: &Recipe, layout: &Layout, scratch: &Path) -> Result<(), String> {
    let started = std::time::Instant::now();
    let scratch = scratch.join(recipe.name);
    std::fs::create_dir_all(&scratch).map_err(|e| format!("cannot make `{}`: {e}", scratch.display()))?;
    let built = (recipe.build)(&scratch)?;
    layout.add(recipe, &built)?;
    println!("{} ({:.1} s)", built.references.join(", "), started.elapsed().as_secs_f64());
    Ok(())
}

/// A folder in memory where images are put together; it is removed at the end.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, String> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("rondel-images-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| format!("cannot make `{}`: {e}", path.display()))?;
        // Package managers drop privileges and must still be able to enter.
        run_command(Command::new("chmod").arg("0755").arg(&path))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn is_root() -> bool {
    text_of(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn install_tools() -> Result<(), String> {
    let installed = |name: &str| {
        let paths = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];
        paths.iter().any(|folder| Path::new(folder).join(name).exists())
    };
    let mut missing = Vec::new();
    if !installed("mmdebstrap") {
        missing.push("mmdebstrap");
    }
    if !is_root() && !installed("newuidmap") {
        missing.push("uidmap");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !installed("apt-get") {
        return Err("base images are made with apt and mmdebstrap, which this system does not have; \
                    with an image registry in reach they are not needed"
            .into());
    }
    if !is_root() {
        return Err(format!("base images need the Debian packages `{list}`; as root: apt-get install {list}"));
    }
    run_command(Command::new("apt-get").args(apt_options()).args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install.args(apt_options()).args(["-qq", "-y", "--no-install-recommends", "install"]).args(&missing);
    run_command(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Package indexes on mirrors may carry old dates.
fn apt_options() -> [&'static str; 4] {
    ["-o", "Acquire::Check-Valid-Until=false", "-o", "Acquire::Check-Date=false"]
}

fn run_command(command: &mut Command) -> Result<(), String> {
    text_of(command).map(|_| ())
}

/// Runs a program and gives what it printed; when it fails, the end of what it complained about.
fn text_of(command: &mut Command) -> Result<String, String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("cannot run `{shown}`: {e}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|_| format!("`{shown}` printed something that is no text"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let end = lines[lines.len().saturating_sub(15)..].join("\n");
    Err(format!("`{shown}` failed ({}):\n{end}", output.status))
}
