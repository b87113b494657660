//! Durations, and how a row of the table shows them.

use std::fmt;
use std::time::{Duration, Instant};

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut all: Vec<Duration> = durations.into_iter().collect();
        all.sort();
        Self(all)
    }
}

/// Measured durations.
#[derive(Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Runs `work` some times and measures each.
    pub(crate) fn of(runs: usize, mut work: impl FnMut(usize) -> Result<(), String>) -> Result<Self, String> {
        let mut samples = Self::default();
        for run in 0..runs {
            let started = Instant::now();
            work(run)?;
            samples.0.push(started.elapsed());
        }
        samples.0.sort();
        Ok(samples)
    }

    /// The samples of several rounds as one.
    pub(crate) fn merged(rounds: Vec<Self>) -> Self {
        let mut all: Vec<Duration> = rounds.into_iter().flat_map(|r| r.0).collect();
        all.sort();
        Self(all)
    }

    /// The value below which the given hundredth of the samples lies.
    pub(crate) fn percentile(&self, hundredth: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((self.0.len() * hundredth / 100).min(last)).copied().unwrap_or_default()
    }

    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }

    /// What each sample took beyond `floor`, per unit.
    pub(crate) fn beyond(self, floor: Duration, units: u32) -> Self {
        Self(self.0.into_iter().map(|d| d.saturating_sub(floor) / units).collect())
    }
}

/// One line of the table.
pub(crate) struct Row {
    name: String,
    budget: String,
    median: String,
    high: String,
    runs: usize,
    verdict: &'static str,
}

impl Row {
    pub(crate) const HEAD: &'static str = "\
| row                                             | budget    | p50       | p95       | runs |      |
|-------------------------------------------------|-----------|-----------|-----------|------|------|";

    /// A row about time.
    pub(crate) fn time(name: &str, budget: Option<Duration>, samples: &Samples) -> Self {
        let (median, high) = (samples.percentile(50), samples.percentile(95));
        let verdict = match budget {
            None => "",
            Some(budget) if median <= budget => "ok",
            Some(_) => "over",
        };
        Self {
            name: name.into(),
            budget: budget.map(show).unwrap_or_default(),
            median: show(median),
            high: show(high),
            runs: samples.runs(),
            verdict,
        }
    }

    /// A row about shares, where 1 is the whole. The budget is in percent.
    pub(crate) fn percent(name: &str, budget: Option<f64>, mut shares: Vec<f64>) -> Self {
        shares.sort_by(f64::total_cmp);
        let at = |hundredth: usize| {
            let last = shares.len().saturating_sub(1);
            shares.get((shares.len() * hundredth / 100).min(last)).copied().unwrap_or_default() * 100.0
        };
        let (median, high) = (at(50), at(95));
        let verdict = match budget {
            None => "",
            Some(budget) if median <= budget => "ok",
            Some(_) => "over",
        };
        Self {
            name: name.into(),
            budget: budget.map(|budget| format!("{budget:.1} %")).unwrap_or_default(),
            median: format!("{median:.1} %"),
            high: format!("{high:.1} %"),
            runs: shares.len(),
            verdict,
        }
    }

    /// A row about memory, in bytes.
    pub(crate) fn memory(name: &str, budget: u64, bytes: u64) -> Self {
        let show = |bytes: u64| match bytes {
            0..10_000 => format!("{bytes} B"),
            _ => format!("{:.1} MB", bytes as f64 / 1e6),
        };
        let verdict = if bytes <= budget { "ok" } else { "over" };
        Self { name: name.into(), budget: show(budget), median: show(bytes), high: String::new(), runs: 1, verdict }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, budget, median, high, runs, verdict } = self;
        write!(f, "| {name:<47} | {budget:>9} | {median:>9} | {high:>9} | {runs:>4} | {verdict:<4} |")
    }
}

fn show(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        m if m < 1_000.0 => format!("{m:.1} µs"),
        m if m < 1_000_000.0 => format!("{:.2} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}
