//! Health checks of images, and Go durations as used in them.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::image_config::ImageConfig;

/// The field of an image's configuration that holds the health check.
const FIELD: &str = "Healthcheck";

/// The health check of an image. Zero durations and numbers mean the default of the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    /// The command.
    pub args: Vec<String>,
    /// The command is one line for the image's shell.
    pub shell: bool,
    /// The time between two checks.
    pub interval: Duration,
    /// The time after which a check counts as failed.
    pub timeout: Duration,
    /// The time during which failures do not count.
    pub start_period: Duration,
    /// The time between two checks of that period.
    pub start_interval: Duration,
    /// How many failures in a row count.
    pub retries: i64,
}

impl Healthcheck {
    /// The health check of an image. `None` if it has none or disables it.
    pub fn of(config: &ImageConfig) -> Option<Self> {
        let check = config.other.get(FIELD)?.as_object()?;
        let test = check.get("Test")?.as_array()?;
        let mut words = test.iter().map(|word| word.as_str().unwrap_or_default().to_owned());
        let shell = match words.next()?.as_str() {
            "CMD" => false,
            "CMD-SHELL" => true,
            _ => return None,
        };
        let duration = |name: &str| Duration::from_nanos(check.get(name).and_then(Value::as_u64).unwrap_or_default());
        Some(Self {
            args: words.collect(),
            shell,
            interval: duration("Interval"),
            timeout: duration("Timeout"),
            start_period: duration("StartPeriod"),
            start_interval: duration("StartInterval"),
            retries: check.get("Retries").and_then(Value::as_i64).unwrap_or_default(),
        })
    }

    /// Sets the health check of an image.
    pub fn put(&self, config: &mut ImageConfig) {
        let kind = if self.shell { "CMD-SHELL" } else { "CMD" };
        let test: Vec<&str> = std::iter::once(kind).chain(self.args.iter().map(String::as_str)).collect();
        let mut check = Map::new();
        check.insert("Test".into(), json!(test));
        let durations = [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
        ];
        for (name, duration) in durations.into_iter().filter(|(_, duration)| !duration.is_zero()) {
            check.insert(name.into(), json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)));
        }
        if self.retries != 0 {
            check.insert("Retries".into(), json!(self.retries));
        }
        config.other.insert(FIELD.into(), Value::Object(check));
    }

    /// Removes the health check of an image.
    pub fn remove(config: &mut ImageConfig) {
        config.other.shift_remove(FIELD);
    }
}

/// The text is not a duration such as `1m30s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration `{0}`: expected numbers with units, such as `1m30s` or `500ms`")]
pub struct InvalidDuration(pub String);

/// The units of durations in nanoseconds. A unit stands before its prefixes.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// Reads a duration such as `1h2m3.5s`; `0` needs no unit.
///
/// # Errors
/// When the text is not a duration, is negative, or longer than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanoseconds = 0.0_f64;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(invalid)?;
        nanoseconds += number * factor;
        rest = &rest[unit.len()..];
    }
    const MAX_NANOSECONDS: f64 = i64::MAX as f64;
    if nanoseconds > MAX_NANOSECONDS {
        return Err(invalid());
    }
    Ok(Duration::from_nanos(nanoseconds.round() as u64))
}

/// A duration in its normal form: `1m0s`, `1.5s`, `300ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds < 1_000_000_000 {
        return match nanoseconds {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => decimal(nanoseconds, 3, "µs"),
            _ => decimal(nanoseconds, 6, "ms"),
        };
    }
    let minutes = nanoseconds / 60_000_000_000;
    let seconds = decimal(nanoseconds % 60_000_000_000, 9, "s");
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// Formats `value` with its last `digits` digits after a point, without trailing zeros.
fn decimal(value: u128, digits: usize, unit: &str) -> String {
    let scale = 10_u128.pow(u32::try_from(digits).unwrap_or_default());
    let fraction = format!("{:0digits$}", value % scale);
    match fraction.trim_end_matches('0') {
        "" => format!("{}{unit}", value / scale),
        fraction => format!("{}.{fraction}{unit}", value / scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_normal_form() {
        let check = |text: &str, want: &str| {
            let got = parse_duration(text).map(format_duration);
            assert_eq!(got.as_deref(), Ok(want), "{text}");
        };
        check("60s", "1m0s");
        check("25s", "25s");
        check("1500ms", "1.5s");
        check("90m", "1h30m0s");
        check("0", "0s");
        check("0s", "0s");
        check("1.5us", "1.5µs");
        check("250ms", "250ms");
        check("1h2m3.25s", "1h2m3.25s");
        for bad in ["", "1", "s", "-1s", "1x", "1s2", "9999999h", "1..2s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_health_check_goes_into_a_configuration_and_back() {
        let check = Healthcheck {
            args: vec!["curl".into(), "x".into()],
            interval: Duration::from_secs(25),
            start_period: Duration::from_secs(60),
            retries: 3,
            ..Healthcheck::default()
        };
        let mut config = ImageConfig::default();
        check.put(&mut config);
        let written = json!({"Test": ["CMD", "curl", "x"], "Interval": 25_000_000_000_u64,
            "StartPeriod": 60_000_000_000_u64, "Retries": 3});
        assert_eq!(config.other["Healthcheck"], written);
        assert_eq!(Healthcheck::of(&config), Some(check));
        config.other.insert("Healthcheck".into(), json!({"Test": ["NONE"]}));
        assert_eq!(Healthcheck::of(&config), None);
    }
}
