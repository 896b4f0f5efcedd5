use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::model::Model;

/// The addresses of the node, read again every second.
#[derive(Debug)]
pub(super) struct NodeAddresses(ArcSwap<BTreeSet<IpAddr>>);

impl NodeAddresses {
    const PERIOD: Duration = Duration::from_secs(1);

    pub(super) fn read() -> anyhow::Result<Self> {
        Ok(Self(ArcSwap::from_pointee(on_node()?)))
    }

    /// Returns whether the address was on the node when the addresses were last read.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.0.load().contains(&address)
    }

    /// Returns the addresses that were on the node when they were last read.
    pub(super) fn all(&self) -> BTreeSet<IpAddr> {
        BTreeSet::clone(&self.0.load())
    }

    /// Reads the addresses every second until stopped, and logs each egress address that appears or disappears.
    pub(super) async fn watch(&self, model: impl Fn() -> Arc<Model>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(Self::PERIOD);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let before = self.0.load_full();
            let now = match on_node() {
                Ok(now) => now,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "cannot read the node's addresses");
                    continue;
                }
            };
            for address in all_egress(&model()) {
                match (before.contains(&address), now.contains(&address)) {
                    (true, false) => tracing::warn!(
                        %address,
                        "an egress address is not on the node any more: its flows follow their API's fail mode"
                    ),
                    (false, true) => tracing::info!(%address, "an egress address is on the node again"),
                    _ => {}
                }
            }
            self.0.store(Arc::new(now));
        }
    }
}

/// Returns each egress address of a configuration once.
pub(super) fn all_egress(model: &Model) -> BTreeSet<IpAddr> {
    let of_apis = model.apis.iter().filter_map(|api| api.egress.as_ref());
    of_apis.chain([&model.egress]).flat_map(|egress| egress.addresses.iter().copied()).collect()
}

/// Checks that each egress address of a configuration is on the node.
///
/// # Errors
/// An address is missing; the error names it and the node's addresses.
pub fn egress_on_node(model: &Model) -> anyhow::Result<()> {
    let on_node = on_node()?;
    let missing: Vec<_> = all_egress(model).difference(&on_node).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let there: Vec<_> = on_node.iter().filter(|address| !address.is_loopback()).map(ToString::to_string).collect();
    bail!(
        "egress.addresses: {} not on this node, whose addresses are {}. Name one of these, or add it first: \
         `ip address add ADDRESS dev DEVICE`",
        missing.join(", "),
        if there.is_empty() { "none".to_owned() } else { there.join(", ") },
    )
}

/// Returns the address that the kernel would choose for a connection to this one. Nothing is sent.
pub(super) fn chosen_source(destination: IpAddr) -> Option<IpAddr> {
    /// Any port: a datagram socket only looks up the route.
    const DISCARD: u16 = 9;
    let any: IpAddr = if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((destination, DISCARD)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn on_node() -> anyhow::Result<BTreeSet<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs().context("cannot list the node's addresses")?;
    Ok(interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .collect())
}
