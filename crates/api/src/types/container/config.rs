//! The configuration that goes into an image: entrypoint, arguments, user, working directory, labels, ports, annotations.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::container::PortNote;
use rondel_model::{Container, ImageConfig, Table, Value};
use rondel_session::Args;

use super::{change, read};
use crate::inputs;
use crate::locate::touched;
use crate::types::small;
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

/// The default arguments belonged to the entrypoint that goes, unless the caller says otherwise.
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
        Ok(small::pairs("Label", labels))
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
    read(surface, "exposedPorts", |c, _| Ok(small::ports(c)));
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

/// The container, which fails when something of it is evaluated.
fn failing(c: &Container, error: impl Into<Arc<str>>) -> Container {
    Container { error: Some(error.into()), ..c.clone() }
}

/// The configuration of `image` over that of `container`: the image says what it says, and what only the container has of
/// environment, labels and ports stays.
///
/// # Errors
/// When the configuration is not that of an image.
pub(super) fn merged(container: &ImageConfig, image: &str) -> Result<ImageConfig> {
    let mut merged = parse(image)?;
    merged.env = union(container.env.clone(), merged.env.take()).filter(|env| !env.is_empty());
    merged.labels = union(container.labels.clone(), merged.labels.take());
    merged.exposed_ports = union(container.exposed_ports.clone(), merged.exposed_ports.take());
    Ok(merged)
}

/// The part of the configuration file of an image that containers carry.
///
/// # Errors
/// When it is not the configuration of an image.
pub(super) fn parse(image: &str) -> Result<ImageConfig> {
    #[derive(serde::Deserialize)]
    struct File {
        config: Option<ImageConfig>,
    }
    let file: File = serde_json::from_str(image)
        .map_err(|error| Fault::user("cannot read the configuration of the image").caused_by(error))?;
    Ok(file.config.unwrap_or_default())
}

fn union<V: Clone>(lower: Option<Table<V>>, upper: Option<Table<V>>) -> Option<Table<V>> {
    match (lower, upper) {
        (Some(mut lower), Some(upper)) => {
            lower.extend(upper.iter().map(|(name, value)| (name, value.clone())));
            Some(lower)
        }
        (lower, upper) => lower.or(upper),
    }
}

/// The container on a new root with the configuration of an image.
pub(super) fn configured(container: &Container, config: ImageConfig) -> Container {
    Container { config: Arc::new(config), default_args_set: false, ..container.clone() }
}

#[cfg(test)]
mod tests {
    use rondel_model::table::entries;

    use super::*;

    #[test]
    fn an_image_goes_over_a_configuration() {
        let own = ImageConfig {
            env: Some(entries::table(["PATH=/mine", "A=1"])),
            labels: Some([("a", "1".into()), ("b", "1".into())].into_iter().collect()),
            exposed_ports: Some([("80/tcp", serde_json::json!({}))].into_iter().collect()),
            user: "me".into(),
            cmd: Some(vec!["old".into()]),
            ..ImageConfig::default()
        };
        let image = r#"{"architecture":"amd64","config":{"Env":["PATH=/bin","B=2"],"Labels":{"b":"2"},"Cmd":["sh"],
            "StopSignal":"SIGINT"},"rootfs":{}}"#;
        let merged = merged(&own, image).expect("merges");
        assert_eq!(merged.env.expect("has variables"), entries::table(["PATH=/bin", "A=1", "B=2"]));
        assert_eq!(serde_json::json!(merged.labels), serde_json::json!({"a": "1", "b": "2"}));
        assert_eq!(serde_json::json!(merged.exposed_ports), serde_json::json!({"80/tcp": {}}));
        assert_eq!((merged.user.as_str(), merged.cmd), ("", Some(vec!["sh".into()])));
        assert_eq!(merged.other["StopSignal"], "SIGINT");
    }

    #[test]
    fn an_image_without_configuration_is_fine() {
        assert_eq!(parse(r#"{"os":"linux"}"#).expect("is read"), ImageConfig::default());
        assert!(parse("[]").is_err());
    }
}
