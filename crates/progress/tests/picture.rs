//! The picture of the README is the recorded run of an example.
//!
//! `docs/terminal.jsonl` is a recording that `rondel` made on a machine without any cache.

use std::path::Path;

use rondel_progress::recording::Recording;
use rondel_progress::svg::picture;

/// What was typed, and what was printed.
const COMMAND: &str = "$ rondel call -m examples/greeter from-container --name=World";
const RESULT: &str = "Hello, World, from Debian GNU/Linux 12 (bookworm)";

#[test]
fn the_picture_is_that_of_the_recorded_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("docs/terminal.jsonl")).expect("there is a recording");
    let recording = Recording::parse(&text).expect("it is a recording");
    let made = picture(&recording, (88, 24), COMMAND, RESULT);
    let path = root.join("docs/terminal.svg");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &made).expect("the picture is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "`docs/terminal.svg` differs; `UPDATE_GOLDENS=1` writes it anew");
    assert!(made.len() < 200_000, "{} bytes are too many for a picture in a page", made.len());
}
