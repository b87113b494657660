//! The Python version of a module: the lowest that `requires-python` admits and an image exists
//! for.

/// The version for a project without a lower bound.
const DEFAULT_MINOR: u32 = 13;
/// The minor versions of Python 3 that the library supports and images exist for.
const MINORS: std::ops::RangeInclusive<u32> = 10..=14;

/// One version constraint of `requires-python`, for Python 3.
#[derive(Clone, Copy)]
struct VersionConstraint<'t> {
    operator: &'t str,
    minor: u32,
    /// The third number. `None` when it is missing or a wildcard.
    patch: Option<u32>,
}

/// The versions to look for images of, best first. At least one.
///
/// `pinned` is the content of `.python-version` and takes precedence. `wanted` is
/// `requires-python`. Its lower bound is the version that the project was made with and that its
/// locked packages have wheels for, so the lowest version comes first.
pub(crate) fn candidates(pinned: Option<&str>, wanted: &str) -> Vec<String> {
    if let Some(pinned) = pinned.map(str::trim).filter(|version| !version.is_empty()) {
        return vec![pinned.to_owned()];
    }
    let conditions: Vec<VersionConstraint<'_>> = wanted.split(',').filter_map(|part| condition(part.trim())).collect();
    let admitted = |minor: &u32| conditions.iter().all(|condition| condition.admits(*minor));
    let lowest = conditions.iter().filter_map(VersionConstraint::lowest).max();
    let mut found: Vec<String> = match lowest {
        Some((minor, patch)) => {
            let minors = minor.max(*MINORS.start())..=minor.max(*MINORS.end());
            let exactly = patch.filter(|patch| *patch > 0 && MINORS.start() <= &minor);
            let exactly = exactly.map(|patch| format!("3.{minor}.{patch}"));
            exactly.into_iter().chain(minors.filter(admitted).map(release)).collect()
        }
        None => {
            let others = MINORS.rev().filter(|minor| *minor != DEFAULT_MINOR);
            std::iter::once(DEFAULT_MINOR).chain(others).filter(admitted).map(release).collect()
        }
    };
    if conditions.iter().any(|condition| condition.operator == "==" && condition.patch.is_some()) {
        found.truncate(1);
    }
    if found.is_empty() {
        found.push(release(DEFAULT_MINOR));
    }
    found
}

fn release(minor: u32) -> String {
    format!("3.{minor}")
}

fn condition(part: &str) -> Option<VersionConstraint<'_>> {
    let operator = ["===", "==", "~=", ">=", "<=", "!=", ">", "<"].into_iter().find(|known| part.starts_with(known))?;
    let mut numbers = part[operator.len()..].trim().split('.').skip(1);
    let minor = numbers.next()?.parse().ok()?;
    let patch = numbers.next().and_then(|patch| patch.parse().ok());
    Some(VersionConstraint { operator: if operator == "===" { "==" } else { operator }, minor, patch })
}

impl VersionConstraint<'_> {
    fn admits(&self, minor: u32) -> bool {
        match self.operator {
            "==" => minor == self.minor,
            "~=" if self.patch.is_some() => minor == self.minor,
            "~=" | ">=" => minor >= self.minor,
            "<=" => minor <= self.minor,
            "!=" => self.patch.is_some() || minor != self.minor,
            ">" => minor > self.minor || (self.patch.is_some() && minor == self.minor),
            _ => minor < self.minor || (self.patch.is_some_and(|patch| patch > 0) && minor == self.minor),
        }
    }

    /// The lowest version that it admits, if it is a lower bound.
    fn lowest(&self) -> Option<(u32, Option<u32>)> {
        match self.operator {
            "==" | "~=" | ">=" => Some((self.minor, self.patch)),
            ">" => Some(match self.patch {
                Some(patch) => (self.minor, Some(patch + 1)),
                None => (self.minor + 1, None),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn versions() {
        let check = |wanted: &str, want: &[&str]| assert_eq!(candidates(None, wanted), want, "{wanted}");
        check("", &["3.13", "3.14", "3.12", "3.11", "3.10"]);
        check(">=3.11", &["3.11", "3.12", "3.13", "3.14"]);
        check(" >= 3.13 ", &["3.13", "3.14"]);
        check(">=3.8", &["3.10", "3.11", "3.12", "3.13", "3.14"]);
        check(">=3.16", &["3.16"]);
        check(">=3.10,<3.12", &["3.10", "3.11"]);
        check(">3.11,!=3.12", &["3.13", "3.14"]);
        check("==3.12.*", &["3.12"]);
        check("==3.12.4", &["3.12.4"]);
        check("~=3.11.4", &["3.11.4", "3.11"]);
        check(">=3.12.0", &["3.12", "3.13", "3.14"]);
        check("~=3.12", &["3.12", "3.13", "3.14"]);
        check("<3.13", &["3.12", "3.11", "3.10"]);
        check("<=3.11", &["3.11", "3.10"]);
        check(">=3.12,<3.12", &["3.13"]);
        check("nonsense", &["3.13", "3.14", "3.12", "3.11", "3.10"]);
        assert_eq!(candidates(Some("3.12.1\n"), ">=3.13"), ["3.12.1"]);
    }
}
