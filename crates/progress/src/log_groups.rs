//! Groups of lines that the log of a CI service folds.

/// The CI service whose log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogGroups {
    /// None: lines are not grouped.
    #[default]
    None,
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
}

impl LogGroups {
    /// Whether lines are grouped.
    pub fn are_used(self) -> bool {
        self != LogGroups::None
    }

    /// The lines of the group number `number`. `now` is in microseconds since the Unix epoch.
    pub fn group(self, number: usize, title: &str, lines: Vec<String>, now: u64) -> Vec<String> {
        let seconds = now / 1_000_000;
        let (first, last) = match self {
            LogGroups::None => (title.to_owned(), None),
            LogGroups::GitHub => (format!("::group::{title}"), Some("::endgroup::".to_owned())),
            LogGroups::GitLab => {
                let section = |what: &str, options: &str| {
                    format!("\x1b[0Ksection_{what}:{seconds}:rondel_{number}{options}\r\x1b[0K")
                };
                (section("start", "[collapsed=true]") + title, Some(section("end", "")))
            }
        };
        std::iter::once(first).chain(lines).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_its_marks() {
        let group = |groups: LogGroups| groups.group(3, "exec a", vec!["out".into()], 9_000_000);
        assert_eq!(group(LogGroups::None), ["exec a", "out"]);
        assert_eq!(group(LogGroups::GitHub), ["::group::exec a", "out", "::endgroup::"]);
        let start = "\x1b[0Ksection_start:9:rondel_3[collapsed=true]\r\x1b[0Kexec a";
        assert_eq!(group(LogGroups::GitLab), [start, "out", "\x1b[0Ksection_end:9:rondel_3\r\x1b[0K"]);
    }
}
