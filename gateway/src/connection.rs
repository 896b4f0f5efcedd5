//! A captured connection from accept to end. This is the only room that knows the order of the steps.

mod buffered;
mod clock;
mod downstream;
mod elsewhere;
mod exchange;
mod farewell;
mod first_bytes;
mod http;
mod http2;
mod intercept;
mod judged;
mod limits;
mod passthrough;
mod pipe;
mod policed;
mod requests;
mod rewound;
mod routing;
mod sample;
mod sender;
mod third_party;
mod trailers;
mod upgrade;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use self::downstream::Downstream;
use self::third_party::ThirdParty;
use crate::flow::{self, Bound, Share, Shares, Workloads};
use crate::listener::Accepted;
use crate::model::{
    DNS, Decision, Flow, Generation, Host, Limits, Listing, Model, Origin, Pending, Protocol, Reason, Scope, UNLISTED,
};
use crate::route::Carriage;
use crate::telemetry::{Bytes, Decided, FlowRecord, Telemetry};
use crate::tls::Leaves;
use crate::upstream::{Dialer, Lease, Pool, Windows, descriptors};
use crate::{permit, policy};

pub use buffered::Buffered;
pub use clock::clock;
pub use elsewhere::Elsewhere;
pub use sample::{SAMPLE_PATIENCE, Sample, Sampled, sample};

/// Returns the origin record of an accepted socket.
pub type OriginOf = Box<dyn Fn(BorrowedFd<'_>) -> Option<Origin> + Send + Sync>;

/// Resolves a listed host.
pub type AddressesOf = Box<dyn Fn(&Host) -> Vec<IpAddr> + Send + Sync>;

/// The listings whose names are at an address.
pub type ListingsAt = Box<dyn Fn(IpAddr) -> Vec<Listing> + Send + Sync>;

/// The listings whose names are at an address, for the callers of a scope.
pub type ListingsFor = Box<dyn Fn(IpAddr, Scope) -> Vec<Listing> + Send + Sync>;

/// The names that the callers of a scope alone know an address by.
pub type NamesFor = Box<dyn Fn(IpAddr, Scope) -> Vec<Host> + Send + Sync>;

/// Resolves a name below a wildcard, for an owner.
pub type Resolve = Box<dyn Fn(Host, Arc<str>) -> Pending<'static, ()> + Send + Sync>;

/// Asks Egret's own resolver whether a host that no API lists has an address. The wait is bounded.
pub type LivesAt = Box<dyn Fn(Host, IpAddr) -> Pending<'static, bool> + Send + Sync>;

/// Returns the name for which callers of an owner got an address.
pub type NameAt = Box<dyn Fn(&str, IpAddr) -> Option<Host> + Send + Sync>;

/// Carries a connection to a DNS server for a caller in this cgroup.
pub type CarryDns =
    Box<dyn Fn(TcpStream, SocketAddr, u64, Arc<Bytes>) -> Pending<'static, Result<(), Reason>> + Send + Sync>;

/// What a connection needs of other rooms.
pub struct Rooms {
    /// Returns the kernel's record of an accepted socket, once.
    pub origin: OriginOf,
    /// Connects to third parties.
    pub dialer: Arc<Dialer>,
    /// Returns the configuration of a generation.
    pub model: Box<dyn Fn(Generation) -> Arc<Model> + Send + Sync>,
    /// Returns Egret's own resolution of a listed host.
    pub addresses: AddressesOf,
    /// Returns the listings whose names are at an address.
    pub listings_at: ListingsAt,
    /// Returns the same for the callers that a rule is for.
    pub listings_for: ListingsFor,
    /// Returns the names by which the owner that a rule is for knows an address.
    pub names_for: NamesFor,
    /// Resolves a name below a wildcard, for this owner. Its addresses are known afterwards, if it has some.
    pub resolve: Resolve,
    /// Returns whether a stranger's host lives at an address.
    pub lives_at: LivesAt,
    /// Carries connections to DNS servers.
    pub carry_dns: CarryDns,
    /// Returns the name for which callers of an owner got an address.
    pub name_at: NameAt,
    /// Returns whether an address is on the node.
    pub on_node: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Names of workloads.
    pub workloads: Arc<Workloads>,
    /// Connections of workloads.
    pub connections: Shares,
    /// Those of them that speak HTTP/2: each may make Egret hold as much as its windows allow.
    pub http2: Shares,
    /// Their requests of HTTP/2.
    pub streams: Shares,
    /// Bytes that their wide windows of HTTP/2 allow.
    pub windows: Shares,
    /// The bytes of bodies that are held for policies.
    pub buffers: Shares,
    /// Requests that policies send and nobody waits for.
    pub sent_away: Shares,
    /// Lookups of strangers' names, by owner.
    pub lookups: Shares,
    /// TLS with callers.
    pub leaves: Arc<Leaves>,
    /// Connections to third parties.
    pub pool: Arc<Pool>,
    /// The state of policies.
    pub policies: Arc<policy::State>,
    /// The configuration in force, as it changes.
    pub changes: watch::Receiver<Arc<Model>>,
    /// Where flows are recorded.
    pub telemetry: Arc<Telemetry>,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

impl Rooms {
    /// Takes the room of one more connection of HTTP/2 with wide windows, if there is some.
    fn wide_windows(&self, owner: &Arc<str>, limits: &Limits) -> (Windows, Option<Arc<Share>>) {
        let bound = Bound { all: limits.buffered_bytes, each: limits.buffered_bytes / 4 };
        match self.windows.take(owner, Windows::ROOM, bound) {
            Some(share) => (Windows::Wide, Some(Arc::new(share))),
            None => (Windows::Narrow, None),
        }
    }

    fn known(&self) -> permit::Known<'_> {
        permit::Known { addresses: &self.addresses, listings_at: &self.listings_at, on_node: &self.on_node }
    }
}

/// What happens to a flow.
enum Admitted {
    /// It is carried as bytes, over this connection. The bytes that were read from the caller come first.
    Bytes(TcpStream, Vec<u8>),
    /// It is carried as requests.
    Requests(Box<Requests>),
    /// It is carried to this DNS server, for a caller in this cgroup.
    Dns(SocketAddr, u64),
    /// It is refused. Its requests get a response that says why.
    Refused(Vec<u8>, Reason),
}

struct Requests {
    prefix: Vec<u8>,
    carriage: Carriage,
    third_party: ThirdParty,
    /// Absent if the third party could not be reached: policies may still respond.
    lease: Option<Lease>,
}

/// Serves one captured connection to its end.
pub async fn serve(Accepted { stream }: Accepted, rooms: Arc<Rooms>) {
    let mut record = rooms.telemetry.open();
    let limits = rooms.changes.borrow().limits;
    let outcome = if limits.idle.is_some() || limits.total.is_some() {
        let bytes = record.bytes();
        let limited = async {
            tokio::select! {
                outcome = flow(stream, &rooms, &record) => outcome,
                exceeded = limits::exceeded(limits, &bytes) => Err(exceeded),
            }
        };
        Box::pin(limited).await
    } else {
        flow(stream, &rooms, &record).await
    };
    record.ended(outcome);
}

async fn flow(mut downstream: TcpStream, rooms: &Arc<Rooms>, record: &FlowRecord) -> Result<(), Reason> {
    let mut place = None;
    // Each part is in a box of its own: a connection that is idle, perhaps for hours, needs no memory for the parts that are over.
    let admitted = Box::pin(admit(&mut downstream, rooms, record, &mut place)).await;
    match admitted {
        Ok(Admitted::Bytes(upstream, prefix)) => {
            passthrough::carry(downstream, upstream, prefix, &record.bytes()).await
        }
        Ok(Admitted::Requests(requests)) => Box::pin(carry(*requests, downstream, record.bytes(), &rooms.leaves)).await,
        Ok(Admitted::Dns(server, caller)) => (rooms.carry_dns)(downstream, server, caller, record.bytes()).await,
        Ok(Admitted::Refused(prefix, reason)) => {
            let downstream = Downstream::new(prefix, downstream, record.bytes());
            Box::pin(http::refuse(downstream, reason)).await
        }
        Err(reason) => {
            reset(&downstream);
            Err(reason)
        }
    }
}

/// Carries requests, inside Egret's own TLS where the API is intercepted.
async fn carry(requests: Requests, downstream: TcpStream, bytes: Arc<Bytes>, leaves: &Leaves) -> Result<(), Reason> {
    let Requests { prefix, carriage, third_party, lease } = requests;
    let downstream = Downstream::new(prefix, downstream, bytes);
    match lease {
        None if !matches!(carriage, Carriage::Intercept(..)) => {
            let handle = downstream.handle();
            Box::pin(http::carry(downstream, handle, None, third_party)).await
        }
        Some(Lease::Http1(first)) if !matches!(carriage, Carriage::Intercept(..)) => {
            let handle = downstream.handle();
            Box::pin(http::carry(downstream, handle, Some(first), third_party)).await
        }
        lease => Box::pin(intercept::carry(downstream, lease, third_party, leaves)).await,
    }
}

/// Finds out who calls, to where, speaking what, and by which API; then connects to the third party with a permit.
async fn admit(
    downstream: &mut TcpStream,
    rooms: &Arc<Rooms>,
    record: &FlowRecord,
    place: &mut Option<Share>,
) -> Result<Admitted, Reason> {
    let origin = (rooms.origin)(downstream.as_fd()).ok_or(Reason::NoOrigin)?;
    if !matches!(downstream.take_error(), Ok(None)) {
        return Err(Reason::ClientReset);
    }
    let (is_dns, caller) = (origin.api == DNS, origin.cgroup);
    let model = (rooms.model)(origin.generation);
    let sharers = routing::sharers(&model, &origin, rooms);
    let origin = routing::known(&model, origin, &sharers);
    let flow = flow::identify(record.id(), origin, &rooms.workloads).await;
    record.identified(&flow);
    *place = Some(place_of(&flow, &model, rooms).ok_or(Reason::TooManyConnections)?);
    if !descriptors::has_room_for_caller(downstream) {
        return Err(Reason::DescriptorsExhausted);
    }
    if is_dns {
        return Ok(Admitted::Dns(flow.original_dst.0, caller));
    }
    let first = routing::speaks_first(&sharers, &flow.workload, flow.original_dst.0.port());
    let (protocol, prefix) = first_bytes::read(downstream, first, &model.limits).await?;
    record.detected(&protocol);
    let (route, carriage) = match routing::route(&model, &flow, &protocol, &sharers, rooms, record).await {
        Ok(chosen) => chosen,
        Err(reason) if is_told(&protocol, reason) => return Ok(Admitted::Refused(prefix, reason)),
        Err(reason) => return Err(reason),
    };
    if let (Some(name), false) = (protocol.authority(), carriage == Carriage::Passthrough) {
        let (rooms, model) = (Arc::clone(rooms), Arc::clone(&model));
        let third_party = ThirdParty::new(rooms, model, flow, &route, carriage.clone(), name.clone(), record.bytes());
        // The third party comes first: it chooses the protocol, and a caller whose handshake has succeeded can be served.
        let lease = Box::pin(third_party.first(record)).await?;
        return Ok(Admitted::Requests(Box::new(Requests { prefix, carriage, third_party, lease })));
    }
    let name = routing::name(&route, &flow, &protocol, rooms).await?;
    let permit = permit::admit(&model, &flow, &route, &carriage, name.as_ref(), rooms.known())
        .map_err(|refusal| routing::refused(refusal, record))?;
    let upstream = rooms.dialer.connect(&permit).await?;
    record.connected(upstream.local, upstream.remote, permit.proxy());
    Ok(Admitted::Bytes(upstream.stream, prefix))
}

/// The place of a connection among those of its caller's owner, if there is one.
fn place_of(flow: &Flow, model: &Model, rooms: &Rooms) -> Option<Share> {
    rooms.connections.take(&flow.workload.identity.owner, 1, connections_of_one(model))
}

/// How many connections one owner may have; and requests of HTTP/2, each of which may need a connection of its own.
fn connections_of_one(model: &Model) -> Bound {
    let each = model.limits.connections_per_workload.map_or_else(descriptors::connections_of_one, u64::from);
    Bound { all: u64::MAX, each }
}

/// Returns whether the caller gets a response instead of a reset: in plain HTTP, if what it named, or who it is, is the reason.
fn is_told(protocol: &Protocol, reason: Reason) -> bool {
    matches!(protocol, Protocol::Http1 { .. })
        && matches!(
            reason,
            Reason::NoName | Reason::NameMismatch | Reason::StrangerRefused | Reason::WorkloadNotAllowed
        )
}

/// Records a decision that the kernel made alone.
pub async fn decided(decision: Decision, rooms: &Rooms) {
    let model = (rooms.model)(decision.origin.generation);
    let api = model.api(decision.origin.api).map(|api| (Arc::clone(&api.name), api.mode.label()));
    let Decision { origin, time, reason, source, udp, times } = decision;
    let flow = flow::identify(rooms.telemetry.number(), origin, &rooms.workloads).await;
    let name = (flow.api == UNLISTED)
        .then(|| (rooms.name_at)(&flow.workload.identity.owner, flow.original_dst.0.ip()))
        .flatten();
    rooms.telemetry.decided(Decided { flow, api, name, time, source, udp, times }, reason);
}

/// Makes the connection end with a reset, not with an orderly end: the caller learns at once that it is broken.
fn reset(stream: &impl AsFd) {
    // A socket that is gone already cannot be reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
