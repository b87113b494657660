//! What a scanner gets and gives: the source of a module, and its types or why they are unknown.

use std::fmt::Display;

use rondel_fault::{Cause, Fault, Frame};
use rondel_version::View;

use crate::document::{SourcePlace, TypesDocument};

/// A file of a module's code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, relative to the folder of the code.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// What a scanner knows of a module besides its code.
#[derive(Clone, Debug)]
pub struct ModuleFacts {
    /// The name in the configuration.
    pub name: String,
    /// The folder of the code, relative to the context directory.
    pub folder: String,
    /// The API version that the module sees.
    pub view: View,
}

impl ModuleFacts {
    /// A user error at a place in the code: `message`, with the line.
    pub fn error_at(&self, file: &SourceFile, at: Position, message: impl Display) -> Fault {
        let line = usize::try_from(at.line).unwrap_or(0).saturating_sub(1);
        let path = if self.folder.is_empty() { file.path.clone() } else { format!("{}/{}", self.folder, file.path) };
        let frame = Frame {
            line: at.line,
            column: at.column,
            source: file.text.lines().nth(line).unwrap_or_default().to_owned(),
            file: path.clone(),
            ..Frame::default()
        };
        let message = message.to_string();
        let call = format!("loading module {}", self.name);
        let cause = Cause { call, message: message.clone(), frames: vec![frame], ..Cause::default() };
        Fault::user(format!("{path}:{}:{}: {message}", at.line, at.column)).with_causes(vec![cause])
    }
}

/// The types of a module as far as its source decides them.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceTypes {
    /// The types.
    Declared(TypesDocument),
    /// Why the module's code has to run: a part of a sentence that names the place.
    Undecided(String),
}

/// A position in a file. Lines and columns count from one, columns in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// The place in the file `file`.
    pub fn in_file(self, file: &str) -> SourcePlace {
        SourcePlace { file: file.to_owned(), line: self.line, column: self.column }
    }
}
