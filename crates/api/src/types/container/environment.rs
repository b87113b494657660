//! Environment variables, plain, secret and volatile; credentials for registries.

use rondel_fault::{Fault, Result};
use rondel_model::container::RegistryAuth;
use rondel_model::{Container, SecretRef, Value};
use rondel_query::{Args, Cx, Node, Outcome};

use super::{TYPE, change, changed, read};
use crate::locate::touched;
use crate::types::{env_file, small};
use crate::{Surface, credentials, inputs};

pub(super) fn register(surface: &mut Surface) {
    read(surface, "envVariable", |c, args| {
        let name = args.str("name")?;
        let found = c.env().find(|(known, _)| **known == *name);
        Ok(found.map_or(Value::Null, |(_, value)| Value::string(value)))
    });
    read(surface, "envVariables", |c, _| Ok(small::pairs("EnvVariable", c.env())));
    change(surface, "withEnvVariable", |c, args| {
        let (name, value) = (checked_name(args)?, inputs::text(c, args, "value")?);
        Ok(with_variable(c, &name, &value))
    });
    change(surface, "withoutEnvVariable", |c, args| {
        let name = args.str("name")?;
        Ok(c.clone().configure(|config| {
            config.env.iter_mut().for_each(|env| env.retain(|entry| name_of(entry) != &*name));
        }))
    });
    change(surface, "withVolatileVariable", |c, args| {
        let (name, value) = (checked_name(args)?, args.str("value")?.to_string());
        let mut c = c.clone();
        match c.volatile_env.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => c.volatile_env.push((name, value)),
        }
        Ok(c)
    });
    change(surface, "withoutVolatileVariable", |c, args| {
        let name = args.str("name")?;
        let mut c = c.clone();
        c.volatile_env.retain(|(known, _)| **known != *name);
        Ok(c)
    });
    surface.field(TYPE, "withEnvFileVariables", with_env_file);
    surface.field(TYPE, "withSecretVariable", with_secret_variable);
    change(surface, "withoutSecretVariable", |c, args| Ok(without_secret(c, &args.str("name")?)));
    surface.field(TYPE, "withRegistryAuth", with_registry_auth);
    change(surface, "withoutRegistryAuth", |c, args| Ok(without_auth(c, &credentials::normal(&args.str("address")?))));
}

fn name_of(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

fn checked_name(args: &Args) -> Result<String> {
    let name = args.str("name")?;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Fault::user(format!("`{name}` cannot be the name of an environment variable")));
    }
    Ok(name.to_string())
}

/// An existing variable keeps its position.
fn with_variable(c: &Container, name: &str, value: &str) -> Container {
    let entry = format!("{name}={value}");
    c.clone().configure(|config| {
        let env = config.env.get_or_insert_default();
        match env.iter_mut().find(|known| name_of(known) == name) {
            Some(known) => *known = entry,
            None => env.push(entry),
        }
    })
}

async fn with_env_file(cx: Cx, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let variables = env_file::evaluated(&cx, source.get()?).await?;
    let container = node.get::<Container>()?.clone();
    let with = |c: Container, (name, value): &(String, String)| with_variable(&c, name, value);
    Ok(changed(variables.iter().fold(container, with)))
}

fn without_secret(c: &Container, name: &str) -> Container {
    let mut c = touched(c);
    c.secret_env.retain(|(known, _)| known != name);
    c
}

async fn with_secret_variable(_: Cx, node: Node, args: Args) -> Result<Outcome> {
    let name = checked_name(&args)?;
    let secret = args.object("secret").await?;
    let mut c = without_secret(node.get()?, &name);
    c.secret_env.push((name, secret.get::<SecretRef>()?.clone()));
    Ok(changed(c))
}

fn without_auth(c: &Container, address: &str) -> Container {
    let mut c = c.clone();
    c.registry_auth.retain(|auth| auth.address != address);
    c
}

async fn with_registry_auth(_: Cx, node: Node, args: Args) -> Result<Outcome> {
    let address = credentials::normal(&args.str("address")?);
    let secret = args.object("secret").await?.get::<SecretRef>()?.clone();
    let mut c = without_auth(node.get()?, &address);
    c.registry_auth.push(RegistryAuth { address, username: args.str("username")?.to_string(), secret });
    Ok(changed(c))
}

#[cfg(test)]
mod tests {
    use rondel_model::Platform;

    use super::*;

    #[test]
    fn a_variable_keeps_its_position() {
        let c = Container::scratch(Platform::native());
        let c = with_variable(&with_variable(&c, "A", "1"), "B", "2");
        let c = with_variable(&c, "A", "x=y");
        assert_eq!(c.env().collect::<Vec<_>>(), [("A", "x=y"), ("B", "2")]);
    }
}
