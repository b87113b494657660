//! Service bindings of containers: starts the bound services and gives their addresses.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::future::{select_all, try_join_all};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result};
use rondel_model::service::ServiceBinding;
use rondel_ops::{BoundServices, JoinedNetwork, OpContext, Ops, Services};
use rondel_ports::BoxFuture;
use rondel_ports::network::Network;

use super::instance::ServiceUse;
use super::registry::SessionServices;

/// The services of a session as one of its clients uses them.
pub struct ClientServices {
    ops: Arc<Ops>,
    session: Arc<SessionServices>,
    /// The module as which the client acts. Its processes find the host names that the code of this
    /// module gave.
    module: Option<Digest>,
}

impl ClientServices {
    /// The services of `session` for a client that acts as `module`.
    pub fn new(ops: Arc<Ops>, session: Arc<SessionServices>, module: Option<Digest>) -> Arc<Self> {
        Arc::new(Self { ops, session, module })
    }

    async fn bound(&self, cx: &OpContext, binding: &ServiceBinding) -> Result<ServiceUse> {
        let used = self.session.acquire_as(&binding.alias, &self.ops, cx, &binding.service);
        let used = cx.events.waiting(|| format!("service {}", binding.alias), used).await;
        used.map_err(|fault| fault.context(format!("start {}", shown(binding))))
    }
}

/// A bound service in messages. Clients match on these words.
fn shown(binding: &ServiceBinding) -> String {
    format!("{} (aliased as {})", binding.service.hostname(), binding.alias)
}

impl Services for ClientServices {
    fn bind<'a>(&'a self, cx: &'a OpContext, bindings: &'a [ServiceBinding]) -> BoxFuture<'a, Result<BoundServices>> {
        Box::pin(async move {
            if bindings.is_empty() {
                return Ok(BoundServices::none());
            }
            let used = try_join_all(bindings.iter().map(|binding| self.bound(cx, binding))).await?;
            let mut bound = BoundServices::none();
            let mut ends: Vec<BoxFuture<'static, Fault>> = Vec::new();
            for (binding, used) in bindings.iter().zip(&used) {
                let address = address(&used.running.network, binding)?;
                for name in [binding.alias.as_str(), binding.service.hostname()] {
                    if !bound.hosts.iter().any(|(_, known)| known == name) {
                        bound.hosts.push((address, name.to_owned()));
                    }
                }
                bound.networks.push((binding.alias.clone(), used.running.network.clone()));
                let (instance, message) =
                    (used.instance.instance().clone(), format!("bound service {} exited", shown(binding)));
                ends.push(Box::pin(async move { instance.ended().await.context(message) }));
            }
            bound.ended = Box::pin(async move { select_all(ends).await.0 });
            bound.guard = Box::new(used);
            Ok(bound)
        })
    }

    fn join(&self, network: &Network, bindings: &[ServiceBinding]) -> Result<JoinedNetwork> {
        let session = &self.session;
        let given = bindings.iter().filter_map(|binding| binding.service.given_name()?.module.as_ref());
        let mut search: Vec<String> = Vec::with_capacity(2);
        for module in self.module.iter().chain(given) {
            let domain = session.domain(Some(module));
            if !search.contains(&domain) {
                search.push(domain);
            }
        }
        search.push(session.domain(None));
        let membership = self.ops.ports().networks.join(network, &session.session)?;
        Ok(JoinedNetwork { search, membership })
    }
}

fn address(network: &Network, binding: &ServiceBinding) -> Result<Ipv4Addr> {
    network.address.ok_or_else(|| {
        Fault::environment(format!("containers cannot reach the service {}: they have no network", shown(binding)))
            .with_hint("`rondel engine status` says why")
    })
}
