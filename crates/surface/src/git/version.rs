//! The latest version among tags.

use std::cmp::Ordering;

/// A semantic version with a `v`, as in tags. Minor and patch may be missing.
#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    numbers: [u64; 3],
    /// The parts of the pre-release, after `-`. Empty for a release.
    early: Vec<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(tag: &'a str) -> Option<Self> {
        let rest = tag.strip_prefix('v')?;
        let rest = match rest.split_once('+') {
            Some((rest, build)) if parts(build).is_some() => rest,
            Some(_) => return None,
            None => rest,
        };
        let (core, early) = match rest.split_once('-') {
            Some((core, early)) => (core, parts(early)?),
            None => (rest, Vec::new()),
        };
        let mut numbers = [0; 3];
        let mut count = 0;
        for text in core.split('.') {
            let well_formed = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            *numbers.get_mut(count)? = text.parse().ok().filter(|_| well_formed)?;
            count += 1;
        }
        let whole = count == 3 || (early.is_empty() && !tag.contains('+'));
        whole.then_some(Self { numbers, early })
    }
}

fn parts(text: &str) -> Option<Vec<&str>> {
    let good = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.split('.').map(|part| Some(part).filter(good)).collect()
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let early = match (self.early.is_empty(), other.early.is_empty()) {
            (false, false) => {
                let each = self.early.iter().zip(&other.early).map(|(a, b)| part(a, b)).find(|found| found.is_ne());
                each.unwrap_or_else(|| self.early.len().cmp(&other.early.len()))
            }
            (mine, others) => mine.cmp(&others),
        };
        self.numbers.cmp(&other.numbers).then(early)
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn part(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match (number(a), number(b)) {
        (true, true) => a.len().cmp(&b.len()).then(a.cmp(b)),
        (mine, other) => other.cmp(&mine).then(a.cmp(b)),
    }
}

/// The tag with the highest semantic version, or `None` if no tag has one. A pre-release is below
/// its release.
pub fn latest<'a>(tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let versions = tags.filter_map(|tag| Some((Version::parse(tag)?, tag)));
    versions.max().map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_the_latest() {
        let check = |tags: &str, want: Option<&str>| assert_eq!(latest(tags.split(' ')), want, "{tags}");
        check("v0.9.5 v0.10.0 v0.2.11", Some("v0.10.0"));
        check("v1.0.0-rc.2 v1.0.0-rc.10 v0.9.0", Some("v1.0.0-rc.10"));
        check("v1.0.0-rc.2 v1.0.0 v0.9.0", Some("v1.0.0"));
        check("v1.0.0-alpha.beta v1.0.0-alpha.1 v1.0.0-alpha", Some("v1.0.0-alpha.beta"));
        check("1.0.0 version v1.0.0.0 v01.0.0 v1.0.0-", None);
        check("v2 v1.9.9", Some("v2"));
    }
}
