//! The sentence: a captured connection from accept to end. The only room that knows the order.

mod counted;
mod first_bytes;
mod http;
mod http2;
mod passthrough;
mod pipe;
mod prefixed;
mod requests;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::flow::{self, Workloads};
use crate::listener::Accepted;
use counted::Counted;
use prefixed::Prefixed;

use crate::model::{Alpn, Decision, Exempt, Generation, Host, Mode, Model, Origin, Reason};
use crate::policy;
use crate::route::{self, Carriage, Route};
use crate::telemetry::{Bytes, Decided, FlowRecord, Telemetry};
use crate::tls::Leaves;
use crate::upstream;

/// Reads and deletes the origin record of an accepted socket.
pub type OriginOf = Box<dyn Fn(SocketAddr) -> Option<Origin> + Send + Sync>;

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
    /// TLS with callers.
    pub leaves: Arc<Leaves>,
    /// TLS with third parties.
    pub tls: upstream::Tls,
    /// Records.
    pub telemetry: Arc<Telemetry>,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// A flow that may go: its third party has answered.
struct Admitted {
    upstream: TcpStream,
    /// Bytes of the workload that were read to know what it speaks.
    prefix: Vec<u8>,
    carriage: Carriage,
    /// Whom the workload wants to speak to.
    name: Option<Host>,
    /// Whom requests on this connection may be for.
    hosts: Vec<Host>,
}

/// Serves one captured connection to its end.
pub async fn serve(Accepted { stream: mut downstream, client }: Accepted, rooms: Arc<Rooms>) {
    let mut record = rooms.telemetry.open();
    let outcome = match admit(&mut downstream, client, &rooms, &record).await {
        Ok(admitted) => carry(admitted, downstream, record.bytes(), &rooms).await,
        Err(reason) => {
            reset(&downstream);
            Err(reason)
        }
    };
    record.ended(outcome);
}

/// Carries it as was chosen.
async fn carry(admitted: Admitted, downstream: TcpStream, bytes: Arc<Bytes>, rooms: &Rooms) -> Result<(), Reason> {
    let Admitted { upstream, prefix, carriage, name, hosts } = admitted;
    if carriage == Carriage::Passthrough {
        return passthrough::carry(downstream, upstream, prefix, &bytes).await;
    }
    let socket = socket(&downstream)?;
    let (downstream, upstream) = (Prefixed::new(prefix, downstream), Counted::new(upstream, bytes));
    // In a box: bytes that are carried untouched, idle for hours perhaps, need no room for requests.
    Box::pin(carry_requests(carriage, name, hosts, downstream, socket, upstream, rooms)).await
}

/// Carries requests, over TLS of our own on the sides that were chosen.
async fn carry_requests(
    carriage: Carriage,
    name: Option<Host>,
    hosts: Vec<Host>,
    downstream: Prefixed<TcpStream>,
    socket: OwnedFd,
    upstream: Counted,
    rooms: &Rooms,
) -> Result<(), Reason> {
    let (backend, alpn) = match &carriage {
        Carriage::Http | Carriage::Passthrough => return http::carry(downstream, socket, upstream, hosts).await,
        Carriage::Intercept(backend, alpn) => (backend, *alpn),
        Carriage::Originate(backend) => (backend, Alpn::HTTP1),
    };
    let name = name.ok_or(Reason::NoName)?;
    // The third party first: it says which protocol it is, and a caller whose handshake has succeeded can be served.
    let upstream = rooms.tls.connect(backend, &name, alpn, upstream).await.inspect_err(|_| reset(&socket))?;
    match carriage {
        Carriage::Intercept(..) if upstream::is_http2(&upstream) => {
            let downstream = rooms.leaves.accept(&name, Alpn::HTTP2, downstream).await?;
            http2::carry(downstream, upstream, hosts).await
        }
        Carriage::Intercept(..) => {
            let downstream = rooms.leaves.accept(&name, Alpn::HTTP1, downstream).await?;
            http::carry(downstream, socket, upstream, hosts).await
        }
        _ => http::carry(downstream, socket, upstream, hosts).await,
    }
}

/// The caller's socket, to reset it whatever is spoken over it.
fn socket(downstream: &TcpStream) -> Result<OwnedFd, Reason> {
    downstream.as_fd().try_clone_to_owned().map_err(|_| Reason::ClientReset)
}

/// Who, to where, speaking what, by which API: then, with a permit, to the third party.
async fn admit(
    downstream: &mut TcpStream,
    client: SocketAddr,
    rooms: &Rooms,
    record: &FlowRecord,
) -> Result<Admitted, Reason> {
    // A caller that has reset already may have connected anew from the same port: the record is the new connection's.
    if !matches!(downstream.take_error(), Ok(None)) {
        return Err(Reason::ClientReset);
    }
    let origin = (rooms.origin)(client).ok_or(Reason::NoOrigin)?;
    let model = (rooms.model)(origin.generation);
    let origin = if model.generation == origin.generation {
        origin
    } else {
        Origin { api: route::at(&model, origin.original_dst.0, &rooms.addresses), ..origin }
    };
    let flow = flow::identify(record.id(), origin, &rooms.workloads);
    record.identified(&flow);
    let opaque = model.api(flow.api).is_some_and(|api| api.opaque_ports.contains(&flow.original_dst.0.port()));
    let (protocol, prefix) = first_bytes::read(downstream, opaque).await?;
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
    let carriage = route::carriage(&route, &protocol)?;
    let name = protocol.authority();
    let permit = policy::admit(&model, &flow, &route, &carriage, name, &rooms.addresses, &rooms.on_node)?;
    let upstream = upstream::connect(&permit, &rooms.exempt).await?;
    record.connected(upstream.local, upstream.remote);
    let hosts = match route {
        Route::Api(_, api) => api.hosts.clone(),
        Route::Unlisted => Vec::new(),
    };
    Ok(Admitted { upstream: upstream.stream, prefix, carriage, name: name.cloned(), hosts })
}

/// Puts on record what the kernel decided alone.
pub fn decided(decision: Decision, rooms: &Rooms) {
    let model = (rooms.model)(decision.origin.generation);
    let api = model.api(decision.origin.api).map(|api| (Arc::clone(&api.name), api.mode.label()));
    let Decision { origin, time, reason, source, quic } = decision;
    let flow = flow::identify(rooms.telemetry.number(), origin, &rooms.workloads);
    rooms.telemetry.decided(Decided { flow, api, time, source, quic }, reason);
}

/// The caller learns at once, as of any broken connection: a reset, not an orderly end.
fn reset(stream: &impl AsFd) {
    // A socket that is gone already cannot be reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
