use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::model::Host;

/// A host's addresses, and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Families {
    Both,
    V4,
    V6,
}

/// Asks these servers, or the system's; /etc/hosts is honoured. The system's files are read anew each time. The addresses are
/// canonical (no `::ffff:`).
///
/// # Errors
/// Why the host could not be resolved.
pub(super) async fn resolve(servers: &[SocketAddr], host: &Host, families: Families) -> Result<Response, String> {
    let with = |servers: &[SocketAddr]| {
        let servers = servers.iter().map(|server| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            config
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let mut builder = match servers {
        // Without a usable /etc/resolv.conf there still is /etc/hosts.
        [] => TokioResolver::builder_tokio().unwrap_or_else(|_| with(&[])),
        servers => with(servers),
    };
    let options = builder.options_mut();
    options.ip_strategy = match families {
        Families::Both => LookupIpStrategy::Ipv4AndIpv6,
        Families::V4 => LookupIpStrategy::Ipv4Only,
        Families::V6 => LookupIpStrategy::Ipv6Only,
    };
    options.cache_size = 0;
    options.timeout = Duration::from_secs(2);
    let resolver = builder.build().map_err(|error| error.to_string())?;
    // The trailing dot: a listed name is complete, no search list applies.
    let lookup = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| error.to_string())?;
    let addresses = lookup.iter().map(|ip| ip.to_canonical()).collect();
    Ok(Response { addresses, ttl: lookup.valid_until().saturating_duration_since(Instant::now()) })
}
