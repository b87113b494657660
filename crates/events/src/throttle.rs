//! Limits the progress events of one span.

use crate::event::Unit;

/// The time between two progress events of a span, in microseconds. With one event that may come
/// early, no second has more than ten.
const INTERVAL_MICROS: u64 = 125_000;

/// The progress of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgressState {
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) unit: Unit,
}

/// Decides which progress is reported.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When the next event may be emitted, in microseconds since the Unix epoch.
    next: u64,
    /// The newest progress, if it was not reported.
    pending: Option<ProgressState>,
}

impl Throttle {
    /// Takes progress at the time `now`. Returns it if it is to be reported now. The progress that
    /// completes the work may come one interval early.
    pub(crate) fn push(&mut self, progress: ProgressState, now: u64) -> Option<ProgressState> {
        let is_complete = progress.total > 0 && progress.done == progress.total;
        let allowed = if is_complete { now + INTERVAL_MICROS } else { now };
        if allowed < self.next {
            self.pending = Some(progress);
            return None;
        }
        self.next = self.next.max(now) + INTERVAL_MICROS;
        self.pending = None;
        Some(progress)
    }

    /// The newest progress, if it was not reported.
    pub(crate) fn flush(&mut self) -> Option<ProgressState> {
        self.pending.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(done: u64, total: u64) -> ProgressState {
        ProgressState { done, total, unit: Unit::Bytes }
    }

    #[test]
    fn no_second_has_more_than_ten_events() {
        // With a total of one, each event completes the work.
        for (step, total) in [(1_000, 0), (1_000, 1), (7_000, 1), (99_000, 0)] {
            let mut throttle = Throttle::default();
            let times = (0..3_000_000 / step).map(|n| 1_700_000_000_000_000 + n * step);
            let reported: Vec<u64> = times.filter(|now| throttle.push(bytes(1, total), *now).is_some()).collect();
            assert!(reported.len() >= 15, "{step} {total}: {}", reported.len());
            for first in &reported {
                let within = reported.iter().filter(|at| (*first..first + 1_000_000).contains(*at)).count();
                assert!(within <= 10, "{step} {total}: {within}");
            }
        }
    }

    #[test]
    fn the_last_progress_is_kept() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.push(bytes(1, 3), 1_000_000), Some(bytes(1, 3)));
        assert_eq!(throttle.flush(), None);
        assert_eq!(throttle.push(bytes(2, 3), 1_000_001), None);
        assert_eq!(throttle.push(bytes(3, 3), 1_000_002), Some(bytes(3, 3)));
        assert_eq!(throttle.push(bytes(3, 4), 1_000_003), None);
        assert_eq!(throttle.push(bytes(4, 4), 1_000_004), None);
        assert_eq!(throttle.flush(), Some(bytes(4, 4)));
        assert_eq!(throttle.flush(), None);
    }
}
