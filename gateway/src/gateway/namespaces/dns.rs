//! DNS queries of callers in other network namespaces: taken on the loopback there, and sent on from there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use super::{Namespaces, Served};
use crate::listener::{Entrance, Loopback, Way, namespace_of};
use crate::names::{DnsExit, ForeignDnsSockets};

/// Returns how sockets are made in the network namespace of a socket, by its cookie.
pub(in crate::gateway) fn exit(
    entrance: &Entrance,
    netns: u64,
    socket: Weak<impl AsFd + Send + Sync + 'static>,
) -> DnsExit {
    let entrance = entrance.clone();
    let make = move |make| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        let namespace = socket.upgrade().ok_or_else(gone).and_then(|socket| namespace_of(socket.as_fd()));
        let entrance = entrance.clone();
        Box::pin(async move { entrance.inside(Way::Descriptor(namespace?), make).await })
    };
    DnsExit::foreign(netns, Box::new(make))
}

impl Namespaces {
    /// Forwards the DNS queries of a namespace, if it has the sockets.
    pub(super) fn forward_dns(&self, netns: u64) {
        let Some(forwarding) = &self.forwarding else { return };
        let (sockets, exit, stop) = match self.served().get(&netns) {
            Some(Served { dns: Some(sockets), listeners, stop, .. }) => {
                (sockets.clone(), exit(&self.entrance, netns, Arc::downgrade(listeners)), stop.clone())
            }
            _ => return,
        };
        forwarding.forward_from(&sockets, &exit, &stop);
        for error in sockets.sockets().into_iter().filter_map(|socket| self.capture.forward_dns_to(socket).err()) {
            tracing::error!(%error, "cannot have the hooks forward DNS queries of a network namespace");
        }
    }

    /// Opens the forwarder's sockets where the loopback was down, another program had one of the ports, or a former process did not
    /// forward.
    pub(super) async fn open_missing_dns(&self) {
        let Some(ports) = self.dns_ports() else { return };
        let missing: Vec<_> = {
            let served = self.served();
            let missing = served.iter().filter(|(_, served)| served.dns.is_none());
            missing.map(|(netns, served)| (*netns, Arc::clone(&served.listeners))).collect()
        };
        for (netns, listeners) in missing {
            let Ok(namespace) = namespace_of(listeners.as_fd()) else { continue };
            let way = Way::Descriptor(namespace);
            let opened = self.entrance.inside(way, move || open_dns(Loopback::here(), ports)).await;
            match opened.and_then(|sockets| sockets.map(ForeignDnsSockets::adopt).transpose()) {
                Ok(None) => {}
                Ok(Some(sockets)) => {
                    if let Some(served) = self.served().get_mut(&netns) {
                        served.dns = Some(sockets);
                    }
                    self.forward_dns(netns);
                }
                Err(error) => tracing::debug!(netns, %error, "DNS queries of a network namespace leave directly"),
            }
        }
    }

    /// Returns the ports of the forwarder's sockets in each namespace.
    pub(super) fn dns_ports(&self) -> Option<(Option<u16>, Option<u16>)> {
        self.forwarding.as_ref().map(|forwarding| forwarding.ports())
    }
}

/// Opens the sockets in the namespace of the calling thread, if its loopback is up.
pub(super) fn open_dns(loopback: Loopback, ports: (Option<u16>, Option<u16>)) -> std::io::Result<Option<Vec<OwnedFd>>> {
    if loopback == Loopback::Down { Ok(None) } else { ForeignDnsSockets::open(ports).map(Some) }
}
