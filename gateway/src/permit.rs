//! 6. The only source of permission to dial: who may use an API, to which addresses, and from which. Pure.

mod admission;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{
    Admission, Api, Egress, Endpoint, FailMode, Flow, Host, Listing, Model, Proxy, ProxyHost, Reason, Scope,
};
use crate::route::{Carriage, Refusal, Route};

pub use admission::{admission, unlisted_class};

/// Permission to dial, from one source address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    targets: Vec<Target>,
    tunnel: Option<Tunnel>,
}

/// A tunnel that Egret asks a proxy for. The targets of its permit are addresses of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The proxy that is asked.
    pub proxy: Arc<Proxy>,
    /// The third party's name, or address, and port (RFC 9110 §9.3.6).
    pub authority: String,
}

/// One way to the third party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The third party's address.
    pub destination: SocketAddr,
    /// The address to leave from. It is absent for a stranger, and where the API's owner chose to go direct: then the kernel
    /// chooses.
    pub source: Option<IpAddr>,
}

impl Permit {
    /// Returns the targets, in the order to try them.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Returns the tunnel to ask a proxy for, if there is one.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }

    /// Returns the name of that proxy.
    pub fn proxy(&self) -> Option<&Arc<str>> {
        self.tunnel.as_ref().map(|tunnel| &tunnel.proxy.name)
    }

    /// Returns whether a connection on this path would be permitted now.
    pub fn allows(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let from_here = |source: Option<IpAddr>| source.is_none_or(|source| source == local.ip());
        self.targets.iter().any(|target| target.destination == remote && from_here(target.source))
    }
}

/// What is known of addresses at the moment.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Returns Egret's own resolution of a listed host.
    pub addresses: &'a dyn Fn(&Host) -> Vec<IpAddr>,
    /// Returns the listings whose names are at an address.
    pub listings_at: &'a dyn Fn(IpAddr) -> Vec<Listing>,
    /// Returns whether an address is on the node.
    pub on_node: &'a dyn Fn(IpAddr) -> bool,
}

impl std::fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

/// Permits a flow to go to its API, or to its original destination: a stranger, and a workload that the API leaves untouched.
///
/// For a listed name Egret dials its own resolution, the address that the caller chose first if it is among them; a proxy is
/// told the name. Bytes that Egret does not look at go to no address that [`Model::guard`] keeps for another API. What goes to
/// its original destination leaves as if Egret were not there: from the address that the kernel chooses, never from an egress address
/// and never through a proxy.
///
/// # Errors
/// There is no address to go to or none to leave from, or all addresses are kept for other APIs ([`Reason::SharedAddress`]); or there
/// is no name, and only the caller's owner says that the address is the API's ([`Reason::NoName`]).
pub fn admit<'a>(
    model: &'a Model,
    flow: &Flow,
    route: &Route<'_>,
    carriage: &Carriage,
    name: Option<&Host>,
    known: Known<'_>,
) -> Result<Permit, Refusal<'a>> {
    let wanted = flow.original_dst.0;
    let api = match route {
        Route::Api(_, api) => *api,
        Route::Stranger => return Ok(permit(vec![wanted.ip()], wanted.port(), |_| Ok(None))?),
        Route::Untouched(_, api) => {
            let there = (known.listings_at)(wanted.ip());
            let protects = |guard: &&Api| admission(guard, &flow.workload) != Admission::Untouched;
            let guard = model.guards(api, wanted.port(), &there).find(protects);
            return match guard.filter(|_| *carriage == Carriage::Passthrough) {
                Some(guard) => Err(Refusal { reason: Reason::SharedAddress, api: Some(guard) }),
                None => Ok(permit(vec![wanted.ip()], wanted.port(), |_| Ok(None))?),
            };
        }
    };
    if name.is_none() && flow.scope != Scope::Everybody {
        return Err(Reason::NoName.into());
    }
    let (egress, fail) = (model.egress_of(api), api.fail);
    let port = carriage.port().unwrap_or(wanted.port());
    let source = |ip| source(egress, ip, fail, known.on_node);
    let mut destinations = name.map_or_else(|| vec![wanted.ip()], known.addresses);
    destinations.sort_by_key(|ip| *ip != wanted.ip());
    let proxy = egress.proxy_for(name);
    if *carriage == Carriage::Passthrough {
        let guard = |ip: &IpAddr| model.guard(api, port, &(known.listings_at)(*ip));
        let guards: Vec<&Api> = destinations.iter().filter_map(guard).collect();
        // A proxy chooses one of the addresses itself.
        if let Some(guard) = guards.first().filter(|_| proxy.is_some() || guards.len() == destinations.len()) {
            return Err(Refusal { reason: Reason::SharedAddress, api: Some(guard) });
        }
        destinations.retain(|ip| guard(ip).is_none());
    }
    if let Some(proxy) = proxy {
        let authority =
            name.map_or_else(|| SocketAddr::new(wanted.ip(), port).to_string(), |name| format!("{name}:{port}"));
        return Ok(through(proxy, authority, known.addresses, source)?);
    }
    Ok(permit(destinations, port, source)?)
}

/// Permits Egret to go to a server that the configuration names, from the egress addresses of the API whose policies use it.
///
/// # Errors
/// There is no address to go to or none to leave from.
pub fn admit_endpoint(
    (egress, fail): (&Egress, FailMode),
    endpoint: &Endpoint,
    addresses: impl Fn(&Host) -> Vec<IpAddr>,
    on_node: impl Fn(IpAddr) -> bool,
) -> Result<Permit, Reason> {
    let source = |ip| source(egress, ip, fail, &on_node);
    match egress.proxy_for(Some(&endpoint.host)) {
        Some(proxy) => through(proxy, format!("{}:{}", endpoint.host, endpoint.port), addresses, source),
        None => permit(addresses(&endpoint.host), endpoint.port, source),
    }
}

/// Permits Egret to go to a server that identifies nobody by address, such as the store of counters. The kernel chooses the
/// source address.
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
    on_node: impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, Reason> {
    match egress.source_for(destination) {
        Some(source) if on_node(source) => Ok(Some(source)),
        Some(_) if fail == FailMode::Open => Ok(None),
        Some(_) => Err(Reason::EgressAddressGone),
        None => Err(Reason::EgressFamilyMissing),
    }
}
