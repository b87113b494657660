//! Which files of a folder belong to the package on the platform of a container.

/// Operating systems that a file name may end in.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];
/// Processors that a file name may end in.
const PROCESSORS: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x",
];

/// Whether the file `path` with the content `text` is part of the package: Go code that is no test,
/// was not generated for the module, and is built for Linux on this processor.
pub fn is_built(path: &str, text: &str) -> bool {
    let Some(stem) = path.strip_suffix(".go") else { return false };
    if path.starts_with(['_', '.']) || stem.ends_with("_test") || path == "dagger.gen.go" {
        return false;
    }
    let mut parts = stem.rsplit('_');
    let last = parts.next().unwrap_or_default();
    let before = parts.next();
    let fits = match (before, before.is_some_and(|it| SYSTEMS.contains(&it)), PROCESSORS.contains(&last)) {
        (Some(system), true, true) => tag(system) && tag(last),
        (Some(_), _, true) => tag(last),
        (Some(_), _, false) if SYSTEMS.contains(&last) => tag(last),
        _ => true,
    };
    fits && constraint(text).is_none_or(|expression| Expression { rest: expression }.or())
}

/// The expression of the `//go:build` line, which is above the package clause.
fn constraint(text: &str) -> Option<&str> {
    let above = text.lines().map(str::trim).take_while(|line| !line.starts_with("package "));
    above.filter_map(|line| line.strip_prefix("//go:build ")).next()
}

/// Whether a build tag is set.
fn tag(name: &str) -> bool {
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    matches!(name, "linux" | "unix" | "gc") || name == processor || name.starts_with("go1.")
}

/// A build expression that is being evaluated.
struct Expression<'a> {
    rest: &'a str,
}

impl Expression<'_> {
    fn or(&mut self) -> bool {
        let mut value = self.and();
        while self.take("||") {
            value |= self.and();
        }
        value
    }

    fn and(&mut self) -> bool {
        let mut value = self.not();
        while self.take("&&") {
            value &= self.not();
        }
        value
    }

    fn not(&mut self) -> bool {
        let mut negated = false;
        while self.take("!") {
            negated = !negated;
        }
        if self.take("(") {
            let value = self.or();
            self.take(")");
            return value != negated;
        }
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        tag(name) != negated
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_built;

    #[test]
    fn files_of_the_package() {
        for path in ["main.go", "a_b.go", "x_linux.go", "linux.go", "a_unix.go"] {
            assert!(is_built(path, "package main"), "{path}");
        }
        for path in
            ["main_test.go", "x_windows.go", "x_darwin_amd64.go", "x_s390x.go", "dagger.gen.go", "_x.go", "x.txt"]
        {
            assert!(!is_built(path, "package main"), "{path}");
        }
        let check = |expression: &str, want: bool| {
            let text = format!("// Copyright\n\n//go:build {expression}\n\npackage main\n");
            assert_eq!(is_built("x.go", &text), want, "{expression}");
        };
        check("ignore", false);
        check("!ignore", true);
        check("linux && !(windows || ignore)", true);
        check("windows || darwin", false);
        check("go1.20 && linux", true);
        assert!(is_built("x.go", "package main\n//go:build ignore\n"));
    }
}
