//! A pipeline through the official Rust library; prints what it saw as one JSON document.

use dagger_sdk::core::gql_client::GraphQlExtension;
use dagger_sdk::core::graphql_client::GraphQLError;
use dagger_sdk::errors::DaggerError;
use dagger_sdk::{Config, Container, Directory, Query};
use serde_json::{Map, Value, json};

const COMMANDS: &str = "cat a.txt sub/b.txt /etc/note; echo; echo $COLOUR; cat /run/token | wc -c; echo to-stderr >&2; \
                        echo kept > /cache/f";

#[tokio::main]
async fn main() -> eyre::Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| eyre::eyre!("no folder was given"))?;
    // The default logger prints to standard output, which belongs to the result.
    let config = Config::builder().build();
    dagger_sdk::connect_opts(config, |client| async move {
        let seen = pipeline(&client, &folder).await?;
        println!("{}", Value::Object(seen));
        Ok(())
    })
    .await?;
    Ok(())
}

fn shell(container: &Container, script: &str) -> Container {
    container.with_exec(vec!["sh", "-c", script])
}

async fn pipeline(client: &Query, folder: &str) -> eyre::Result<Map<String, Value>> {
    let mut seen = Map::new();
    let secret = client.set_secret("token", std::env::var("PIPELINE_SECRET")?);
    let cache = client.cache_volume(format!("pipeline-{}", std::env::var("PIPELINE_RUN")?));
    let source = client.directory().with_new_file("a.txt", "one\n").with_new_file("sub/b.txt", "two\n");
    let base = client
        .container()
        .from("busybox:latest")
        .with_mounted_directory("/src", source.clone())
        .with_mounted_cache("/cache", cache)
        .with_mounted_secret("/run/token", secret.clone())
        .with_secret_variable("TOKEN", secret)
        .with_env_variable("COLOUR", "green")
        .with_new_file("/etc/note", "noted")
        .with_workdir("/src");
    let ran = shell(&base, COMMANDS);
    let stdout = ran.stdout().await?;
    seen.insert("stderr".into(), ran.stderr().await?.into());
    seen.insert("scrubbed".into(), shell(&base, "echo $TOKEN; cat /run/token").stdout().await?.into());
    let again = base.with_env_variable("AGAIN", "1").with_exec(vec!["cat", "/cache/f"]);
    seen.insert("cache".into(), again.stdout().await?.into());
    seen.insert("entries".into(), source.entries().await?.into());
    seen.insert("sub".into(), source.directory("sub").file("b.txt").contents().await?.into());
    seen.insert("size".into(), json!(source.file("a.txt").size().await?));
    let mut names = Vec::new();
    for variable in base.env_variables().await? {
        names.push(variable.name().await?);
    }
    names.sort();
    seen.insert("env".into(), names.into());
    seen.insert("env_value".into(), base.env_variable("COLOUR").await?.into());
    seen.insert("synced".into(), (ran.sync().await?.stdout().await? == stdout).into());
    let loaded: Container = client.r#ref(ran.id().await?);
    seen.insert("loaded".into(), (loaded.stdout().await? == stdout).into());
    let loaded: Directory = client.r#ref(source.id().await?);
    seen.insert("loaded_entries".into(), loaded.entries().await?.into());
    seen.insert("stdout".into(), stdout.into());
    seen.insert("host".into(), client.host().directory(folder).file("host.txt").contents().await?.into());
    let out = format!("{folder}/out");
    let made = shell(&client.container().from("busybox"), "mkdir /o && echo hi > /o/x");
    made.directory("/o").export(&out).await?;
    seen.insert("exported".into(), std::fs::read_to_string(format!("{out}/x"))?.into());
    let failed = shell(&base, "echo some; echo bad >&2; exit 42").stdout().await;
    seen.insert("error".into(), failed.err().map_or(Value::Null, exec_error));
    let missing = client.container().from("busybox").file("/nothing/here").contents().await;
    seen.insert("missing".into(), missing.err().map(|e| e.to_string()).into());
    Ok(seen)
}

fn exec_error(error: DaggerError) -> Value {
    let DaggerError::Query(GraphQLError::DomainError { fields, .. }) = error else { return Value::Null };
    match fields.into_iter().next().and_then(|f| f.extensions) {
        Some(GraphQlExtension::ExecError { cmd, exit_code, stdout, stderr }) => {
            json!({"exit": exit_code, "stdout": stdout, "stderr": stderr, "command": cmd})
        }
        _ => Value::Null,
    }
}
