use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use arc_swap::ArcSwap;
use hickory_resolver::system_conf::read_system_conf;

/// The DNS servers that the node trusts. What they say counts for every caller.
#[derive(Debug)]
pub(super) struct Trusted {
    configured: HashSet<SocketAddr>,
    /// The servers of the node's resolv.conf.
    system: ArcSwap<HashSet<IpAddr>>,
}

impl Trusted {
    pub(super) fn new(configured: impl IntoIterator<Item = SocketAddr>) -> Self {
        let trusted = Self { configured: configured.into_iter().collect(), system: ArcSwap::default() };
        trusted.refresh();
        trusted
    }

    /// Reads the node's resolv.conf again: it may have changed. This reads a file.
    pub(super) fn refresh(&self) {
        if let Ok((config, _)) = read_system_conf() {
            let servers = config.name_servers().iter().map(|server| server.ip.to_canonical()).collect();
            self.system.store(std::sync::Arc::new(servers));
        }
    }

    /// Returns the servers that the node trusts.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        let system = self.system.load();
        let system = system.iter().map(|address| SocketAddr::new(*address, 53));
        self.configured.iter().copied().chain(system).collect()
    }

    /// Returns whether the node trusts this server.
    pub(super) fn has(&self, server: SocketAddr) -> bool {
        let server = SocketAddr::new(server.ip().to_canonical(), server.port());
        self.configured.contains(&server) || (server.port() == 53 && self.system.load().contains(&server.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_server_is_trusted_with_its_port_only() {
        let trusted = Trusted::new(["192.0.2.53:5353".parse().unwrap()]);
        assert!(trusted.has("192.0.2.53:5353".parse().unwrap()));
        assert!(trusted.has("[::ffff:192.0.2.53]:5353".parse().unwrap()));
        assert!(!trusted.has("192.0.2.53:53".parse().unwrap()));
    }
}
