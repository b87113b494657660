//! Snapshots as directories and files of the API, by calls that hold the content alone.

use rondel_call::{Call, CallSpec, Literal};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, Directory, File, Fs, Platform, Snapshot, Value};
use rondel_query::Outcome;

/// A snapshot as a directory. Its call holds the content, not where it came from.
pub fn imported_directory(snapshot: Snapshot) -> Outcome {
    let call = Call::new(None, CallSpec::new("Directory", "_snapshot").arg("layers", layers(&snapshot)));
    let directory = Directory::root(Fs::known(snapshot), Platform::native());
    Outcome { value: Value::object("Directory", directory), rebind: Some(call) }
}

/// The file `name` of a snapshot. Its call holds the content, not where it came from.
pub fn imported_file(snapshot: Snapshot, name: &str) -> Outcome {
    let spec = CallSpec::new("File", "_snapshotFile")
        .arg("layers", layers(&snapshot))
        .arg("name", Literal::String(name.into()));
    Outcome { value: file_of(snapshot, name), rebind: Some(Call::new(None, spec)) }
}

/// The file `name` of a snapshot.
pub fn file_of(snapshot: Snapshot, name: &str) -> Value {
    let place = TreePath { fs: Fs::known(snapshot), path: AbsPath::new(name) };
    Value::object("File", File { place, platform: Platform::native(), name: None, asked: None })
}

fn layers(snapshot: &Snapshot) -> Literal {
    Literal::List(snapshot.layers().iter().map(|layer| Literal::String(layer.0.hex().into())).collect())
}
