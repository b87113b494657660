//! Times and amounts for people.

use rondel_events::Unit;

/// A duration of `micros` microseconds, as exact as is useful.
pub fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => elapsed(micros),
    }
}

/// A duration of `micros` microseconds, in steps that a display can show while it grows.
pub fn elapsed(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        // Cut off and not rounded, so that it agrees with the minutes after it.
        0..60 => format!("{seconds}.{}s", micros / 100_000 % 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// An amount of `count` in `unit`.
pub fn amount(count: u64, unit: Unit) -> String {
    let scaled = |unit: &str, scale: f64| format!("{:.1} {unit}", count as f64 / scale);
    match (unit, count) {
        (Unit::Items, _) => count.to_string(),
        (Unit::Bytes, 0..1_000) => format!("{count} B"),
        (Unit::Bytes, 1_000..1_000_000) => scaled("kB", 1e3),
        (Unit::Bytes, 1_000_000..1_000_000_000) => scaled("MB", 1e6),
        (Unit::Bytes, _) => scaled("GB", 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (micros, want, shown) in [
            (12, "12µs", "0.0s"),
            (1_500, "1.5ms", "0.0s"),
            (2_000_000, "2.0s", "2.0s"),
            (59_999_999, "59.9s", "59.9s"),
            (61_000_000, "1m01s", "1m01s"),
            (3_660_000_000, "1h01m", "1h01m"),
        ] {
            assert_eq!((duration(micros).as_str(), elapsed(micros).as_str()), (want, shown));
        }
    }

    #[test]
    fn amounts() {
        for (count, want) in
            [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (12_340_000, "12.3 MB"), (2_000_000_000, "2.0 GB")]
        {
            assert_eq!(amount(count, Unit::Bytes), want);
        }
        assert_eq!(amount(1_500, Unit::Items), "1500");
    }
}
