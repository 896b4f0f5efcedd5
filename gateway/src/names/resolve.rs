use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::ResolverBuilder;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};

use super::exempt::Runtime;
use crate::model::{Exempt, Host};

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

/// The system's files that a resolver is made of.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What tells whether the files have changed: of each the device, the inode, the time of the last change and the size.
type Versions = [Option<(u64, u64, i64, i64, u64)>; FILES.len()];

/// A resolver for some families, and the versions of the files that it is made of.
type Made = HashMap<Families, (Versions, hickory_resolver::Resolver<Runtime>)>;

/// Resolves names by asking these servers, or the system's.
#[derive(Clone)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    runtime: Runtime,
    /// Thousands of hosts are looked up at once, and a hosts file may name them all.
    made: Arc<Mutex<Made>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Creates it. Without a server it asks those of the system.
    pub(super) fn new(servers: Vec<SocketAddr>, exempt: Exempt) -> Self {
        Self { servers, runtime: Runtime::new(exempt), made: Arc::default() }
    }

    /// Returns the addresses of a host; /etc/hosts is honoured. The addresses are canonical (no `::ffff:`).
    ///
    /// # Errors
    /// Why the host could not be resolved.
    pub(super) async fn resolve(&self, host: &Host, families: Families) -> Result<Response, String> {
        let asking = self.clone();
        // It reads files, and callers decide how often.
        let made = tokio::task::spawn_blocking(move || asking.current(families)).await;
        let resolver = made.map_err(|error| error.to_string())??;
        // The trailing dot: the name is complete, no search list applies.
        let lookup = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| error.to_string())?;
        let addresses = lookup.iter().map(|ip| ip.to_canonical()).collect();
        Ok(Response { addresses, ttl: lookup.valid_until().saturating_duration_since(Instant::now()) })
    }

    /// Returns a resolver of the system's files as they are now.
    fn current(&self, families: Families) -> Result<hickory_resolver::Resolver<Runtime>, String> {
        let versions = FILES.map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
        });
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, resolver)) = made.get(&families).filter(|(of, _)| *of == versions) {
            return Ok(resolver.clone());
        }
        let resolver = self.make(families)?;
        made.insert(families, (versions, resolver.clone()));
        Ok(resolver)
    }

    fn make(&self, families: Families) -> Result<hickory_resolver::Resolver<Runtime>, String> {
        let Self { servers, runtime, .. } = self;
        let mut builder = match &servers[..] {
            // Without a usable /etc/resolv.conf there still is /etc/hosts.
            [] => hickory_resolver::Resolver::builder(runtime.clone()).unwrap_or_else(|_| asking(&[], runtime.clone())),
            servers => asking(servers, runtime.clone()),
        };
        let options = builder.options_mut();
        options.ip_strategy = match families {
            Families::Both => LookupIpStrategy::Ipv4AndIpv6,
            Families::V4 => LookupIpStrategy::Ipv4Only,
            Families::V6 => LookupIpStrategy::Ipv6Only,
        };
        options.cache_size = 0;
        options.timeout = Duration::from_secs(2);
        builder.build().map_err(|error| error.to_string())
    }
}

fn asking(servers: &[SocketAddr], runtime: Runtime) -> ResolverBuilder<Runtime> {
    let servers = servers.iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        config
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    hickory_resolver::Resolver::builder_with_config(config, runtime)
}
