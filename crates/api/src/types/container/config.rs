//! The image configuration of a container: entrypoint, arguments, user, working directory,
//! labels, ports, annotations.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::container::PortNote;
use rondel_model::{Container, ImageConfig, Table, Value};
use rondel_session::Args;

use super::value::{change, read};
use crate::inputs;
use crate::locate::touched;
use crate::types::plain_objects;
use rondel_surface::{Surface, surface};

pub(super) fn register(surface: &mut Surface) {
    commands(surface);
    labels(surface);
    ports(surface);
    read(surface, "user", |c, _| Ok(Value::string(&*c.config.user)));
    read(surface, "workdir", |c, _| Ok(Value::string(workdir(&c.config))));
    read(surface, "platform", |c, _| Ok(Value::string(c.platform.to_string())));
    change(surface, "withUser", |c, args| {
        let name = args.str("name")?;
        Ok(c.clone().configure(|config| config.user = name.to_string()))
    });
    change(surface, "withoutUser", |c, _| Ok(c.clone().configure(|config| config.user.clear())));
    change(surface, "withWorkdir", |c, args| {
        let path = inputs::path(c, args, "path")?;
        Ok(c.clone().configure(|config| config.working_dir = path.to_string()))
    });
    change(surface, "withoutWorkdir", |c, _| Ok(c.clone().configure(|config| config.working_dir.clear())));
    change(surface, "withAnnotation", |c, args| {
        let mut c = touched(c);
        c.annotations.append(args.str("name")?, args.str("value")?);
        Ok(c)
    });
    change(surface, "withoutAnnotation", without_annotation);
    change(surface, "withError", with_error);
    for field in ["experimentalWithGPU", "experimentalWithAllGPUs"] {
        change(surface, field, |c, _| {
            Ok(failing(c, "GPU support is not enabled: this engine gives no GPUs to containers"))
        });
    }
    for field in ["pipeline", "withFocus", "withoutFocus"] {
        surface.field("Container", field, surface::same);
    }
}

fn workdir(config: &ImageConfig) -> &str {
    if config.working_dir.is_empty() { "/" } else { &config.working_dir }
}

fn commands(surface: &mut Surface) {
    read(surface, "entrypoint", |c, _| Ok(words(c.config.entrypoint.as_deref())));
    read(surface, "defaultArgs", |c, _| Ok(words(c.config.cmd.as_deref())));
    change(surface, "withEntrypoint", |c, args| {
        let entrypoint = args.strings("args")?;
        with_entrypoint(c, args, Some(entrypoint).filter(|words| !words.is_empty()))
    });
    change(surface, "withoutEntrypoint", |c, args| with_entrypoint(c, args, None));
    change(surface, "withDefaultArgs", |c, args| {
        let words = args.strings("args")?;
        let mut c = c.clone().configure(|config| config.cmd = Some(words));
        c.default_args_set = true;
        Ok(c)
    });
    change(surface, "withoutDefaultArgs", |c, _| {
        let mut c = c.clone().configure(|config| config.cmd = None);
        c.default_args_set = false;
        Ok(c)
    });
}

fn words(words: Option<&[String]>) -> Value {
    Value::strings(words.unwrap_or_default().iter().map(String::as_str))
}

/// Replaces the entrypoint. The default arguments belonged to the old one and go too, unless
/// `keepDefaultArgs` is set.
fn with_entrypoint(c: &Container, args: &Args, entrypoint: Option<Vec<String>>) -> Result<Container> {
    let keep = args.bool("keepDefaultArgs")?;
    let mut c = c.clone().configure(|config| {
        config.entrypoint = entrypoint;
        if !keep {
            config.cmd = None;
        }
    });
    c.default_args_set &= keep;
    Ok(c)
}

fn labels(surface: &mut Surface) {
    read(surface, "label", |c, args| {
        let name = args.str("name")?;
        let found = c.config.labels.as_ref().and_then(|labels| labels.get(&name)).and_then(|value| value.as_str());
        Ok(found.map_or(Value::Null, Value::string))
    });
    read(surface, "labels", |c, _| {
        let labels = c.config.labels.iter().flat_map(Table::iter);
        let labels = labels.map(|(name, value)| (name, value.as_str().unwrap_or_default()));
        Ok(plain_objects::pairs("Label", labels))
    });
    change(surface, "withLabel", |c, args| {
        let (name, value) = (args.str("name")?, args.str("value")?);
        Ok(c.clone().configure(|config| config.labels.get_or_insert_default().set(name, (*value).into())))
    });
    change(surface, "withoutLabel", |c, args| {
        let name = args.str("name")?;
        Ok(c.clone().configure(|config| {
            if let Some(labels) = &mut config.labels {
                labels.remove(&name);
            }
        }))
    });
}

fn ports(surface: &mut Surface) {
    read(surface, "exposedPorts", |c, _| Ok(plain_objects::ports(c)));
    change(surface, "withExposedPort", |c, args| {
        let port = inputs::port(args)?;
        let note = PortNote {
            description: args.opt_str("description")?,
            skip_healthcheck: args.bool("experimentalSkipHealthcheck")?,
        };
        let mut c = c.clone().configure(|config| {
            config.exposed_ports.get_or_insert_default().set(port.as_str(), serde_json::json!({}));
        });
        c.port_notes.append(port, note);
        Ok(c)
    });
    change(surface, "withoutExposedPort", |c, args| {
        let port = inputs::port(args)?;
        let mut c = c.clone().configure(|config| {
            if let Some(ports) = &mut config.exposed_ports {
                ports.remove(&port);
            }
        });
        c.port_notes.remove(&port);
        Ok(c)
    });
}

fn without_annotation(c: &Container, args: &Args) -> Result<Container> {
    let name = args.str("name")?;
    let mut c = touched(c);
    c.annotations.remove(&name);
    Ok(c)
}

fn with_error(c: &Container, args: &Args) -> Result<Container> {
    let error = args.str("err")?;
    if error.is_empty() {
        return Ok(c.clone());
    }
    Ok(failing(c, error))
}

/// A container that fails when it is evaluated.
fn failing(c: &Container, error: impl Into<Arc<str>>) -> Container {
    Container { error: Some(error.into()), ..c.clone() }
}
