//! The lifecycle of the engine: starts it, serves its socket, and stops it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use rondel_fault::{Attempt as _, Result};
use rondel_web::ServerLimits;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::Engine;
use crate::wiring::{self, ServeOptions};

/// How many connections to the engine's socket may be open at a time.
const MAX_CONNECTIONS: usize = 4096;
/// How often the engine checks whether it is idle.
const IDLE_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long running work may take to stop when the engine ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs an engine until a signal, a request to stop, or idleness ends it.
///
/// # Errors
/// When the engine cannot start: another engine has the state directory, the kernel refuses, or the
/// disk is full.
pub async fn serve(mut options: ServeOptions) -> Result<()> {
    let idle = options.config.idle();
    let engine = wiring::wire(&options).await?;
    // The store's lock is held: a directory that the engine refuses gets no log.
    engine.log.open_file(&options.state_dir.join(rondel_link::LOG));
    let collecting = tokio::spawn(engine.gc.clone().run(engine.ending.clone()));
    if let Some(address) = options.config.metrics {
        crate::metrics::serve(engine.clone(), address, engine.ending.clone()).await?;
    }
    let socket = options.state_dir.join(rondel_link::SOCKET);
    // The store's lock is held: an existing socket is left from an engine that was killed.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).attempt(|| format!("listen on `{}`", socket.display()))?;
    std::fs::set_permissions(&socket, Permissions::from_mode(0o600))
        .attempt(|| format!("protect `{}`", socket.display()))?;
    log_start(&engine, &options);
    if let Some(ready) = options.ready.take() {
        ready();
    }
    let ending = engine.ending.clone();
    let limits = ServerLimits::for_connections(MAX_CONNECTIONS);
    let server = tokio::spawn(rondel_web::serve(listener, crate::endpoint::routes(engine.clone()), limits, ending));
    let reason = until_end(&engine, idle).await?;
    let (clients, evaluations) = (engine.clients.len(), engine.api.evaluator.graph().running());
    tracing::info!(reason, clients, evaluations, "engine is stopping");
    let _ = std::fs::remove_file(&socket);
    engine.ending.cancel();
    let _ = tokio::time::timeout(STOP_TIMEOUT, server).await;
    wait_for_evaluations(&engine).await;
    let _ = tokio::time::timeout(STOP_TIMEOUT, collecting).await;
    tracing::info!(uptime_s = engine.started.elapsed().as_secs(), "engine stopped");
    Ok(())
}

fn log_start(engine: &Engine, options: &ServeOptions) {
    let warnings = engine.warnings();
    tracing::info!(
        version = crate::VERSION,
        commit = options.commit,
        api_version = %rondel_version::ENGINE,
        pid = std::process::id(),
        state_dir = %options.state_dir.display(),
        rootless = options.rootless,
        warnings = warnings.len(),
        "engine started"
    );
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}

/// Waits for the end, and returns its reason.
async fn until_end(engine: &Arc<Engine>, idle: Option<Duration>) -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).attempt(|| "listen for signals".into())?;
    let mut interrupt = signal(SignalKind::interrupt()).attempt(|| "listen for signals".into())?;
    let mut tick = tokio::time::interval(IDLE_POLL_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            () = engine.ending.cancelled() => return Ok("request"),
            _ = tick.tick() => {
                if idle.is_some_and(|limit| engine.clients.idle().is_some_and(|since| since >= limit)) {
                    return Ok("idle");
                }
            }
        }
    }
}

/// Waits for running evaluations. Their clients are gone, so they are being cancelled.
async fn wait_for_evaluations(engine: &Arc<Engine>) {
    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while engine.api.evaluator.graph().running() > 0 && tokio::time::Instant::now() < deadline {
        tick.tick().await;
    }
}
