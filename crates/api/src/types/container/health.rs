//! Health checks of containers, and `HealthcheckConfig`.

use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_model::health::{Healthcheck, InvalidDuration, format_duration, parse_duration};
use rondel_model::{Container, Value};
use rondel_session::Args;

use super::value::{change, read};
use rondel_surface::Surface;

/// The type's name.
const TYPE: &str = "HealthcheckConfig";

pub(super) fn register(surface: &mut Surface) {
    change(surface, "withDockerHealthcheck", with_healthcheck);
    change(surface, "withoutDockerHealthcheck", |c, _| Ok(c.clone().configure(Healthcheck::remove)));
    read(surface, "dockerHealthcheck", |c, _| {
        Ok(Healthcheck::of(&c.config).map_or(Value::Null, |check| Value::object(TYPE, check)))
    });
    surface.plain(TYPE, "args", |check: &Healthcheck, _| Ok(Value::strings(check.args.iter().map(String::as_str))));
    surface.plain(TYPE, "shell", |check: &Healthcheck, _| Ok(Value::Bool(check.shell)));
    surface.plain(TYPE, "retries", |check: &Healthcheck, _| Ok(Value::Int(check.retries)));
    duration(surface, "interval", |check| check.interval);
    duration(surface, "timeout", |check| check.timeout);
    duration(surface, "startPeriod", |check| check.start_period);
    duration(surface, "startInterval", |check| check.start_interval);
}

fn duration(surface: &mut Surface, field: &str, part: fn(&Healthcheck) -> Duration) {
    surface.plain(TYPE, field, move |check: &Healthcheck, _| Ok(Value::string(format_duration(part(check)))));
}

fn with_healthcheck(container: &Container, args: &Args) -> Result<Container> {
    let words = args.strings("args")?;
    if words.is_empty() {
        return Err(Fault::user("a health check needs a command"));
    }
    let shell = args.bool("shell")?;
    let duration = |name: &str| match args.opt_str(name)?.filter(|text| !text.is_empty()) {
        None => Ok(Duration::ZERO),
        Some(text) => parse_duration(&text).map_err(|error: InvalidDuration| {
            Fault::user(format!("cannot set the `{name}` of a health check: {error}"))
        }),
    };
    let check = Healthcheck {
        // A shell takes one command line.
        args: if shell { vec![words.join(" ")] } else { words },
        shell,
        interval: duration("interval")?,
        timeout: duration("timeout")?,
        start_period: duration("startPeriod")?,
        start_interval: duration("startInterval")?,
        retries: args.opt_int("retries")?.unwrap_or_default(),
    };
    if check.retries < 0 {
        return Err(Fault::user(format!("the retries of a health check must not be negative, not {}", check.retries)));
    }
    Ok(container.clone().configure(|config| check.put(config)))
}
