//! The sentence: a captured connection from accept to end. The only room that knows the order.

mod buffered;
mod clock;
mod downstream;
mod elsewhere;
mod first_bytes;
mod http;
mod http2;
mod intercept;
mod limits;
mod passthrough;
mod pipe;
mod policed;
mod requests;
mod rewound;
mod sample;
mod third_party;

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use self::downstream::Downstream;
use self::first_bytes::First;
use self::third_party::ThirdParty;
use crate::flow::{self, Bound, Share, Shares, Workloads};
use crate::listener::Accepted;
use crate::model::{Api, Decision, Exempt, Flow, Generation, Host, Mode, Model, OnRefusal, Origin, Protocol, Reason};
use crate::policy;
use crate::route::{self, Carriage, Route};
use crate::telemetry::{Bytes, Decided, FlowRecord, Telemetry};
use crate::tls::Leaves;
use crate::upstream::{self, Lease, Pool, descriptors};

pub use buffered::Buffered;
pub use clock::clock;
pub use elsewhere::Elsewhere;
pub use sample::{SAMPLE_PATIENCE, Sample, Sampled, sample};

/// Returns the origin record of an accepted socket.
pub type OriginOf = Box<dyn Fn(BorrowedFd<'_>) -> Option<Origin> + Send + Sync>;

/// Resolves a listed host.
pub type AddressesOf = Box<dyn Fn(&Host) -> Vec<IpAddr> + Send + Sync>;

/// What a connection needs of the rooms that are not its own.
pub struct Rooms {
    /// The kernel's record of an accepted socket, once.
    pub origin: OriginOf,
    /// Marks our own sockets.
    pub exempt: Exempt,
    /// The configuration of a generation.
    pub model: Box<dyn Fn(Generation) -> Arc<Model> + Send + Sync>,
    /// Egret's own resolution of a listed host.
    pub addresses: AddressesOf,
    /// Whether an address is on the node.
    pub on_node: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Names of workloads.
    pub workloads: Workloads,
    /// Their connections.
    pub connections: Shares,
    /// Their requests of HTTP/2.
    pub streams: Shares,
    /// The bytes of bodies that are held for policies.
    pub buffers: Shares,
    /// Requests that policies send and nobody waits for.
    pub sent_away: Shares,
    /// TLS with callers.
    pub leaves: Arc<Leaves>,
    /// Connections to third parties.
    pub pool: Arc<Pool>,
    /// What policies remember.
    pub policies: Arc<policy::State>,
    /// The configuration in force, as it changes.
    pub changes: watch::Receiver<Arc<Model>>,
    /// Records.
    pub telemetry: Arc<Telemetry>,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// A flow that may go: its third party has answered.
enum Admitted {
    /// As bytes; with what was read of the workload to know what it speaks.
    Bytes(TcpStream, Vec<u8>),
    /// As requests.
    Requests(Box<Requests>),
    /// Not at all: its requests name no host.
    Nameless(Vec<u8>),
}

struct Requests {
    prefix: Vec<u8>,
    carriage: Carriage,
    third_party: ThirdParty,
    /// If the third party could be reached; where it could not, policies may still answer.
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
    // Each part in a box of its own: a connection that is idle, for hours perhaps, needs no room for the parts that are over.
    let admitted = Box::pin(admit(&mut downstream, rooms, record, &mut place)).await;
    match admitted {
        Ok(Admitted::Bytes(upstream, prefix)) => {
            passthrough::carry(downstream, upstream, prefix, &record.bytes()).await
        }
        Ok(Admitted::Requests(requests)) => Box::pin(carry(*requests, downstream, record.bytes(), &rooms.leaves)).await,
        Ok(Admitted::Nameless(prefix)) => {
            let downstream = Downstream::new(prefix, downstream, record.bytes());
            Box::pin(http::refuse(downstream)).await
        }
        Err(reason) => {
            reset(&downstream);
            Err(reason)
        }
    }
}

/// Carries requests, inside TLS of our own where that was chosen.
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

/// Who, to where, speaking what, by which API: then, with a permit, to the third party.
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
    let model = (rooms.model)(origin.generation);
    let origin = if model.generation == origin.generation {
        origin
    } else {
        Origin { api: route::at(&model, origin.original_dst.0, &rooms.addresses), ..origin }
    };
    let flow = flow::identify(record.id(), origin, &rooms.workloads);
    record.identified(&flow);
    *place = Some(place_of(&flow, &model, rooms).ok_or(Reason::TooManyConnections)?);
    if !descriptors::has_room_for_caller(downstream) {
        return Err(Reason::DescriptorsExhausted);
    }
    let first = match model.api(flow.api) {
        Some(api) if api.opaque_ports.contains(&flow.original_dst.0.port()) => First::Opaque,
        // Who hesitates must not get around what is done with its requests.
        Some(api) if api.mode == Mode::Intercept || api.backend.is_some() || api.rules.is_some() => First::Caller,
        _ => First::Either,
    };
    let (protocol, prefix) = first_bytes::read(downstream, first, &model.limits).await?;
    record.detected(&protocol);
    let route = route::select(&model, &flow, &protocol);
    match &route {
        Ok(Route::Api(_, api)) => record.routed(&api.name, api.mode.label()),
        Ok(Route::Unlisted) => {}
        Err(_) => {
            if let Some(api) = model.api(flow.api) {
                record.routed(&api.name, Mode::Deny.label());
            }
        }
    }
    let route = route?;
    let carriage = match (&route, route::carriage(&route, &protocol)?) {
        (Route::Api(_, api), Carriage::Intercept(..)) if is_refused(api, &flow, &protocol, rooms) => {
            record.routed(&api.name, PASSED);
            Carriage::Passthrough
        }
        (_, carriage) => carriage,
    };
    let name = protocol.authority();
    if let (Route::Api(id, api), false) = (&route, carriage == Carriage::Passthrough) {
        let Some(name) = name else { return Ok(Admitted::Nameless(prefix)) };
        let rooms = Arc::clone(rooms);
        let third_party = ThirdParty::new(rooms, Arc::clone(&model), flow, (*id, api), carriage.clone(), name.clone());
        // The third party first: it says which protocol it is, and a caller whose handshake has succeeded can be served.
        let lease = Box::pin(third_party.first(record)).await?;
        return Ok(Admitted::Requests(Box::new(Requests { prefix, carriage, third_party, lease })));
    }
    let permit = policy::admit(&model, &flow, &route, &carriage, name, &rooms.addresses, &rooms.on_node)?;
    let upstream = upstream::connect(&permit, &rooms.exempt).await?;
    record.connected(upstream.local, upstream.remote, permit.proxy());
    Ok(Admitted::Bytes(upstream.stream, prefix))
}

/// The place of a connection among those of its caller's owner, if there is one.
fn place_of(flow: &Flow, model: &Model, rooms: &Rooms) -> Option<Share> {
    rooms.connections.take(&flow.workload.owner, 1, connections_of_one(model))
}

/// How many connections one owner may have; and requests of HTTP/2, each of which may need a connection of its own.
fn connections_of_one(model: &Model) -> Bound {
    let each = model.limits.connections_per_workload.map_or_else(descriptors::connections_of_one, u64::from);
    Bound { all: u64::MAX, each }
}

/// The mode on record where the caller's refusal has made it `passthrough`.
const PASSED: &str = "passthrough_on_refusal";

/// Whether the caller would refuse our leaf, and the API's owner lets it have its way.
fn is_refused(api: &Api, flow: &Flow, protocol: &Protocol, rooms: &Rooms) -> bool {
    let name = protocol.authority().filter(|_| api.on_refusal == OnRefusal::Passthrough);
    name.is_some_and(|name| rooms.leaves.refusals().passes(&flow.workload, name))
}

/// Puts on record what the kernel decided alone.
pub fn decided(decision: Decision, rooms: &Rooms) {
    let model = (rooms.model)(decision.origin.generation);
    let api = model.api(decision.origin.api).map(|api| (Arc::clone(&api.name), api.mode.label()));
    let Decision { origin, time, reason, source, udp, times } = decision;
    let flow = flow::identify(rooms.telemetry.number(), origin, &rooms.workloads);
    rooms.telemetry.decided(Decided { flow, api, time, source, udp, times }, reason);
}

/// The caller learns at once, as of any broken connection: a reset, not an orderly end.
fn reset(stream: &impl AsFd) {
    // A socket that is gone already cannot be reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
