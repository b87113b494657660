//! Options of resolving a reference to a module.

use rondel_model::EgressScope;
use rondel_module_model::config::module_config::DependencyConfig;
use rondel_module_model::config::provider_ref::ProviderRef;

use crate::source::referrer::Referrer;

/// Options of resolving a reference to a module.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResolveOptions<'a> {
    /// The pinned commit. Empty when there is none.
    pub pin: &'a str,
    /// Use exactly this folder, not one above it.
    pub exact: bool,
    /// Accept a folder of a repository without a configuration, or a path of the host that does not
    /// exist.
    pub allow_missing: bool,
    /// Accept a folder of the host without a configuration, so that it can be given one.
    pub unconfigured: bool,
    /// The egress scope of connections. `None` gives that of the caller, who names the reference.
    pub egress: Option<EgressScope>,
}

impl<'a> ResolveOptions<'a> {
    /// The options for the provider of a module.
    pub(crate) fn of(provider: &'a ProviderRef, referrer: &Referrer) -> Self {
        Self { pin: &provider.pin, egress: Some(referrer.egress(&provider.reference)), ..Self::default() }
    }

    /// The options for a dependency of a module.
    pub(crate) fn dependency(dependency: &'a DependencyConfig, referrer: &Referrer) -> Self {
        Self { pin: &dependency.pin, egress: Some(referrer.egress(&dependency.source)), ..Self::default() }
    }
}
