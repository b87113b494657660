//! Turns events into the log for operators and into metrics.
//!
//! *Invariants.* Every event goes on to the client unchanged. A cached result makes no line at the
//! default level. Output of processes is not logged.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rondel_events::{Attribute, Event, Outcome, Sink, SpanId, Unit, Work};
use rondel_fault::{Kind, lock};
use rondel_query::Response;

use crate::instruments::Instruments;

/// Counts the errors of an answer to a client's request, and logs those that are not the client's
/// own.
pub(crate) fn report_errors(session: &str, client: &str, response: &Response, instruments: &Instruments) {
    for error in &response.errors {
        instruments.error(&error.fault);
        let (code, error) = (error.fault.code().as_str(), &error.fault);
        match error.kind() {
            Kind::Bug => tracing::error!(session, client, code, error = error.full_message(), "request failed"),
            Kind::Environment => tracing::warn!(session, client, code, error = error.full_message(), "request failed"),
            _ => tracing::debug!(session, client, code, error = error.full_message(), "request failed"),
        }
    }
}

/// Logs the work of one client.
pub(crate) struct OperatorLog {
    session: Arc<str>,
    client: Arc<str>,
    /// Where the client gets its events.
    inner: Arc<dyn Sink>,
    instruments: Arc<Instruments>,
    open: Mutex<HashMap<SpanId, OpenSpan>>,
}

/// Work that has not ended.
struct OpenSpan {
    work: Work,
    title: String,
    started: u64,
    call: Option<Arc<str>>,
    exec: Option<String>,
    exit_code: Option<i32>,
    bytes: u64,
}

impl OperatorLog {
    /// A sink for the client `client` of `session`, whose events go on to `inner`.
    pub(crate) fn new(
        session: Arc<str>,
        client: Arc<str>,
        inner: Arc<dyn Sink>,
        instruments: Arc<Instruments>,
    ) -> Arc<Self> {
        Arc::new(Self { session, client, inner, instruments, open: Mutex::default() })
    }

    /// How many spans have not ended.
    #[cfg(test)]
    pub(crate) fn open_spans(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SpanId, OpenSpan>> {
        lock(&self.open)
    }

    fn start(&self, id: SpanId, work: Work, title: &str, started: u64) {
        if !matches!(work, Work::Exec | Work::Service | Work::Function | Work::Load | Work::Pull | Work::Push) {
            return;
        }
        let span =
            OpenSpan { work, title: title.to_owned(), started, call: None, exec: None, exit_code: None, bytes: 0 };
        self.open().insert(id, span);
        if matches!(work, Work::Exec | Work::Service) {
            self.instruments.execs_running.inc();
        }
    }

    fn progress(&self, id: SpanId, done: u64) {
        if let Some(span) = self.open().get_mut(&id).filter(|span| span.work == Work::Pull) {
            self.instruments.pull_bytes.inc_by(done.saturating_sub(span.bytes));
            span.bytes = span.bytes.max(done);
        }
    }

    fn end(&self, id: SpanId, outcome: &Outcome, at: u64) {
        let Some(span) = self.open().remove(&id) else { return };
        let duration = Duration::from_micros(at.saturating_sub(span.started));
        let ran = matches!(outcome, Outcome::Done | Outcome::Failed(_));
        match span.work {
            Work::Exec | Work::Service => {
                self.instruments.execs_running.dec();
                if ran {
                    self.instruments.exec_ended(duration);
                }
            }
            Work::Function if ran => _ = self.instruments.functions_run.inc(),
            Work::Function if *outcome == Outcome::Cached => _ = self.instruments.functions_cached.inc(),
            _ => {}
        }
        self.log(&span, outcome, duration);
    }

    fn log(&self, span: &OpenSpan, outcome: &Outcome, duration: Duration) {
        let (what, result) = (noun(span.work), result(outcome, span.exit_code));
        let (session, client) = (&*self.session, &*self.client);
        let (call, exec) = (span.call.as_deref(), span.exec.as_deref());
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (exit_code, title) = (span.exit_code, span.title.as_str());
        // A process that ended has an exit code, which says all that its error does.
        let error = match outcome {
            Outcome::Failed(why) if exit_code.is_none() => Some(why.as_str()),
            _ => None,
        };
        let bytes = (span.work == Work::Pull && span.bytes > 0).then_some(span.bytes);
        let quiet = *outcome == Outcome::Cached || matches!(span.work, Work::Function | Work::Load);
        // The level of a line is part of its static data, so that there is one macro for each.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    session,
                    client,
                    call,
                    exec,
                    title,
                    exit_code,
                    duration_ms,
                    bytes,
                    error,
                    "{what} {result}"
                )
            };
        }
        match (quiet, error) {
            (true, _) => line!(debug),
            (false, Some(_)) => line!(warn),
            (false, None) => line!(info),
        }
    }
}

fn noun(work: Work) -> &'static str {
    match work {
        Work::Exec => "exec",
        Work::Service => "service",
        Work::Function => "function call",
        Work::Load => "module load",
        Work::Pull => "pull",
        Work::Push => "push",
        Work::Sync | Work::Files | Work::Other => "work",
    }
}

fn result(outcome: &Outcome, exit_code: Option<i32>) -> &'static str {
    match outcome {
        Outcome::Done if exit_code.is_some_and(|code| code != 0) => "finished with an exit code that is allowed",
        Outcome::Done => "finished",
        Outcome::Cached => "was cached",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled => "was cancelled",
    }
}

impl Sink for OperatorLog {
    fn emit(&self, event: Event) {
        match &event {
            Event::Start { span, work, name, at, .. } => self.start(*span, *work, name, *at),
            Event::Progress { span, done, unit: Unit::Bytes, .. } => self.progress(*span, *done),
            Event::End { span, outcome, at } => self.end(*span, outcome, *at),
            Event::Waiting { .. } | Event::Running { .. } | Event::Log { .. } | Event::Progress { .. } => {}
        }
        self.inner.emit(event);
    }

    fn explain(&self, span: SpanId, parts: &dyn Fn() -> Vec<(String, String)>) {
        self.inner.explain(span, parts);
    }

    fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.inner.redact(text)
    }

    fn attribute(&self, span: SpanId, attribute: &Attribute) {
        if let Some(found) = self.open().get_mut(&span) {
            match attribute {
                Attribute::CallId(id) => found.call = Some(id.clone()),
                Attribute::ExecId(id) => found.exec = Some(id.clone()),
                Attribute::ExitCode(code) => found.exit_code = Some(*code),
            }
        }
        self.inner.attribute(span, attribute);
    }
}

#[cfg(test)]
mod tests {
    use rondel_events::{Emitter, Nowhere};

    use super::*;

    #[test]
    fn ended_spans_are_forgotten() {
        let (session, client): (Arc<str>, Arc<str>) = ("s".into(), "c".into());
        let log = OperatorLog::new(session, client, Arc::new(Nowhere), Arc::default());
        let events = Emitter::new(log.clone());
        let root = events.span(Work::Function, "function");
        for at in 0..100_000 {
            let work = [Work::Exec, Work::Service, Work::Pull, Work::Load, Work::Other][at % 5];
            let span = root.emitter().span(work, "work");
            span.emitter().attribute(&Attribute::ExecId("e".into()));
            span.end(if at % 2 == 0 { Outcome::Done } else { Outcome::Cancelled });
        }
        assert_eq!(log.open_spans(), 1);
        root.end(Outcome::Done);
        assert_eq!(log.open_spans(), 0);
        assert_eq!(log.instruments.execs_running.get(), 0);
    }
}
