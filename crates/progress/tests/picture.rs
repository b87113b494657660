//! The picture of the README is the recorded run of an example.
//!
//! `scripts/picture` records it, and writes the texts above and below it.

use std::path::Path;

use rondel_progress::recording::Recording;
use rondel_progress::svg::picture;

#[test]
fn the_picture_is_that_of_the_recorded_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join("docs").join(name)).expect("the file is there");
    let recording = Recording::parse(&read("terminal.jsonl")).expect("it is a recording");
    let made = picture(&recording, (96, 24), &read("terminal.before.txt"), &read("terminal.after.txt"));
    let path = root.join("docs/terminal.svg");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &made).expect("the picture is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "`docs/terminal.svg` differs; `UPDATE_GOLDENS=1` writes it anew");
    assert!(made.len() < 200_000, "{} bytes are too many for a picture in a page", made.len());
}
