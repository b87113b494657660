//! Errors of `git`, classified by its messages.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use rondel_fault::{Code, Fault};

/// The reason why a run of `git` failed.
#[derive(Debug)]
pub(crate) enum GitError {
    /// It cannot be started.
    NotStarted(io::ErrorKind),
    /// It was silent for this long.
    Timeout(Duration),
    /// It ended with these messages.
    Messages(String),
    /// The server accepts no connection. The text is the reason.
    Unreachable(String),
    /// The egress rules refuse to connect to a host for this client.
    EgressRefused(Fault),
}

/// The class of an error by words in the messages of `git`. The first match counts.
const ERROR_PATTERNS: [(ErrorClass, &[&str]); 8] = [
    (ErrorClass::Full, &["No space left on device", "Disk quota exceeded"]),
    (ErrorClass::OtherKey, &["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"]),
    (
        ErrorClass::Refused,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "returned error: 401",
            "returned error: 403",
            "Permission denied (",
            "Too many authentication failures",
            "HTTP Basic: Access denied",
        ],
    ),
    (
        ErrorClass::NoHost,
        &[
            "Could not resolve host",
            "Name or service not known",
            "Temporary failure in name resolution",
            "unable to look up",
            "Could not resolve hostname",
            "No address associated with hostname",
        ],
    ),
    (
        ErrorClass::NoCommit,
        &[
            "not our ref",
            "unadvertised object",
            "couldn't find remote ref",
            "Server does not allow request for",
            // From a server of the dumb HTTP protocol.
            "error: Unable to find ",
        ],
    ),
    (
        ErrorClass::NoRepository,
        &[
            "epository not found",
            "repository not exported",
            "does not appear to be a git repository",
            "returned error: 404",
            "' not found",
            "not a git repository",
            "is this a git repository?",
        ],
    ),
    (
        ErrorClass::Unreachable,
        &[
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Network is unreachable",
            "No route to host",
            "Failed to connect",
            "Couldn't connect",
            "Connection closed by",
            "Empty reply from server",
            "Operation too slow",
            "unable to connect",
            "early EOF",
            "unexpected disconnect",
            "remote end hung up",
            "Could not read from remote repository",
        ],
    ),
    (
        ErrorClass::Certificate,
        &["SSL certificate", "server certificate verification failed", "certificate has expired"],
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorClass {
    Full,
    OtherKey,
    Refused,
    NoHost,
    NoCommit,
    NoRepository,
    Unreachable,
    Certificate,
}

impl GitError {
    fn class(&self) -> Option<ErrorClass> {
        let Self::Messages(messages) = self else { return None };
        ERROR_PATTERNS
            .iter()
            .find(|(_, words)| words.iter().any(|word| messages.contains(word)))
            .map(|(class, _)| *class)
    }

    /// Whether the server does not have a commit, or does not send it.
    pub(crate) fn is_missing_commit(&self) -> bool {
        self.class() == Some(ErrorClass::NoCommit)
    }

    /// Whether the server only supports whole histories.
    pub(crate) fn is_whole_histories_only(&self) -> bool {
        matches!(self, Self::Messages(messages) if messages.contains("does not support shallow"))
    }

    /// Whether the store may be damaged.
    pub(crate) fn is_damage(&self) -> bool {
        let words = ["bad object", "is corrupt", "loose object", "missing blob", "unable to read tree", "missing tree"];
        matches!(self, Self::Messages(messages) if words.iter().any(|word| messages.contains(word)))
    }

    /// The error of a run that used the server of `url`.
    pub(crate) fn at(&self, url: &str) -> Fault {
        // Users match on these words.
        let refused = self.class() == Some(ErrorClass::Refused);
        self.about(url).context(if refused { "git error: authentication failed" } else { "git error" })
    }

    fn about(&self, url: &str) -> Fault {
        let url = without_password(url);
        if let Self::EgressRefused(fault) = self {
            return fault.clone().context(format!("cannot read the repository `{url}`"));
        }
        let fault = match self.class() {
            // Users match on the first words; see behaviour GIT-019 and XS-004.
            Some(ErrorClass::Refused) => Fault::denied(format!("Authentication failed for `{url}`")).with_hint(
                "pass `httpAuthToken` or `httpAuthHeader`, or `sshAuthSocket` for SSH; or set up a credential helper for `git`",
            ),
            Some(ErrorClass::OtherKey) => Fault::denied(format!("the SSH server of `{url}` is not the one that is known"))
                .with_hint("its host key is another one, or `sshKnownHosts` does not list it"),
            Some(ErrorClass::NoHost) => Fault::environment(format!("cannot find the host of `{url}`")),
            Some(ErrorClass::NoRepository) => Fault::user(format!("there is no git repository at `{url}`"))
                .with_hint("some servers say the same when a repository is private"),
            Some(ErrorClass::Unreachable) => Fault::environment(format!("cannot reach `{url}`")),
            Some(ErrorClass::Certificate) => Fault::environment(format!("the certificate of `{url}` is not trusted"))
                .with_hint("set `SSL_CERT_FILE` for the engine to a bundle with its authority"),
            None if matches!(self, Self::Unreachable(_)) => Fault::environment(format!("cannot reach `{url}`")),
            _ => return self.or_local(&format!("read the git repository `{url}`")),
        };
        fault.caused_by(io::Error::other(self.said()))
    }

    /// The error of `git SUBCOMMAND` on local directories.
    pub(crate) fn on_folder(&self, subcommand: &OsStr) -> Fault {
        self.or_local(&format!("run `git {}`", subcommand.to_string_lossy()))
    }

    fn or_local(&self, doing: &str) -> Fault {
        match self {
            Self::NotStarted(io::ErrorKind::NotFound) => Fault::environment("cannot run `git`: it is not installed")
                .with_hint("install it on the machine of the engine, such as with `apt-get install git`"),
            Self::NotStarted(kind) => Fault::environment(format!("cannot run `git`: {kind}")),
            Self::Timeout(timeout) => {
                Fault::environment(format!("cannot {doing}: nothing was heard for {} seconds", timeout.as_secs()))
            }
            Self::Messages(_) if self.class() == Some(ErrorClass::Full) => {
                Fault::environment(format!("cannot {doing}: the disk is full")).with_code(Code::ResourceExhausted)
            }
            Self::EgressRefused(fault) => fault.clone().context(format!("cannot {doing}")),
            Self::Messages(_) | Self::Unreachable(_) => {
                Fault::environment(format!("cannot {doing}")).caused_by(io::Error::other(self.said()))
            }
        }
    }

    /// The last lines that give the reason.
    fn said(&self) -> String {
        let messages = match self {
            Self::Messages(messages) => messages,
            Self::Unreachable(reason) => return reason.clone(),
            Self::EgressRefused(fault) => return fault.full_message(),
            Self::NotStarted(_) | Self::Timeout(_) => return String::new(),
        };
        let lines = messages.lines().flat_map(|line| line.rsplit('\r').next()).map(str::trim);
        let telling: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let blames = |line: &&&str| ["fatal:", "error:", "ERROR", "remote:", "ssh:"].iter().any(|w| line.contains(w));
        let blamed: Vec<&str> = telling.iter().filter(blames).copied().collect();
        let told = if blamed.is_empty() { telling } else { blamed };
        told[told.len().saturating_sub(4)..].join("; ")
    }
}

/// An address without its password.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_understood() {
        let check = |said: &str, want: &str| {
            let told = GitError::Messages(said.to_owned()).at("https://me:pw@h/r").full_message();
            assert!(told.starts_with("git error: ") && told.contains(want) && !told.contains("me:pw"), "{told}");
        };
        let denied = "fatal: could not read Username for 'http://h': terminal prompts disabled";
        check(denied, "git error: authentication failed: Authentication failed for `https://me@h/r`");
        check("git@h: Permission denied (publickey).\nfatal: Could not read", "Authentication failed");
        check("fatal: unable to access 'x': Could not resolve host: h", "cannot find the host");
        check("fatal: repository 'http://h/r/' not found", "there is no git repository");
        check("fatal: remote error: access denied or repository not exported: /r", "there is no git repository");
        check("fatal: unable to connect to h:\nh[0: 127.0.0.1]: errno=Connection refused", "cannot reach");
        check("error: file write error: No space left on device\nfatal: index-pack failed", "the disk is full");
        check("warning: x\nfatal: something else", "fatal: something else");
        assert!(GitError::Messages("fatal: remote error: upload-pack: not our ref 12".into()).is_missing_commit());
        assert!(GitError::Messages("error: Unable to find 12 under http://h/r".into()).is_missing_commit());
        let dumb = GitError::Messages("fatal: dumb http transport does not support shallow capabilities".into());
        assert!(dumb.is_whole_histories_only() && !dumb.is_missing_commit());
        let away = GitError::Unreachable("connection refused".into()).at("git://h/r").full_message();
        assert!(away.contains("cannot reach `git://h/r`") && away.contains("connection refused"), "{away}");
        let missing = GitError::NotStarted(io::ErrorKind::NotFound).at("x");
        assert!(missing.full_message().contains("not installed") && !missing.hints().is_empty());
    }
}
