use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::model::Host;

/// A host's addresses, and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Asks these servers, or the system's; /etc/hosts is honoured. The system's files are read anew each time.
pub(super) async fn resolve(servers: &[SocketAddr], host: &Host) -> Result<Answer, String> {
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
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    options.timeout = Duration::from_secs(2);
    let resolver = builder.build().map_err(|error| error.to_string())?;
    // The trailing dot: a listed name is complete, no search list applies.
    let lookup = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| error.to_string())?;
    let (addresses, refused): (Vec<_>, Vec<_>) =
        lookup.iter().map(|ip| ip.to_canonical()).partition(|ip| is_remote(*ip));
    if !refused.is_empty() {
        tracing::warn!(%host, ?refused, "addresses that no third party can have are not captured");
    }
    if addresses.is_empty() {
        return Err("it has no usable address".to_owned());
    }
    Ok(Answer { addresses, ttl: lookup.valid_until().saturating_duration_since(Instant::now()) })
}

/// Not this node itself, its link or its cloud's metadata service: answers that a third party's name must not have.
fn is_remote(ip: IpAddr) -> bool {
    let local = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
    let link = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !local && !link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_the_node_or_its_metadata_service() {
        for (text, remote) in [
            ("203.0.113.7", true),
            ("10.0.0.1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_remote(text.parse().unwrap()), remote, "{text}");
        }
    }
}
