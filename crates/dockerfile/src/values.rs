//! Small values: durations, ports.

/// A duration such as `1m30s` in nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("`{text}` is no duration: expected for example `30s` or `1m30s`");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(invalid()),
        };
        total += number * unit;
        rest = &rest[end..];
    }
    if text.is_empty() || total > 9e18 { Err(invalid()) } else { Ok(total as i64) }
}

/// The ports that one word of `EXPOSE` means: `80`, `80/udp`, `8000-8002`.
pub(crate) fn ports(text: &str) -> Result<Vec<String>, String> {
    let invalid = || format!("`{text}` is no port: expected for example `80`, `53/udp` or `8000-8010`");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(&*protocol, "tcp" | "udp" | "sctp") {
        return Err(invalid());
    }
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(invalid);
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    if first > last {
        return Err(invalid());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Names of signals without `SIG`, beside those of real-time signals.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Checks that `text` is a signal: its number, or its name with or without `SIG`.
pub(crate) fn signal(text: &str) -> Result<(), String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = name.strip_prefix("RTMIN+").or_else(|| name.strip_prefix("RTMAX-"));
    let known = match offset {
        Some(offset) => offset.parse().is_ok_and(|offset: u8| (1..=15).contains(&offset)),
        None => SIGNALS.contains(&name) || text.parse().is_ok_and(|number: u32| number > 0),
    };
    match known {
        true => Ok(()),
        false => Err(format!("`{text}` is no signal: expected for example `SIGTERM` or `15`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for good in ["SIGTERM", "term", "9", "SIGRTMIN+3", "rtmax-15"] {
            assert_eq!(signal(good), Ok(()));
        }
        for bad in ["NOPE", "", "0", "-1", "SIG", "RTMIN+16", "RTMAX-x"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, want: Option<i64>| assert_eq!(duration(text).ok(), want, "{text}");
        check("0", Some(0));
        check("1m30s", Some(90_000_000_000));
        check("1.5s", Some(1_500_000_000));
        check("250ms", Some(250_000_000));
        check("5", None);
        check("s", None);
        check("", None);
        check("1d", None);
    }

    #[test]
    fn exposed_ports() {
        let check = |text: &str, want: Option<&[&str]>| {
            let want = want.map(|ports| ports.iter().map(|&port| port.to_owned()).collect::<Vec<_>>());
            assert_eq!(ports(text).ok(), want, "{text}");
        };
        check("80", Some(&["80/tcp"]));
        check("53/UDP", Some(&["53/udp"]));
        check("1-3", Some(&["1/tcp", "2/tcp", "3/tcp"]));
        for bad in ["", "0", "3-1", "70000", "80/x", "1.2.3.4:80", "a"] {
            check(bad, None);
        }
    }
}
