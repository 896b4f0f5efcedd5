use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{Egress, Endpoint, FailMode, Flow, Host, Model, Proxy, ProxyHost, Reason};
use crate::route::{Carriage, Route};

/// Permission to dial, from one source address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    targets: Vec<Target>,
    tunnel: Option<Tunnel>,
}

/// What is asked of a proxy, which the targets of a permit lead to then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Whom.
    pub proxy: Arc<Proxy>,
    /// The third party's name, or address, and port (RFC 9110 §9.3.6).
    pub authority: String,
}

/// One way to the third party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The third party's address.
    pub destination: SocketAddr,
    /// The address to leave from; absent only where the API's owner chose to go direct.
    pub source: Option<IpAddr>,
}

impl Permit {
    /// The ways, in the order to try them.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What is asked of a proxy first.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }

    /// The name of that proxy.
    pub fn proxy(&self) -> Option<&Arc<str>> {
        self.tunnel.as_ref().map(|tunnel| &tunnel.proxy.name)
    }

    /// Whether a connection on this path would be permitted now.
    pub fn allows(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let from_here = |source: Option<IpAddr>| source.is_none_or(|source| source == local.ip());
        self.targets.iter().any(|target| target.destination == remote && from_here(target.source))
    }
}

/// Permits a flow to go to its API, or where it wanted to go if it is nobody's.
///
/// For a listed name Egret dials its own resolution, the address the caller chose first if it is among them; a proxy is told the
/// name.
///
/// # Errors
/// There is no address to go to or none to leave from.
pub fn admit(
    model: &Model,
    flow: &Flow,
    route: &Route<'_>,
    carriage: &Carriage,
    name: Option<&Host>,
    addresses: impl Fn(&Host) -> Vec<IpAddr>,
    on_node: impl Fn(IpAddr) -> bool,
) -> Result<Permit, Reason> {
    let wanted = flow.original_dst.0;
    let (egress, fail) = match route {
        Route::Api(_, api) => (model.egress_of(api), api.fail),
        Route::Unlisted => (&model.egress, FailMode::Open),
    };
    let port = carriage.port().unwrap_or(wanted.port());
    let unlisted = matches!(route, Route::Unlisted);
    if let Some(proxy) = egress.proxy_for(name).filter(|_| !unlisted) {
        let authority =
            name.map_or_else(|| SocketAddr::new(wanted.ip(), port).to_string(), |name| format!("{name}:{port}"));
        return through(proxy, authority, &addresses, |ip| source(egress, ip, fail, false, &on_node));
    }
    let mut destinations = match (route, name) {
        (Route::Api(..), Some(name)) => addresses(name),
        _ => vec![wanted.ip()],
    };
    destinations.sort_by_key(|ip| *ip != wanted.ip());
    permit(destinations, port, |ip| source(egress, ip, fail, unlisted, &on_node))
}

/// Permits Egret to go to a server that the configuration names, from the addresses of an API whose policies say so.
///
/// # Errors
/// There is no address to go to or none to leave from.
pub fn admit_endpoint(
    (egress, fail): (&Egress, FailMode),
    endpoint: &Endpoint,
    addresses: impl Fn(&Host) -> Vec<IpAddr>,
    on_node: impl Fn(IpAddr) -> bool,
) -> Result<Permit, Reason> {
    let source = |ip| source(egress, ip, fail, false, &on_node);
    match egress.proxy_for(Some(&endpoint.host)) {
        Some(proxy) => through(proxy, format!("{}:{}", endpoint.host, endpoint.port), addresses, source),
        None => permit(addresses(&endpoint.host), endpoint.port, source),
    }
}

/// Permits Egret to go to a server of its owner's own, which knows nobody by its address, from whichever the kernel chooses.
///
/// # Errors
/// There is no address to go to.
pub fn admit_own(endpoint: &Endpoint, addresses: impl Fn(&Host) -> Vec<IpAddr>) -> Result<Permit, Reason> {
    permit(addresses(&endpoint.host), endpoint.port, |_| Ok(None))
}

fn through(
    proxy: &Arc<Proxy>,
    authority: String,
    addresses: impl Fn(&Host) -> Vec<IpAddr>,
    source: impl Fn(IpAddr) -> Result<Option<IpAddr>, Reason>,
) -> Result<Permit, Reason> {
    let destinations = match &proxy.at {
        ProxyHost::Name(name) => addresses(name),
        ProxyHost::Address(address) => vec![*address],
    };
    if destinations.is_empty() {
        return Err(Reason::ProxyUnreachable);
    }
    let permit = permit(destinations, proxy.port, source)?;
    Ok(Permit { tunnel: Some(Tunnel { proxy: Arc::clone(proxy), authority }), ..permit })
}

fn permit(
    destinations: Vec<IpAddr>,
    port: u16,
    source: impl Fn(IpAddr) -> Result<Option<IpAddr>, Reason>,
) -> Result<Permit, Reason> {
    if destinations.is_empty() {
        return Err(Reason::Unresolved);
    }
    let mut refusal = Reason::EgressFamilyMissing;
    let targets: Vec<_> = destinations
        .into_iter()
        .filter_map(|ip| {
            let destination = SocketAddr::new(ip, port);
            source(ip).map(|source| Target { destination, source }).map_err(|reason| refusal = reason).ok()
        })
        .collect();
    if targets.is_empty() { Err(refusal) } else { Ok(Permit { targets, tunnel: None }) }
}

fn source(
    egress: &Egress,
    destination: IpAddr,
    fail: FailMode,
    unlisted: bool,
    on_node: impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, Reason> {
    match egress.source_for(destination) {
        Some(source) if on_node(source) => Ok(Some(source)),
        Some(_) if fail == FailMode::Open => Ok(None),
        Some(_) => Err(Reason::EgressAddressGone),
        // Nothing was promised to a stranger.
        None if unlisted => Ok(None),
        None => Err(Reason::EgressFamilyMissing),
    }
}
