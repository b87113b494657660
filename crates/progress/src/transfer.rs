//! The progress of one span, and its rate.

use rondel_events::Unit;

use crate::units::amount;

/// The rate is that of at least this time, so that it does not jump.
const WINDOW_MICROS: u64 = 2_000_000;
/// No rate is shown for less time.
const MIN_RATE_MICROS: u64 = 500_000;

/// How much of a span's work is done. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Units done.
    pub done: u64,
    /// All units. Zero if unknown.
    pub total: u64,
    /// The unit.
    pub unit: Unit,
    /// When, and how much was done then: at the first report, at the beginning of the window
    /// before, at the beginning of the present one, and at the last report.
    first: (u64, u64),
    before: (u64, u64),
    window: (u64, u64),
    last: (u64, u64),
}

impl Transfer {
    /// The first report.
    pub fn new(done: u64, total: u64, unit: Unit, now: u64) -> Self {
        let point = (now, done);
        Self { done, total, unit, first: point, before: point, window: point, last: point }
    }

    /// A further report.
    pub fn update(&mut self, done: u64, total: u64, unit: Unit, now: u64) {
        if done < self.done {
            // It started anew.
            *self = Self::new(done, total, unit, now);
            return;
        }
        (self.done, self.total, self.unit, self.last) = (done, total, unit, (now, done));
        if now.saturating_sub(self.window.0) >= WINDOW_MICROS {
            self.before = self.window;
            self.window = self.last;
        }
    }

    /// What is done and at which rate, such as `12.0 MB of 48.1 MB, 5.2 MB/s`.
    pub fn describe(&self) -> String {
        let done = amount(self.done, self.unit);
        let of = match self.total {
            0 => done,
            total if self.done >= total => amount(total, self.unit),
            total => format!("{done} of {}", amount(total, self.unit)),
        };
        match rate(self.before, self.last) {
            Some(rate) if self.unit == Unit::Bytes => format!("{of}, {}/s", amount(rate, self.unit)),
            _ => of,
        }
    }

    /// What was done in all, and at which rate, for a span that has ended.
    pub fn summary(&self) -> String {
        let done = amount(self.done, self.unit);
        match rate(self.first, self.last) {
            Some(rate) if self.unit == Unit::Bytes => format!("{done}, {}/s", amount(rate, self.unit)),
            _ => done,
        }
    }
}

/// Units per second between two points. `None` if they are too close.
fn rate(from: (u64, u64), to: (u64, u64)) -> Option<u64> {
    let micros = to.0.saturating_sub(from.0);
    let units = to.1.saturating_sub(from.1);
    if micros < MIN_RATE_MICROS || units == 0 {
        return None;
    }
    u64::try_from(u128::from(units) * 1_000_000 / u128::from(micros)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let mut transfer = Transfer::new(0, 50_000_000, Unit::Bytes, 0);
        assert_eq!(transfer.describe(), "0 B of 50.0 MB");
        transfer.update(5_000_000, 50_000_000, Unit::Bytes, 1_000_000);
        assert_eq!(transfer.describe(), "5.0 MB of 50.0 MB, 5.0 MB/s");
        // Later it is slower. The rate follows within two windows.
        for second in 2..=6 {
            transfer.update(4_000_000 + second * 1_000_000, 50_000_000, Unit::Bytes, second * 1_000_000);
        }
        assert_eq!(transfer.describe(), "10.0 MB of 50.0 MB, 1.0 MB/s");
        assert_eq!(transfer.summary(), "10.0 MB, 1.7 MB/s");
        transfer.update(1_000, 50_000_000, Unit::Bytes, 7_000_000);
        assert_eq!(transfer.describe(), "1.0 kB of 50.0 MB");
    }

    #[test]
    fn items_have_no_rate() {
        let mut transfer = Transfer::new(0, 0, Unit::Items, 0);
        transfer.update(1_200, 0, Unit::Items, 2_000_000);
        assert_eq!(transfer.describe(), "1200");
    }
}
