//! The rows, one function each.

use std::time::Duration;

use crate::builds;
use crate::display;
use crate::engine::Engine;
use crate::modules;
use crate::peers;
use crate::samples::{Row, Samples};

type Measure = fn(&Engine) -> Result<Vec<Row>, String>;

/// Every row by the name that selects it.
pub(crate) fn all() -> [(&'static str, Measure); 17] {
    [
        ("start", start),
        ("memory", memory),
        ("cached", cached),
        ("exec", exec),
        ("chain", chain),
        ("progress", display::rows),
        ("tree", tree),
        ("call", call),
        ("module", module),
        ("types", modules::types),
        ("generate", modules::generate),
        ("go", modules::go),
        ("results", results),
        ("build-steps", builds::steps),
        ("build-long", builds::long),
        ("build-image", builds::image),
        ("build-folder", builds::folder),
    ]
}

const fn ms(count: u64) -> Option<Duration> {
    Some(Duration::from_millis(count))
}

/// From nothing running to the answer of the first query, the client's process included.
fn start(engine: &Engine) -> Result<Vec<Row>, String> {
    engine.query("{ version }")?;
    let mut samples = Vec::new();
    for _ in 0..engine.runs(20) {
        engine.stop();
        samples.push(Samples::of(1, |_| engine.query("{ version }").map(drop))?);
    }
    Ok(vec![Row::time("engine start to first answer", ms(50), &Samples::merged(samples))])
}

fn memory(engine: &Engine) -> Result<Vec<Row>, String> {
    engine.stop();
    engine.query("{ version }")?;
    Ok(vec![Row::memory("idle engine memory", 40_000_000, engine.memory()?)])
}

/// What one more cached field costs inside one request: a request with many of them, less one with
/// a single one.
fn cached(engine: &Engine) -> Result<Vec<Row>, String> {
    const CHAINS: u32 = 250;
    const FIELDS: u32 = 4;
    let mut session = engine.session()?;
    let document = |chains: u32| {
        let one = |at| {
            format!(
                "f{at}: directory {{ withNewFile(path: \"f{at}\", contents: \"x\") {{ file(path: \"f{at}\") {{ size }} }} }}"
            )
        };
        format!("{{ {} }}", (0..chains).map(one).collect::<Vec<_>>().join(" "))
    };
    let (many, single) = (document(CHAINS), document(1));
    session.connection.query(&many)?;
    session.connection.query(&single)?;
    let floor = Samples::of(engine.runs(500), |_| session.connection.query(&single))?;
    let all = Samples::of(engine.runs(200), |_| session.connection.query(&many))?;
    let request = Row::time("cached request of 4 fields, over HTTP", None, &floor);
    let each = all.beyond(floor.percentile(50), (CHAINS - 1) * FIELDS);
    Ok(vec![Row::time("cached field, inside the engine", Some(Duration::from_micros(50)), &each), request])
}

/// `true` in busybox: a whole request, less a request that is answered from memory.
fn exec(engine: &Engine) -> Result<Vec<Row>, String> {
    let mut session = engine.session()?;
    let document = |at: usize| {
        format!(
            "{{ container {{ from(address: \"busybox\") {{ withExec(args: [\"true\", \"{at}\"]) {{ sync }} }} }} }}"
        )
    };
    session.connection.query(&document(usize::MAX))?;
    let floor = Samples::of(engine.runs(100), |_| session.connection.query(&document(usize::MAX)))?;
    let samples = Samples::of(engine.runs(300), |at| session.connection.query(&document(at)))?;
    let own = Row::time("exec of `true`, overhead", ms(5), &samples.beyond(floor.percentile(50), 1));
    let mut rows = vec![own];
    rows.extend(peers::rows(engine)?);
    Ok(rows)
}

fn chain(engine: &Engine) -> Result<Vec<Row>, String> {
    const LENGTH: usize = 1000;
    let mut session = engine.session()?;
    let samples = Samples::of(engine.runs(3).min(3), |run| {
        let step = |at: usize| format!("withExec(args: [\"true\", \"{run}-{at}\"]) {{ ");
        let steps: String = (0..LENGTH).map(step).collect();
        let document =
            format!("{{ container {{ from(address: \"busybox\") {{ {steps} stdout {} }} }} }}", "}".repeat(LENGTH));
        session.connection.query(&document)
    })?;
    Ok(vec![Row::time("1,000 chained execs", ms(6_000), &samples)])
}

/// A folder of 100,000 files that did not change, read by one new client after the other.
fn tree(engine: &Engine) -> Result<Vec<Row>, String> {
    let folder = engine.folder().join("tree");
    for outer in 0..100 {
        let inner = folder.join(format!("d{outer}"));
        std::fs::create_dir_all(&inner).map_err(|e| format!("cannot make `{}`: {e}", inner.display()))?;
        for file in 0..1000 {
            let path = inner.join(format!("f{file}"));
            std::fs::write(&path, format!("{outer} {file}"))
                .map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
        }
    }
    let document = format!("{{ host {{ directory(path: {folder:?}) {{ digest }} }} }}");
    engine.query(&document)?;
    engine.query(&document)?;
    let samples = Samples::of(engine.runs(20), |_| engine.query(&document).map(drop))?;
    let row = Row::time("unchanged host tree of 100,000 files", ms(150), &samples);
    std::fs::remove_dir_all(&folder).map_err(|e| format!("cannot remove `{}`: {e}", folder.display()))?;
    Ok(vec![row])
}

/// Whole processes, nothing changed.
fn call(engine: &Engine) -> Result<Vec<Row>, String> {
    let module = engine.module.to_string_lossy().into_owned();
    let words = ["-s", "call", "-m", &module, "hello", "--name=bench"];
    let listing = ["-s", "functions", "-m", &module];
    engine.run(&words)?;
    engine.run(&listing)?;
    let calls = Samples::of(engine.runs(100), |_| engine.run(&words).map(drop))?;
    let listings = Samples::of(engine.runs(100), |_| engine.run(&listing).map(drop))?;
    Ok(vec![
        Row::time("`rondel call`, nothing changed, whole process", ms(10), &calls),
        Row::time("`rondel functions`, same", ms(10), &listings),
    ])
}

/// A function call that has to run, beside the bare start of the interpreter with the library.
fn module(engine: &Engine) -> Result<Vec<Row>, String> {
    let module = engine.module.to_string_lossy().into_owned();
    engine.run(&["-s", "call", "-m", &module, "hello", "--name=warm"])?;
    let samples = Samples::of(engine.runs(20), |at| {
        engine.run(&["-s", "call", "-m", &module, "hello", &format!("--name=n{at}")]).map(drop)
    })?;
    Ok(vec![Row::time("module call, Python, whole process", None, &samples)])
}

/// How much memory a remembered result takes.
fn results(engine: &Engine) -> Result<Vec<Row>, String> {
    const REQUESTS: usize = 100;
    const EACH: usize = 200;
    // What other rows left in memory, or freed, is not to count.
    let engine = engine.apart("results")?;
    let mut session = engine.session()?;
    let document = |request: usize| {
        let one =
            |at| format!("r{at}: directory {{ withNewFile(path: \"r{request}-{at}\", contents: \"x\") {{ id }} }}");
        format!("{{ {} }}", (0..EACH).map(one).collect::<Vec<_>>().join(" "))
    };
    session.connection.query(&document(REQUESTS))?;
    let before = engine.memory()?;
    for request in 0..REQUESTS {
        session.connection.query(&document(request))?;
    }
    let after = engine.memory()?;
    let results = (REQUESTS * EACH) as u64;
    Ok(vec![Row::memory("memory per cached result", 300, after.saturating_sub(before) / results)])
}
