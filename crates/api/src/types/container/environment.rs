//! Environment variables, plain, secret and volatile; credentials for registries.

use rondel_fault::{Fault, Result};
use rondel_model::container::RegistryAuth;
use rondel_model::{Container, SecretRef, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use super::value::{TYPE, change, changed, read};
use crate::locate::touched;
use crate::types::{env_file, plain_objects};
use crate::{credentials, inputs};
use rondel_surface::Surface;

pub(super) fn register(surface: &mut Surface) {
    read(surface, "envVariable", |c, args| {
        let name = args.str("name")?;
        Ok(c.variable(&name).map_or(Value::Null, Value::string))
    });
    read(surface, "envVariables", |c, _| Ok(plain_objects::pairs("EnvVariable", c.env())));
    change(surface, "withEnvVariable", |c, args| {
        let (name, value) = (checked_name(args)?, inputs::text(c, args, "value")?);
        check_value(&name, &value)?;
        Ok(with_variable(c, &name, &value))
    });
    change(surface, "withoutEnvVariable", |c, args| {
        let name = args.str("name")?;
        Ok(c.clone().configure(|config| {
            config.env.iter_mut().for_each(|env| env.remove(&name));
        }))
    });
    change(surface, "withVolatileVariable", |c, args| {
        let (name, value) = (checked_name(args)?, args.str("value")?);
        check_value(&name, &value)?;
        let mut c = c.clone();
        c.volatile_env.set(name, value);
        Ok(c)
    });
    change(surface, "withoutVolatileVariable", |c, args| {
        let name = args.str("name")?;
        let mut c = c.clone();
        c.volatile_env.remove(&name);
        Ok(c)
    });
    surface.field(TYPE, "withEnvFileVariables", with_env_file);
    surface.depends_on_client(TYPE, &["withEnvFileVariables"]);
    surface.field(TYPE, "withSecretVariable", with_secret_variable);
    change(surface, "withoutSecretVariable", |c, args| Ok(without_secret(c, &args.str("name")?)));
    surface.field(TYPE, "withRegistryAuth", with_registry_auth);
    change(surface, "withoutRegistryAuth", |c, args| Ok(without_auth(c, &credentials::normal(&args.str("address")?))));
}

fn checked_name(args: &Args) -> Result<String> {
    let name = args.str("name")?;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Fault::user(format!("`{name}` cannot be the name of an environment variable")));
    }
    Ok(name.to_string())
}

/// The longest value of a variable, in bytes. The kernel passes at most 128 KiB to a process.
const MAX_VALUE: usize = 16 << 20;

fn check_value(name: &str, value: &str) -> Result<()> {
    match value.len() > MAX_VALUE {
        true => Err(Fault::user(format!("the value of the variable `{name}` is longer than {MAX_VALUE} bytes"))
            .with_hint("pass it as a file")),
        false => Ok(()),
    }
}

/// An existing variable keeps its position.
fn with_variable(c: &Container, name: &str, value: &str) -> Container {
    c.clone().configure(|config| config.set_env(name, value))
}

async fn with_env_file(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let source = args.object("source").await?;
    let variables = env_file::evaluated(&cx, source.get()?).await?;
    let container = node.get::<Container>()?.clone();
    let with = |c: Container, (name, value): &(String, String)| with_variable(&c, name, value);
    Ok(changed(variables.iter().fold(container, with)))
}

fn without_secret(c: &Container, name: &str) -> Container {
    let mut c = touched(c);
    c.secret_env.remove(name);
    c
}

async fn with_secret_variable(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let name = checked_name(&args)?;
    let secret = args.object("secret").await?;
    let mut c = touched(node.get()?);
    c.secret_env.append(name, secret.get::<SecretRef>()?.clone());
    Ok(changed(c))
}

fn without_auth(c: &Container, address: &str) -> Container {
    let mut c = c.clone();
    c.registry_auth.remove(address);
    c
}

async fn with_registry_auth(_: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let address = credentials::normal(&args.str("address")?);
    let secret = args.object("secret").await?.get::<SecretRef>()?.clone();
    let mut c = node.get::<Container>()?.clone();
    let auth = RegistryAuth { address: address.clone(), username: args.str("username")?.to_string(), secret };
    c.registry_auth.append(address, auth);
    Ok(changed(c))
}

#[cfg(test)]
mod tests {
    use rondel_model::Platform;

    use super::*;

    #[test]
    fn values_are_bounded() {
        assert!(check_value("A", &"x".repeat(MAX_VALUE)).is_ok());
        let error = check_value("A", &"x".repeat(MAX_VALUE + 1)).expect_err("is refused").to_string();
        assert_eq!(error, "the value of the variable `A` is longer than 16777216 bytes");
    }

    #[test]
    fn a_variable_keeps_its_position() {
        let c = Container::scratch(Platform::native());
        let c = with_variable(&with_variable(&c, "A", "1"), "B", "2");
        let c = with_variable(&c, "A", "x=y");
        assert_eq!(c.env().collect::<Vec<_>>(), [("A", "x=y"), ("B", "2")]);
    }
}
