//! Joins the DNS forwarder with the hooks and with the listed hosts.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::models::Models;
use super::namespaces;
use crate::capture::{Capture, netns_cookie};
use crate::connection::CarryDns;
use crate::flow::Workloads;
use crate::listener::Entrance;
use crate::model::Reason;
use crate::names::{DnsExit, DnsRooms, DnsSockets, FORWARDER_STALE_AFTER, ForeignDnsSockets, Forwarder, Names};

/// The forwarder and its sockets.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    pub(super) forwarder: Arc<Forwarder>,
    sockets: Arc<DnsSockets>,
    stop: CancellationToken,
}

/// Returns how connections to DNS servers are carried, from the network namespace of the connection: the node's has this cookie. A
/// former process may have left some on their way to one that does not forward.
pub(super) fn carry(forwarder: Option<Arc<Forwarder>>, entrance: Entrance, nodes: u64) -> CarryDns {
    Box::new(move |mut stream, server, caller, bytes| {
        let (forwarder, exit) = (forwarder.clone(), exit_of(&stream, &entrance, nodes));
        Box::pin(async move {
            let Some(forwarder) = forwarder else { return Err(Reason::NoOrigin) };
            let (exit, _socket) = exit.map_err(|_| Reason::UpstreamReset)?;
            let on_bytes = |sent: usize, received: usize| {
                bytes.sent.fetch_add(sent as u64, Ordering::Relaxed);
                bytes.received.fetch_add(received as u64, Ordering::Relaxed);
            };
            forwarder.carry(&mut stream, server, caller, exit, on_bytes).await.map_err(|error| match error.kind() {
                ErrorKind::TimedOut => Reason::Idle,
                ErrorKind::ConnectionRefused => Reason::UpstreamRefused,
                _ => Reason::UpstreamReset,
            })
        })
    })
}

/// Returns the network namespace of a connection as the exit of its queries. It holds as long as the socket that comes with it.
fn exit_of(stream: &TcpStream, entrance: &Entrance, nodes: u64) -> std::io::Result<(DnsExit, Option<Arc<OwnedFd>>)> {
    let netns = netns_cookie(stream.as_fd())?;
    if netns == nodes {
        return Ok((DnsExit::node(), None));
    }
    let socket = Arc::new(stream.as_fd().try_clone_to_owned()?);
    Ok((namespaces::exit(entrance, netns, Arc::downgrade(&socket)), Some(socket)))
}

impl Forwarding {
    /// Creates it with the sockets of another process, or with its own.
    pub(super) fn new(
        inherited: Vec<OwnedFd>,
        capture: &Arc<Capture>,
        names: &Arc<Names>,
        workloads: &Arc<Workloads>,
        models: &Arc<Models>,
    ) -> std::io::Result<Self> {
        let each = Capture::DNS_SOCKETS;
        let sockets = if inherited.is_empty() { DnsSockets::bind(each) } else { DnsSockets::adopt(inherited, each) }?;
        let [exempt, sender, beat, leave] = std::array::from_fn(|_| Arc::clone(capture));
        let (listed, learning, workloads) = (Arc::clone(names), Arc::clone(names), Arc::clone(workloads));
        let (observing, callers, models) = (Arc::clone(names), Arc::clone(&workloads), Arc::clone(models));
        let rooms = DnsRooms {
            exempt: Arc::new(move |socket| exempt.exempt(socket)),
            sender: Box::new(move |socket| sender.dns_sender(socket)),
            is_listed: Box::new(move |name| listed.is_listed(name)),
            learn: Box::new(move |seen| {
                let (names, workloads) = (Arc::clone(&learning), Arc::clone(&workloads));
                Box::pin(async move {
                    let (owner, cgroup) = workloads.owner(seen.caller).await;
                    names.learn_seen(seen, &owner, cgroup).await;
                })
            }),
            observes: Box::new(move || !models.current().unlisted.is_off()),
            observe: Box::new(move |seen| {
                let (names, workloads) = (Arc::clone(&observing), Arc::clone(&callers));
                // Nobody waits for it: the name is only shown.
                tokio::spawn(async move {
                    let (owner, _) = workloads.owner(seen.caller).await;
                    names.observe(&seen, &owner);
                });
            }),
            beat: Box::new(move || beat.beat_for_dns().map_err(|error| error.to_string())),
            disconnect: Capture::disconnect_from_dns,
            leave: Box::new(move |cgroup, time| leave.leave_dns_of(cgroup, time).map_err(|error| error.to_string())),
        };
        let (forwarder, stop) = (Arc::new(Forwarder::new(rooms)?), CancellationToken::new());
        Ok(Self { forwarder, sockets: Arc::new(sockets), stop })
    }

    /// Takes DNS queries of callers from now on.
    pub(super) fn start(&self, capture: &Capture) -> Result<(), crate::capture::Error> {
        tokio::spawn(Arc::clone(&self.forwarder).run(Arc::clone(&self.sockets), self.stop.clone()));
        let (v4, v6) = self.sockets.by_family();
        capture.forward_dns(&v4, &v6, FORWARDER_STALE_AFTER)
    }

    /// Forwards what comes to these sockets in another network namespace until either stops.
    pub(super) fn forward_from(&self, sockets: &ForeignDnsSockets, exit: &DnsExit, stop: &CancellationToken) {
        self.forwarder.forward_from(sockets, exit, [stop, &self.stop]);
    }

    /// Returns the ports of its sockets in other network namespaces than the node's.
    pub(super) fn ports(&self) -> (Option<u16>, Option<u16>) {
        self.sockets.first_ports()
    }

    /// Leaves queries to another process that has the sockets. Returns once this one receives none any more.
    pub(super) async fn leave(&self) {
        self.stop.cancel();
        self.forwarder.stopped().await;
    }

    /// Ends: queries leave directly, and those that are on their way get their responses for a moment.
    pub(super) async fn end(self, capture: &Capture) {
        const PATIENCE: Duration = Duration::from_secs(1);
        if let Err(error) = capture.leave_dns() {
            tracing::error!(%error, "cannot tell the hooks that the DNS forwarder stops");
        }
        // It goes on receiving: a caller whose socket is connected asks the forwarder to its end.
        let _ = tokio::time::timeout(PATIENCE, self.forwarder.responded()).await;
        self.leave().await;
    }

    /// Returns duplicates of the sockets, to be passed on.
    pub(super) fn pass_on(&self) -> std::io::Result<Vec<OwnedFd>> {
        let (v4, v6) = self.sockets.by_family();
        v4.iter().chain(&v6).map(|socket| socket.as_fd().try_clone_to_owned()).collect()
    }
}
