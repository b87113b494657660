//! How a reference to a module is resolved.

use rondel_model::EgressScope;

use crate::config::module_config::DependencyConfig;
use crate::config::provider_ref::ProviderRef;
use crate::source::referrer::Referrer;

/// How a reference is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResolveOptions<'a> {
    /// The commit that was pinned.
    pub pin: &'a str,
    /// The folder itself, not one above it.
    pub exact: bool,
    /// A folder of a repository without a configuration, or a path of the host where nothing is, is a source, too.
    pub allow_missing: bool,
    /// A folder of the host without a configuration is a source, too: one that can be configured.
    pub unconfigured: bool,
    /// EgressScope of connections. `None`: that of the caller, who names the reference.
    pub egress: Option<EgressScope>,
}

impl<'a> ResolveOptions<'a> {
    /// As the configuration of a module says of its SDK or entrypoint.
    pub(crate) fn of(provider: &'a ProviderRef, referrer: &Referrer) -> Self {
        Self { pin: &provider.pin, egress: Some(referrer.egress(&provider.reference)), ..Self::default() }
    }

    /// As the configuration of a module says of a dependency.
    pub(crate) fn dependency(dependency: &'a DependencyConfig, referrer: &Referrer) -> Self {
        Self { pin: &dependency.pin, egress: Some(referrer.egress(&dependency.source)), ..Self::default() }
    }
}
