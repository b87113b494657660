//! Changes of permission bits in the syntax of `chmod`: octal, or clauses such as `u=rwX,go-w`.

use serde::Serialize;

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ModeChange {
    /// These bits, whatever they were.
    Set(u32),
    /// Clauses, one after the other.
    Clauses(Vec<Clause>),
}

/// One clause: the classes of users, the action, and the bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// Shifts of the classes: 6 is the user, 3 the group, 0 others.
    who: Vec<u32>,
    action: Action,
    /// The bits of `rwx`, as for others.
    bits: u32,
    /// `X`: execution for directories and for files that already have an execute bit.
    conditional: bool,
    /// `s`: the set-id bits of user and group.
    set_id: bool,
    /// `t`.
    sticky: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Action {
    Add,
    Remove,
    Assign,
}

/// The text is not a change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mode: expected an octal number up to 7777 or clauses such as `u=rwX,go-w`")]
pub struct InvalidMode(pub String);

impl ModeChange {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is neither octal nor clauses.
    pub fn parse(text: &str) -> Result<Self, InvalidMode> {
        let invalid = || InvalidMode(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777);
            return bits.map(Self::Set).ok_or_else(invalid);
        }
        let clauses: Option<Vec<Vec<Clause>>> = text.split(',').map(clauses).collect();
        clauses.map(|all| Self::Clauses(all.concat())).ok_or_else(invalid)
    }

    /// Applies the change to the bits `mode`.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Set(bits) => *bits,
            Self::Clauses(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir)),
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let executable = self.conditional && (is_dir || mode & 0o111 != 0);
        let one = self.bits | u32::from(executable);
        let mut bits = self.who.iter().fold(0, |all, shift| all | (one << shift));
        let mut mask = self.who.iter().fold(0, |all, shift| all | (0o7 << shift));
        for (shift, bit) in [(6, 0o4000), (3, 0o2000)] {
            if self.who.contains(&shift) {
                mask |= bit;
                bits |= if self.set_id { bit } else { 0 };
            }
        }
        if self.sticky {
            (mask, bits) = (mask | 0o1000, bits | 0o1000);
        }
        match self.action {
            Action::Add => mode | bits,
            Action::Remove => mode & !bits,
            Action::Assign => (mode & !mask) | bits,
        }
    }
}

/// The clauses of one part between commas, which may have several actions: `u+r-w`.
fn clauses(part: &str) -> Option<Vec<Clause>> {
    let start = part.find(['+', '-', '='])?;
    let mut who = Vec::new();
    for c in part[..start].chars() {
        match c {
            'u' => who.push(6),
            'g' => who.push(3),
            'o' => who.push(0),
            'a' => who.extend([6, 3, 0]),
            _ => return None,
        }
    }
    if who.is_empty() {
        who.extend([6, 3, 0]);
    }
    let mut all: Vec<Clause> = Vec::new();
    for c in part[start..].chars() {
        let action = match c {
            '+' => Action::Add,
            '-' => Action::Remove,
            '=' => Action::Assign,
            permission => {
                let clause = all.last_mut()?;
                match permission {
                    'r' => clause.bits |= 4,
                    'w' => clause.bits |= 2,
                    'x' => clause.bits |= 1,
                    'X' => clause.conditional = true,
                    's' => clause.set_id = true,
                    't' => clause.sticky = true,
                    _ => return None,
                }
                continue;
            }
        };
        all.push(Clause { who: who.clone(), action, bits: 0, conditional: false, set_id: false, sticky: false });
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let check = |text: &str, mode: u32, is_dir: bool, want: u32| {
            let change = ModeChange::parse(text).expect("is a mode");
            assert_eq!(format!("{:o}", change.apply(mode, is_dir)), format!("{want:o}"), "{text}");
        };
        check("751", 0o644, false, 0o751);
        check("01777", 0o644, true, 0o1777);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o700, false, 0o755);
        check("+x", 0o644, false, 0o755);
        check("go-rwx", 0o755, false, 0o700);
        check("u+s,g-w+r", 0o720, false, 0o4740);
        check("a=r", 0o4755, false, 0o444);
        check("+t", 0o777, true, 0o1777);
        for bad in ["", "8", "17777", "u", "x+r", "u+q", "rwx"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad}");
        }
    }
}
