//! `EnvVariable`, `Label`, `Port` and `Stat`: elements of lists and inspections.

use std::sync::Arc;

use rondel_model::service::{Service, ServicePort};
use rondel_model::{Container, Table, Value};
use rondel_ops::{EntryKind, Stat};

use rondel_surface::Surface;

/// A name and a value.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    name: String,
    value: String,
}

/// A port that a container exposes.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    number: i64,
    protocol: String,
    description: Option<Arc<str>>,
    skip_healthcheck: bool,
}

/// The metadata of a file.
#[derive(Debug, Clone)]
struct Inspected {
    name: String,
    stat: Stat,
}

/// A list of objects of the type `type_name`, each a name and a value.
pub(crate) fn pairs<'a>(type_name: &str, items: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let pair =
        |(name, value): (&str, &str)| Value::object(type_name, Pair { name: name.to_owned(), value: value.to_owned() });
    Value::List(items.map(pair).collect())
}

/// The ports that a container exposes.
pub(crate) fn ports(container: &Container) -> Value {
    let ports = container.config.exposed_ports.iter().flat_map(Table::iter);
    Value::List(ports.map(|(text, _)| port(container, text)).collect())
}

/// The ports on which a service is reached.
pub(crate) fn service_ports(service: &Service) -> Value {
    let port = |port: ServicePort| {
        let protocol = port.protocol.name().to_ascii_uppercase();
        let (number, description) = (i64::from(port.number), port.description);
        Value::object("Port", Port { number, protocol, description, skip_healthcheck: port.skip_health_check })
    };
    Value::List(service.ports().into_iter().map(port).collect())
}

/// Parses a port of an image configuration, such as `80/tcp`.
fn port(container: &Container, text: &str) -> Value {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let note = container.port_note(text);
    let port = Port {
        number: number.parse().unwrap_or_default(),
        protocol: protocol.to_ascii_uppercase(),
        description: note.and_then(|note| note.description.clone()),
        skip_healthcheck: note.is_some_and(|note| note.skip_healthcheck),
    };
    Value::object("Port", port)
}

/// The result of an inspection of `path`.
pub(crate) fn stat(path: &str, stat: Stat) -> Value {
    let name = rondel_model::AbsPath::new(path).file_name().unwrap_or("/").to_owned();
    Value::object("Stat", Inspected { name, stat })
}

pub(crate) fn register(surface: &mut Surface) {
    for type_name in ["EnvVariable", "Label"] {
        surface.plain(type_name, "name", |it: &Pair, _| Ok(Value::string(&*it.name)));
        surface.plain(type_name, "value", |it: &Pair, _| Ok(Value::string(&*it.value)));
    }
    surface.plain("Port", "port", |it: &Port, _| Ok(Value::Int(it.number)));
    surface.plain("Port", "protocol", |it: &Port, _| Ok(Value::member(&*it.protocol)));
    surface.plain("Port", "description", |it: &Port, _| Ok(it.description.clone().map_or(Value::Null, Value::String)));
    surface.plain("Port", "experimentalSkipHealthcheck", |it: &Port, _| Ok(Value::Bool(it.skip_healthcheck)));
    surface.plain("Stat", "name", |it: &Inspected, _| Ok(Value::string(&*it.name)));
    surface.plain("Stat", "size", |it: &Inspected, _| Ok(Value::Int(i64::try_from(it.stat.size).unwrap_or(i64::MAX))));
    surface.plain("Stat", "permissions", |it: &Inspected, _| Ok(Value::Int(i64::from(it.stat.mode & 0o7777))));
    surface.plain("Stat", "fileType", |it: &Inspected, _| {
        Ok(Value::member(match it.stat.kind {
            EntryKind::File => "REGULAR",
            EntryKind::Directory => "DIRECTORY",
            EntryKind::Symlink => "SYMLINK",
            EntryKind::Other => "UNKNOWN",
        }))
    });
}
