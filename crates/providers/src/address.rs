//! Addresses of secrets: `scheme://path?name=value`.

/// An address in its parts. The path is as written: names of secrets may have any characters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) path: &'a str,
    query: Vec<(&'a str, &'a str)>,
}

impl<'a> Address<'a> {
    pub(crate) fn parse(uri: &'a str) -> Self {
        let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        Self { scheme, path, query }
    }

    /// The value of a parameter, or `None` if it is missing or empty.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        let found = self.query.iter().find(|(other, _)| *other == name)?;
        Some(found.1).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let address = Address::parse("aws+sm://prod/db password?field=user&region=");
        assert_eq!((address.scheme, address.path), ("aws+sm", "prod/db password"));
        assert_eq!((address.parameter("field"), address.parameter("region")), (Some("user"), None));
    }
}
