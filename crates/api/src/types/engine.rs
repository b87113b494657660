//! `Engine`, `EngineCache`, `EngineCacheEntrySet` and `EngineCacheEntry`: the engine and its local
//! cache.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_ports::cache::{Policy, PruneRequest, Record, Size};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, EngineInfo, ResolverContext, client};

use rondel_surface::Surface;

/// The engine and its cache, of which there is one each.
#[derive(Debug, Clone, Copy)]
struct Engine;

/// The cache records at the time of the call.
#[derive(Debug, Clone)]
struct EntrySet(Arc<[Arc<Record>]>);

const NANOS: i64 = 1_000_000;

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "engine", |_, _, _| std::future::ready(Ok(Outcome::from(Value::object("Engine", Engine)))));
    surface.field("Engine", "name", |cx, _, _| async move { Ok(Value::string(engine_info(&cx)?.name()).into()) });
    surface.field(
        "Engine",
        "clients",
        |cx, _, _| async move { Ok(Value::strings(engine_info(&cx)?.clients()).into()) },
    );
    surface.field("Engine", "localCache", |_, _, _| {
        std::future::ready(Ok(Outcome::from(Value::object("EngineCache", Engine))))
    });
    limit(surface, "maxUsedSpace", |policy| policy.max_used);
    limit(surface, "reservedSpace", |policy| policy.reserved);
    limit(surface, "keepBytes", |policy| policy.reserved);
    limit(surface, "minFreeSpace", |policy| policy.min_free);
    limit(surface, "targetSpace", |policy| policy.target);
    surface.field("EngineCache", "entrySet", entry_set);
    surface.field("EngineCache", "prune", prune);
    surface.plain("EngineCacheEntrySet", "entries", |set: &EntrySet, _| Ok(entries(set)));
    surface.plain("EngineCacheEntrySet", "entryCount", |set: &EntrySet, _| Ok(count(set.0.len() as u64)));
    surface.plain("EngineCacheEntrySet", "diskSpaceBytes", |set: &EntrySet, _| {
        Ok(count(set.0.iter().map(|record| record.bytes).sum()))
    });
    entry(surface, "description", |record| Value::string(&*record.description));
    entry(surface, "diskSpaceBytes", |record| count(record.bytes));
    entry(surface, "activelyUsed", |record| Value::Bool(record.active));
    entry(surface, "createdTimeUnixNano", |record| Value::Int(record.created_at.saturating_mul(NANOS)));
    entry(surface, "mostRecentUseTimeUnixNano", |record| Value::Int(record.last_used.saturating_mul(NANOS)));
    entry(surface, "recordType", |record| Value::string(&*record.record_type));
    entry(surface, "recordTypes", |record| Value::strings([&*record.record_type]));
    entry(surface, "dagqlCall", |record| Value::string(&*record.call));
}

fn engine_info(cx: &ResolverContext) -> Result<Arc<dyn EngineInfo>> {
    Ok(client(&cx.caller).services.engine_info.clone())
}

fn limit(surface: &mut Surface, field: &str, of: fn(&Policy) -> u64) {
    surface.field(
        "EngineCache",
        field,
        move |cx, _, _| async move { Ok(count(of(&engine_info(&cx)?.policy())).into()) },
    );
}

fn entry(surface: &mut Surface, field: &str, of: fn(&Record) -> Value) {
    surface.plain("EngineCacheEntry", field, move |record: &Arc<Record>, _| Ok(of(record)));
}

fn count(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn entries(set: &EntrySet) -> Value {
    Value::List(set.0.iter().map(|record| Value::object("EngineCacheEntry", record.clone())).collect())
}

/// The cache records at present. The argument `key` only tells calls apart, and each selection is a
/// call of its own anyway.
async fn entry_set(cx: ResolverContext, _: Node, _: Args) -> Result<Outcome> {
    let records = engine_info(&cx)?.records().await?;
    let set = EntrySet(records.into_iter().map(Arc::new).collect());
    Ok(Value::object("EngineCacheEntrySet", set).into())
}

async fn prune(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let engine_info = engine_info(&cx)?;
    let mut policy = if args.bool("useDefaultPolicy")? { engine_info.policy() } else { Policy::default() };
    let disk = engine_info.disk();
    for (name, limit) in [
        ("maxUsedSpace", &mut policy.max_used),
        ("reservedSpace", &mut policy.reserved),
        ("minFreeSpace", &mut policy.min_free),
        ("targetSpace", &mut policy.target),
    ] {
        if let Some(text) = size_text(&args, name)? {
            // Clients match on these words.
            let size: Size = text.parse().map_err(|e| Fault::user(format!("invalid {name} value")).caused_by(e))?;
            *limit = size.bytes(disk);
        }
    }
    engine_info.prune(PruneRequest { policy: Some(policy), ..PruneRequest::default() }).await?;
    Ok(Value::Null.into())
}

/// A size argument, or `None` in views that do not have it.
fn size_text(args: &Args, name: &str) -> Result<Option<Arc<str>>> {
    if !args.field().args.iter().any(|arg| &*arg.name == name) {
        return Ok(None);
    }
    Ok(args.opt_str(name)?.filter(|text| !text.is_empty()))
}
