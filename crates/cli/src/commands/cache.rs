//! `rondel cache ls|prune|why`: lists, prunes and explains the cache.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::Method;
use rondel_engine::cache_miss_log::{Explanation, MissQuery, MissReport};
use rondel_fault::{Fault, Result};
use rondel_model::explain::{Difference, Ended};
use rondel_ports::cache::{Policy, PruneRequest, Pruned, Record, RecordKind, Size};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json_output::{json_flag, print_json};
use crate::settings::Settings;

/// The widest description in a table. Longer ones are cut.
const MAX_DESCRIPTION_COLUMNS: usize = 60;
/// The columns of a description on a narrow terminal.
const MIN_DESCRIPTION_COLUMNS: usize = 20;
/// The columns of a record beside its description.
const OTHER_COLUMNS: usize = 2 + 20 + 2 + 10 + 2 + 10 + 2 + "IN USE".len();

pub(crate) fn command() -> Command {
    let json = json_flag;
    let size = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("SIZE").value_parser(|text: &str| text.parse::<Size>()).help(help)
    };
    let kind = || {
        Arg::new("kind")
            .long("kind")
            .value_name("KIND")
            .help("Only `layer`, `blob`, `volume` or `repository`, or a record type such as `source.local`")
    };
    let matching = || {
        Arg::new("matching")
            .long("matching")
            .value_name("TEXT")
            .help("Only records with this text in their description")
    };
    Command::new("cache")
        .about("List and prune the cache, and explain why work ran")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("ls").about("List the records of the cache: description, kind, size, last use").args([
                json(),
                kind(),
                matching(),
            ]),
        )
        .subcommand(
            Command::new("prune")
                .about("Remove records that are not in use, least recently used first; without limits, all of them")
                .args([json(), kind(), matching()])
                .arg(
                    Arg::new("dry-run")
                        .long("dry-run")
                        .short('n')
                        .action(ArgAction::SetTrue)
                        .help("List the records without removing them"),
                )
                .arg(
                    Arg::new("policy")
                        .long("policy")
                        .conflicts_with_all(["keep", "min-free", "reserved"])
                        .action(ArgAction::SetTrue)
                        .help("Prune down to the limits of the engine's configuration"),
                )
                .arg(
                    Arg::new("unused-for")
                        .long("unused-for")
                        .value_name("TIME")
                        .value_parser(parse_duration)
                        .help("Only records that were not used for this long, such as `30m`, `12h` or `7d`"),
                )
                .arg(size("keep", "Stop when the cache takes no more than this"))
                .arg(size("min-free", "Stop when this much of the disk is free"))
                .arg(size("reserved", "Leave this much of the cache, however full the disk is")),
        )
        .subcommand(
            Command::new("why")
                .about("Explain why work ran: which inputs differ from the nearest earlier run")
                .arg(
                    Arg::new("work")
                        .value_name("WORK")
                        .help("Work of any session with this text in its title; default: all work of the last session"),
                )
                .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Also list work that was cached"))
                .arg(
                    Arg::new("most")
                        .long("most")
                        .value_name("N")
                        .value_parser(value_parser!(usize))
                        .default_value("50")
                        .help("List at most the last N"),
                )
                .arg(json()),
        )
}

pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("ls", m)) => list(settings, m).await,
        Some(("prune", m)) => prune(settings, m).await,
        Some(("why", m)) => why(settings, m).await,
        _ => Err(Fault::bug("a cache command without an implementation")),
    }
}

async fn request_json<T: DeserializeOwned>(
    settings: &Settings,
    method: Method,
    path: &str,
    request: &impl Serialize,
) -> Result<T> {
    let body = serde_json::to_vec(request).map_err(|e| Fault::bug("cannot encode a request").caused_by(e))?;
    let (state, launch) = settings.controlled().await?;
    let answer = rondel_client::link::ask(&state, launch.as_ref(), method, path, body).await?;
    serde_json::from_slice(&answer)
        .map_err(|e| Fault::environment("the engine answered with something unexpected").caused_by(e))
}

async fn list(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let mut records: Vec<Record> = request_json(settings, Method::GET, rondel_link::CACHE, &()).await?;
    let (kind, matching) = (matches.get_one::<String>("kind"), matches.get_one::<String>("matching"));
    records.retain(|record| {
        kind.is_none_or(|kind| kind_name(record.kind) == kind || record.record_type == *kind)
            && matching.is_none_or(|text| record.description.contains(text.as_str()))
    });
    records.sort_by_key(|record| (std::cmp::Reverse(record.last_used), record.id.clone()));
    if matches.get_flag("json") {
        return print_json(&records);
    }
    crate::output::write(&table(&records, crate::output::columns()))?;
    let total: u64 = records.iter().map(|record| record.bytes).sum();
    crate::output::write(&format!("{} in {} records\n", format_bytes(total), records.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// The records as lines. A terminal of `width` columns gets shorter descriptions, so that no line
/// is broken.
fn table(records: &[Record], width: Option<usize>) -> String {
    let most = width.map_or(MAX_DESCRIPTION_COLUMNS, |width| {
        width.saturating_sub(OTHER_COLUMNS).clamp(MIN_DESCRIPTION_COLUMNS, MAX_DESCRIPTION_COLUMNS)
    });
    let mut text = format!("{:<most$}  {:<20}  {:>10}  {:>10}  IN USE\n", "WHAT", "KIND", "SIZE", "LAST USE");
    let now = now();
    for record in records {
        let mut what: String = record.description.chars().filter(|c| !c.is_control()).take(most).collect();
        if record.description.chars().count() > most {
            what.pop();
            what.push('…');
        }
        let _ = writeln!(
            text,
            "{what:<most$}  {:<20}  {:>10}  {:>10}  {}",
            format!("{}, {}", kind_name(record.kind), record.record_type).replace(", regular", ""),
            format_bytes(record.bytes),
            format_age(now, record.last_used),
            if record.active { "yes" } else { "" }
        );
    }
    text
}

async fn prune(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let sizes = ["keep", "min-free", "reserved"].map(|name| matches.get_one::<Size>(name).copied());
    let by_policy = matches.get_flag("policy");
    let disk = match sizes.iter().flatten().any(|size| matches!(size, Size::Percent(_))) {
        true => disk_bytes(settings)?,
        false => 0,
    };
    let bytes = sizes.map(|size| size.map_or(0, |size| size.bytes(disk)));
    let policy = Policy { max_used: bytes[0], min_free: bytes[1], reserved: bytes[2], target: 0 };
    let request = PruneRequest {
        policy: (!by_policy).then_some(policy),
        unused_for: matches.get_one::<Duration>("unused-for").copied().unwrap_or_default(),
        kind: matches.get_one::<String>("kind").cloned(),
        matching: matches.get_one::<String>("matching").cloned(),
        dry_run: matches.get_flag("dry-run"),
    };
    let pruned: Pruned = request_json(settings, Method::POST, rondel_link::CACHE, &request).await?;
    if matches.get_flag("json") {
        return print_json(&pruned);
    }
    if !pruned.records.is_empty() {
        crate::output::write(&table(&pruned.records, crate::output::columns()))?;
    }
    let did = if request.dry_run { "would free" } else { "freed" };
    let (freed, left) = (format_bytes(pruned.bytes), format_bytes(pruned.left));
    crate::output::write(&format!("{did} {freed} in {} records; {left} are left\n", pruned.records.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// The size of the disk that holds the state directory.
fn disk_bytes(settings: &Settings) -> Result<u64> {
    use rondel_fault::Attempt as _;
    let state = settings.state()?;
    let found = rustix::fs::statvfs(state.path()).attempt(|| format!("look at `{}`", state.path().display()))?;
    Ok(found.f_blocks * found.f_frsize)
}

async fn why(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let request = MissQuery {
        matching: matches.get_one::<String>("work").cloned(),
        all: matches.get_flag("all"),
        most: matches.get_one("most").copied().unwrap_or_default(),
    };
    let why: MissReport = request_json(settings, Method::POST, rondel_link::WHY, &request).await?;
    if matches.get_flag("json") {
        return print_json(&why);
    }
    crate::output::write(&render_report(&why, &request))?;
    Ok(ExitCode::SUCCESS)
}

fn render_report(why: &MissReport, request: &MissQuery) -> String {
    let mut text = String::new();
    let now = now();
    match (&why.session, &request.matching) {
        (Some(session), _) => _ = writeln!(text, "session {}, {} ago", session.title, format_age(now, session.at)),
        (None, Some(asked)) if why.work.is_empty() => {
            _ = writeln!(text, "no work with `{asked}` in its title is recorded")
        }
        (None, None) => text.push_str("no session is recorded\n"),
        _ => {}
    }
    for explanation in &why.work {
        render_explanation(&mut text, explanation, now);
    }
    if why.session.is_some() {
        let _ = match (why.work.is_empty(), why.cached) {
            (true, 0) => writeln!(text, "nothing ran: every result was cached in memory"),
            (true, cached) => writeln!(text, "nothing ran: {cached} results were cached in the store"),
            (false, 0) => Ok(()),
            (false, cached) => writeln!(text, "{cached} more results were cached"),
        };
    }
    text
}

fn render_explanation(text: &mut String, explanation: &Explanation, now: i64) {
    let note = &explanation.note;
    let ended = match (note.kind.as_str(), note.ended) {
        ("import", _) if explanation.nearest.is_some() && explanation.differences.is_empty() => "unchanged",
        ("import", _) => "read",
        (_, Ended::Cached) => "cached",
        (_, Ended::Ran) => "ran",
        (_, Ended::Failed) => "failed",
    };
    let _ = writeln!(text, "{ended:<9} {}", note.title);
    let same = explanation.differences.is_empty();
    let _ = match (explanation.nearest, explanation.nearest_ended) {
        (None, _) => writeln!(text, "          nothing like it was seen before"),
        (Some(_), _) if note.ended == Ended::Cached || (note.kind == "import" && same) => Ok(()),
        (Some(at), Some(Ended::Failed)) if same => {
            writeln!(text, "          the same as {} ago, which failed: failures are not kept", format_age(now, at))
        }
        (Some(at), _) if same => {
            writeln!(
                text,
                "          the same as {} ago, whose result is not kept any more, or was not to be kept",
                format_age(now, at)
            )
        }
        (Some(at), _) => writeln!(text, "          differs from {} ago in", format_age(now, at)),
    };
    if note.ended != Ended::Cached {
        explanation.differences.iter().for_each(|difference| render_difference(text, difference));
    }
}

fn render_difference(text: &mut String, difference: &Difference) {
    let part = &difference.part;
    let _ = match (&difference.old, &difference.new) {
        _ if !difference.files.is_empty() => writeln!(text, "            {part}: {}", difference.files.join(", ")),
        (Some(old), Some(new)) => writeln!(text, "            {part}: {old} → {new}"),
        (None, Some(new)) => writeln!(text, "            {part}: (none) → {new}"),
        (Some(old), None) => writeln!(text, "            {part}: {old} → (none)"),
        (None, None) => Ok(()),
    };
}

fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Layer => "layer",
        RecordKind::Blob => "blob",
        RecordKind::Volume => "volume",
        RecordKind::Repository => "repository",
    }
}

/// Parses a time such as `30m`, `12h` or `7d`. A number without a unit is in seconds.
fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(format!("`{text}` is no time; write `30m`, `12h` or `7d`")),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is no time; write `30m`, `12h` or `7d`"))
}

fn format_bytes(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

fn format_age(now: i64, then: i64) -> String {
    let seconds = (now - then).max(0) / 1000;
    match seconds {
        _ if then == 0 => "unknown".to_owned(),
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(format_bytes(999), "999 B");
        assert_eq!(format_bytes(1_540_000), "1.5 MB");
        assert_eq!(format_age(200_000, 80_000), "2 min");
        assert_eq!(parse_duration("12h"), Ok(Duration::from_secs(43_200)));
        assert!(parse_duration("soon").is_err());
    }
}
