//! What events and their display cost: 1,000 execs with and without.

use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::samples::{Row, Samples};

const EXECS: usize = 1000;
/// How often both are run.
const ROUNDS: usize = 20;
/// The most that events and their display may cost, in percent.
const BUDGET: f64 = 3.0;
/// The length of a tick in which the kernel counts CPU time.
const TICK: Duration = Duration::from_millis(10);

/// What one run took.
#[derive(Clone, Copy)]
struct Cost {
    /// From its start to its end.
    time: Duration,
    /// On all processors: the client, the engine and the processes in containers. Unlike the time,
    /// it hardly depends on what else the machine does.
    cpu: Duration,
    /// As `cpu`, of the engine's own process alone. What the kernel needs for containers varies
    /// most.
    engine: Duration,
    /// As `cpu`, of the client alone.
    client: Duration,
}

/// How much longer 1,000 execs take when a client listens and draws on a terminal, than when it
/// listens to nothing. The two take turns, so that changes of the machine meet both, and each round
/// is compared by itself.
pub(crate) fn rows(engine: &Engine) -> Result<Vec<Row>, String> {
    engine.query("{ version }")?;
    let pid = engine.pid()?;
    let (mut silent, mut displayed, mut drawn) = (Vec::new(), Vec::new(), 0);
    for round in 0..engine.runs(ROUNDS) {
        for is_displayed in [round % 2 == 0, round % 2 != 0] {
            let document = document(&format!("{round}-{is_displayed}"));
            if is_displayed {
                displayed.push(cost(pid, || engine.query_on_terminal(&document).map(|bytes| drawn += bytes))?);
            } else {
                silent.push(cost(pid, || engine.query_into_nothing(&document))?);
            }
        }
    }
    if drawn == 0 {
        return Err("nothing was drawn on the terminal".into());
    }
    let overheads = |part: fn(&Cost) -> Duration| {
        let beyond = |(silent, displayed): (&Cost, &Cost)| share(part(silent), part(displayed));
        silent.iter().zip(&displayed).map(beyond).collect::<Vec<_>>()
    };
    // What one program needs for events and their display, as a share of the whole work.
    let shares = |part: fn(&Cost) -> Duration| {
        let beyond = |(silent, displayed): (&Cost, &Cost)| {
            (part(displayed).as_secs_f64() - part(silent).as_secs_f64()) / silent.cpu.as_secs_f64()
        };
        silent.iter().zip(&displayed).map(beyond).collect::<Vec<_>>()
    };
    let least = |costs: &[Cost]| costs.iter().map(|cost| cost.time).min().unwrap_or_default();
    let times = |costs: &[Cost]| costs.iter().map(|cost| cost.time).collect::<Samples>();
    Ok(vec![
        Row::percent("events and display of 1,000 execs, overhead", Some(BUDGET), overheads(|cost| cost.time)),
        Row::percent("  of CPU time", Some(BUDGET), overheads(|cost| cost.cpu)),
        Row::percent("  of CPU time, in engine and client", Some(BUDGET), shares(|cost| cost.engine + cost.client)),
        Row::percent("  of CPU time, in the client alone", Some(BUDGET), shares(|cost| cost.client)),
        Row::percent("  of the fastest runs", None, vec![share(least(&silent), least(&displayed))]),
        Row::time("  the runs without them", None, &times(&silent)),
        Row::time("  the runs with them", None, &times(&displayed)),
    ])
}

fn document(run: &str) -> String {
    let steps: String = (0..EXECS).map(|at| format!("withExec(args: [\"true\", \"{run}-{at}\"]) {{ ")).collect();
    format!("{{ container {{ from(address: \"busybox\") {{ {steps} stdout {} }} }} }}", "}".repeat(EXECS))
}

/// How much `more` is beyond `less`, where 1 is the whole of `less`.
fn share(less: Duration, more: Duration) -> f64 {
    more.as_secs_f64() / less.as_secs_f64() - 1.0
}

fn cost(engine: u64, run: impl FnOnce() -> Result<(), String>) -> Result<Cost, String> {
    let engine = engine.to_string();
    let cpu = || Ok::<_, String>([cpu_of(&engine, 0..4)?, cpu_of(&engine, 0..2)?, cpu_of("self", 2..4)?]);
    let (began, before) = (Instant::now(), cpu()?);
    run()?;
    let (time, after) = (began.elapsed(), cpu()?);
    let [all, engine, client] = std::array::from_fn(|part| after[part].saturating_sub(before[part]));
    Ok(Cost { time, cpu: all + client, engine, client })
}

/// The CPU time of a process: those of its fields `user`, `system`, `user of children` and `system
/// of children` that `fields` selects.
fn cpu_of(process: &str, fields: std::ops::Range<usize>) -> Result<Duration, String> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read `{path}`: {e}"))?;
    // The name of the program, which may hold anything, ends with the last parenthesis.
    let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let times = rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u32>().ok());
    let times: Vec<u32> = times.collect();
    let selected = times.get(fields).ok_or_else(|| format!("`{path}` tells no CPU time"))?;
    Ok(TICK * selected.iter().sum())
}
