//! The history of an image: how its layers were made.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The history in an image's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    diff_ids: Vec<String>,
    entries: Vec<Map<String, Value>>,
}

impl History {
    /// Reads the configuration document of an image (OCI image specification, `config.md`). `None`
    /// if it has no history, or if the numbers of layers disagree.
    pub fn of_image(document: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct ConfigDocument {
            rootfs: Layers,
            history: Vec<Map<String, Value>>,
        }
        #[derive(Deserialize)]
        struct Layers {
            diff_ids: Vec<String>,
        }
        let ConfigDocument { rootfs, history } = serde_json::from_str(document).ok()?;
        let with_layer = |entry: &&Map<String, Value>| entry.get("empty_layer") != Some(&Value::Bool(true));
        (history.iter().filter(with_layer).count() == rootfs.diff_ids.len())
            .then_some(Self { diff_ids: rootfs.diff_ids, entries: history })
    }

    /// The entries, and the number of `diff_ids` that they describe. `None` if `diff_ids` start
    /// with other layers.
    pub fn below(&self, diff_ids: &[String]) -> Option<(&[Map<String, Value>], usize)> {
        diff_ids.starts_with(&self.diff_ids).then_some((&self.entries, self.diff_ids.len()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_and_layers_fit() {
        let check = |diff_ids: Value, history: Value, fits: bool| {
            let document = json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}).to_string();
            assert_eq!(History::of_image(&document).is_some(), fits, "{document}");
        };
        let (layer, empty) = (json!({"created_by": "RUN x"}), json!({"created_by": "ENV A=1", "empty_layer": true}));
        check(json!(["a", "b"]), json!([layer, empty, layer]), true);
        check(json!(["a"]), json!([layer, {"empty_layer": false}]), false);
        check(json!(["a", "b"]), json!([layer, empty]), false);
        check(json!([]), json!([empty]), true);
        check(json!(["a"]), json!([]), false);
        check(json!(["a"]), json!(null), false);
        check(json!(["a"]), json!(["RUN x"]), false);
    }

    #[test]
    fn only_layers_of_the_image_have_its_history() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let history = History { diff_ids: words(&["a", "b"]), entries: vec![Map::new(); 3] };
        assert_eq!(
            history.below(&words(&["a", "b", "c"])).map(|(entries, layers)| (entries.len(), layers)),
            Some((3, 2))
        );
        assert_eq!(history.below(&words(&["a"])), None);
        assert_eq!(history.below(&words(&["b", "a"])), None);
    }
}
