//! Runs fuzz targets briefly: on their corpus, and then on changed inputs for some seconds each.
//!
//! The changes are the same in every run, and no instruments are needed: it costs a link and the seconds. An input
//! that shows a fault, or that takes too long, is kept in `.state/fuzz/found`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

use std::error::Error;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rondel_fuzz::mutate::{self, Dice};
use rondel_fuzz::{TARGETS, Target};

/// The longest time for one input, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The targets that are left, and since when each one that runs has had its input.
struct Board {
    left: Mutex<Vec<Target>>,
    running: Mutex<Vec<(&'static str, Instant)>>,
}

impl Board {
    fn begins(&self, name: &'static str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(other, _)| *other != name);
        running.push((name, Instant::now()));
    }

    fn ends(&self, name: &'static str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != name);
    }

    /// A target that has had its input for too long.
    fn late(&self) -> Option<&'static str> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().find(|(_, since)| since.elapsed() > PATIENCE).map(|(name, _)| *name)
    }
}

fn main() -> ExitCode {
    match started() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn started() -> Result<bool> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [wanted, seconds] = &args[..] else { return Err("usage: rondel-fuzz TARGET|all SECONDS".into()) };
    let time = Duration::from_secs(seconds.parse().map_err(|e| format!("no seconds: `{seconds}`: {e}"))?);
    let left: Vec<Target> = TARGETS.into_iter().filter(|t| wanted == "all" || t.name == wanted).collect();
    if left.is_empty() {
        return Err(format!("there is no target `{wanted}`").into());
    }
    let count = left.len();
    let board = Arc::new(Board { left: Mutex::new(left), running: Mutex::default() });
    let (said, hears) = mpsc::channel();
    for _ in 0..thread::available_parallelism()?.get() {
        let (board, said) = (board.clone(), said.clone());
        thread::spawn(move || work(&board, time, &said));
    }
    drop(said);
    Ok(heard(&board, &hears, count))
}

/// What one target did: so many inputs, or why it failed.
type Said = (&'static str, Result<u64>);

/// Tells what the targets did. Whether all were well.
fn heard(board: &Board, hears: &Receiver<Said>, count: usize) -> bool {
    let (mut well, mut done) = (true, 0);
    while done < count {
        match hears.recv_timeout(Duration::from_secs(1)) {
            Ok((name, Ok(inputs))) => println!("{name}: {inputs} inputs"),
            Ok((name, Err(error))) => {
                eprintln!("== {name} failed: {error}");
                well = false;
            }
            Err(RecvTimeoutError::Disconnected) => {
                eprintln!("== {} targets were not run to their end", count - done);
                return false;
            }
            Err(RecvTimeoutError::Timeout) => {
                // It cannot be stopped: the program ends with it.
                if let Some(name) = board.late() {
                    eprintln!("== {name} has an input that takes longer than {PATIENCE:?}: {}", kept(name).display());
                    return false;
                }
                continue;
            }
        }
        done += 1;
    }
    well
}

fn work(board: &Board, time: Duration, said: &Sender<Said>) {
    loop {
        let next = board.left.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(target) = next else { return };
        let outcome = corpus(target.name).and_then(|seeds| briefly(board, target, &seeds, &kept(target.name), time));
        board.ends(target.name);
        if said.send((target.name, outcome)).is_err() {
            return;
        }
    }
}

/// Runs `target` on its corpus and then for `time`: the number of inputs. The input that it runs on is in `current`.
fn briefly(board: &Board, target: Target, corpus: &[Vec<u8>], current: &Path, time: Duration) -> Result<u64> {
    fs::create_dir_all(current.parent().unwrap_or(Path::new(".")))?;
    let file = fs::OpenOptions::new().create(true).truncate(true).write(true).open(current)?;
    let mut dice = Dice::of(target.name);
    let mut seeds = corpus.iter().cloned();
    let (began, mut inputs) = (Instant::now(), 0);
    loop {
        let input = match seeds.next() {
            Some(seed) => seed,
            None if began.elapsed() > time => break,
            None => mutate::input(corpus, &mut dice),
        };
        // Before it runs: what exhausts the stack ends the program.
        file.write_all_at(&input, 0)?;
        file.set_len(input.len() as u64)?;
        board.begins(target.name);
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            return Err(format!("its input is {}", current.display()).into());
        }
        inputs += 1;
    }
    fs::remove_file(current)?;
    Ok(inputs)
}

fn corpus(name: &str) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
        .map_err(|e| format!("cannot read `{}`: {e}", folder.display()))?;
    if files.is_empty() {
        return Err(format!("`{}` is empty", folder.display()).into());
    }
    files.sort();
    Ok(files.iter().map(fs::read).collect::<std::io::Result<_>>()?)
}

/// Where the input that `name` runs on is, and stays when it fails.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.state/fuzz/found").join(format!("{name}-brief"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board { left: Mutex::default(), running: Mutex::default() }
    }

    #[test]
    fn every_target_passes_on_its_corpus() {
        let folder = tempfile::tempdir().unwrap();
        for target in TARGETS {
            let (seeds, current) = (corpus(target.name).unwrap(), folder.path().join(target.name));
            let inputs = briefly(&board(), target, &seeds, &current, Duration::ZERO).unwrap();
            assert!(inputs >= seeds.len() as u64);
            assert!(!current.exists());
        }
    }

    #[test]
    fn an_input_that_shows_a_fault_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let current = folder.path().join("found");
        let seeds = [b"name = value".to_vec()];
        let fails = Target { name: "fails", run: |input| assert!(!input.contains(&b'$'), "the fault") };
        let error = briefly(&board(), fails, &seeds, &current, Duration::from_secs(60)).unwrap_err();
        assert!(error.to_string().contains("found"), "{error}");
        assert!(fs::read(&current).unwrap().contains(&b'$'));
    }
}
