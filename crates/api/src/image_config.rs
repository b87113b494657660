//! Image references, and the image configuration that a container takes over.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::image::{ImageRef, InvalidReference};
use rondel_model::{Container, History, ImageConfig, Table};
use rondel_ports::images::ResolvedImage;

/// Parses an image reference.
pub(crate) fn reference(text: &str) -> Result<ImageRef> {
    text.parse().map_err(|invalid: InvalidReference| Fault::user(invalid.to_string()))
}

/// The configuration of an image.
pub(crate) fn configuration(image: &ResolvedImage) -> Result<ImageConfig> {
    parse(image.config.get())
}

/// The history of an image's layers.
pub(crate) fn history(image: &ResolvedImage) -> Option<Arc<History>> {
    History::of_image(image.config.get()).map(Arc::new)
}

/// The configuration of `image` over that of `container`. Of the container only environment
/// variables, labels and ports stay that the image does not have.
///
/// # Errors
/// When the image has no valid configuration.
pub(crate) fn merged(container: &ImageConfig, image: &ResolvedImage) -> Result<ImageConfig> {
    Ok(over(container, configuration(image)?))
}

fn over(container: &ImageConfig, mut merged: ImageConfig) -> ImageConfig {
    merged.env = union(container.env.clone(), merged.env.take()).filter(|env| !env.is_empty());
    merged.labels = union(container.labels.clone(), merged.labels.take());
    merged.exposed_ports = union(container.exposed_ports.clone(), merged.exposed_ports.take());
    merged
}

/// The container with the configuration of an image.
pub(crate) fn configured(container: &Container, config: ImageConfig) -> Container {
    Container { config: Arc::new(config), default_args_set: false, ..container.clone() }
}

/// The part of an image configuration file that containers have.
///
/// # Errors
/// When it is no image configuration.
fn parse(image: &str) -> Result<ImageConfig> {
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
        let merged = over(&own, parse(image).expect("is read"));
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
