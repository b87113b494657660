//! Members of the API as plain data, and the table of what every compared version had.

use std::collections::BTreeMap;
use std::fmt;

/// The versions that the table has, oldest first.
pub(crate) const VERSIONS: [&str; 4] = ["v0.18.10", "v0.18.11", "v0.19.11", "v0.21.8"];
/// The newest of them.
pub(crate) const NEWEST: &str = VERSIONS[VERSIONS.len() - 1];

const TABLE: &str = include_str!("../../data/api.tsv");

/// What kind of thing a member is; the words of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A directive; its name is that of a type here.
    Directive,
    /// A scalar type.
    Scalar,
    /// An enum.
    Enum,
    /// A member of an enum.
    EnumValue,
    /// An input type.
    Input,
    /// A field of an input type.
    InputField,
    /// An interface.
    Interface,
    /// An object type.
    Object,
    /// A field of an object or interface.
    Field,
}

impl Kind {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "directive" => Self::Directive,
            "scalar" => Self::Scalar,
            "enum" => Self::Enum,
            "enumvalue" => Self::EnumValue,
            "input" => Self::Input,
            "inputfield" => Self::InputField,
            "interface" => Self::Interface,
            "object" => Self::Object,
            "field" => Self::Field,
            _ => return None,
        })
    }
}

/// What a member is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The type, or the directive.
    pub(crate) within: String,
    /// The member; empty for the type itself.
    pub(crate) member: String,
    /// A type and a directive may have one name.
    pub(crate) kind: Kind,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.kind == Kind::Directive { "@" } else { "" };
        let dot = if self.member.is_empty() { "" } else { "." };
        write!(f, "{at}{}{dot}{}", self.within, self.member)
    }
}

/// The shape of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Arguments, in order.
    pub(crate) args: Vec<Arg>,
    /// The type that it has or returns.
    pub(crate) ty: Type,
    /// Interfaces of an object, places of a directive.
    pub(crate) words: Vec<String>,
    /// The default of an input field, the member that an alias means.
    pub(crate) value: Option<String>,
    /// It should not be used any more.
    pub(crate) deprecated: bool,
    /// It may change.
    pub(crate) experimental: bool,
}

/// An argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arg {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) ty: Type,
    /// What it is when it is left out.
    pub(crate) default: Option<String>,
    /// It should not be used any more.
    pub(crate) deprecated: bool,
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.ty)?;
        if let Some(default) = &self.default {
            write!(f, " = {default}")?;
        }
        f.write_str(if self.deprecated { " [deprecated]" } else { "" })
    }
}

/// A type as it is written, and of what type an ID is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Type {
    /// Such as `[String!]!`.
    pub(crate) text: String,
    /// The type behind an `ID`.
    pub(crate) of: Option<String>,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.of.as_ref().map_or(Ok(()), |of| write!(f, "<{of}>"))
    }
}

impl Type {
    fn read(text: &str) -> Self {
        match text.strip_suffix('>').and_then(|t| t.split_once('<')) {
            Some((text, of)) => Self { text: text.into(), of: Some(of.into()) },
            None => Self { text: text.into(), of: None },
        }
    }

    /// The name without brackets and marks.
    pub(crate) fn base(&self) -> &str {
        self.text.trim_matches(['[', ']', '!'])
    }

    /// A scalar of one type, such as `[FileID!]!`, in the way that has one scalar for all: `[ID!]!`
    /// of `File`.
    pub(crate) fn with_one_id(&self) -> Self {
        match self.base().strip_suffix("ID").filter(|of| !of.is_empty()) {
            Some(of) => Self { text: self.text.replace(self.base(), "ID"), of: Some(of.into()) },
            None => self.clone(),
        }
    }
}

/// What the versions had.
pub(crate) struct Table {
    rows: Vec<Row>,
}

struct Row {
    versions: Vec<&'static str>,
    name: Name,
    shape: Shape,
    tier: Option<&'static str>,
}

impl Table {
    /// The table of this repository.
    pub(crate) fn read() -> Self {
        Self::of(TABLE)
    }

    /// Reads a table; panics on a line that is none.
    pub(crate) fn of(text: &'static str) -> Self {
        let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        Self {
            rows: lines.map(|line| row(line).unwrap_or_else(|| panic!("not a line of the table: `{line}`"))).collect(),
        }
    }

    /// What `version` had.
    pub(crate) fn at(&self, version: &str) -> BTreeMap<Name, Shape> {
        let rows = self.rows.iter().filter(|row| row.versions.contains(&version));
        rows.map(|row| (row.name.clone(), row.shape.clone())).collect()
    }

    /// How much the newest version's fields matter.
    pub(crate) fn tiers(&self) -> BTreeMap<Name, &'static str> {
        self.rows.iter().filter_map(|row| Some((row.name.clone(), row.tier?))).collect()
    }
}

fn row(line: &'static str) -> Option<Row> {
    let mut cells = line.split('\t');
    let versions = cells.next()?.split(' ').collect();
    let kind = Kind::read(cells.next()?)?;
    let name = Name { within: cells.next()?.into(), member: cells.next().unwrap_or_default().into(), kind };
    let [args, ty, marks, tier] = std::array::from_fn(|_| cells.next().unwrap_or_default());
    let mut shape = Shape {
        deprecated: marks.contains("deprecated"),
        experimental: marks.contains("experimental"),
        ..Shape::default()
    };
    match kind {
        Kind::Field | Kind::Directive => {
            shape.args = args.split("; ").filter(|a| !a.is_empty()).map(arg).collect::<Option<_>>()?
        }
        Kind::Object | Kind::Interface => shape.words = words(args, " & "),
        _ => shape.value = Some(args.to_owned()).filter(|a| !a.is_empty()),
    }
    match kind {
        Kind::Directive => shape.words = words(ty, " | "),
        _ => shape.ty = Type::read(ty),
    }
    Some(Row { versions, name, shape, tier: Some(tier).filter(|t| !t.is_empty()) })
}

fn words(text: &str, between: &str) -> Vec<String> {
    text.split(between).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn arg(text: &str) -> Option<Arg> {
    let (name, rest) = text.split_once(": ")?;
    let (rest, deprecated) = rest.strip_suffix(" [deprecated]").map_or((rest, false), |rest| (rest, true));
    let (ty, default) = rest.split_once(" = ").map_or((rest, None), |(ty, default)| (ty, Some(default.to_owned())));
    Some(Arg { name: name.into(), ty: Type::read(ty), default, deprecated })
}

#[test]
fn lines_are_read() {
    let line = "v0.18.10 v0.21.8\tfield\tA\tb\tc: [ID!]!<D> = []; e: String = \"x = y\" [deprecated]\tID!<A>\texperimental\t1a";
    let row = row(line).expect("a line");
    assert_eq!(row.versions, ["v0.18.10", "v0.21.8"]);
    assert_eq!(row.name.to_string(), "A.b");
    let args: Vec<String> = row.shape.args.iter().map(ToString::to_string).collect();
    assert_eq!(args, ["c: [ID!]!<D> = []", "e: String = \"x = y\" [deprecated]"]);
    assert_eq!((row.shape.ty.of.as_deref(), row.shape.experimental, row.tier), (Some("A"), true, Some("1a")));
    assert_eq!(Type::read("[FileID!]!").with_one_id(), Type::read("[ID!]!<File>"));
    assert_eq!(Type::read("ID!").with_one_id(), Type::read("ID!"));
}
