//! Forwards the DNS queries of callers to the servers that they asked, and responses back. It changes nothing, byte for byte, but
//! for one thing: it removes the parameters from HTTPS and SVCB records of listed hosts that would lead callers past Egret. The
//! addresses of a listed host are in the kernel's table before its caller gets the response.

mod bindings;
mod crowded;
mod datagram;
mod exit;
#[cfg(test)]
mod fuzz;
mod message;
mod places;
#[cfg(test)]
mod properties;
mod refusal;
mod sockets;
mod stream;
mod upstream;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::crowded::Disconnects;
use self::places::Places;
use self::refusal::Refusals;
use self::upstream::Upstreams;
use super::Seen;
use crate::model::{DnsSender, Exempt};

pub(super) use crowded::Disconnect;
pub use exit::Exit;
pub use sockets::{ForeignSockets, Sockets};

/// Longest wait for a server's response. A caller that waits longer asks again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest wait for the kernel's table to have the addresses of a response.
const LEARNING: Duration = Duration::from_secs(1);

/// The time between two heartbeats.
const BEAT: Duration = Duration::from_millis(250);

/// Age of the heartbeat from which the hooks let DNS queries leave directly.
pub const STALE_AFTER: Duration = Duration::from_secs(2);

/// Returns who sent the datagram that a socket received last.
pub(super) type SenderOf = Box<dyn Fn(std::os::fd::BorrowedFd<'_>) -> Option<DnsSender> + Send + Sync>;

/// Returns whether a name is listed: lower case, no trailing dot.
pub(super) type IsListed = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Takes the addresses of a listed host in; ends when the kernel's table has them.
pub(super) type Learn = Box<dyn Fn(Seen) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Takes the addresses of a host in that is not listed.
pub(super) type Observe = Box<dyn Fn(Seen) + Send + Sync>;

/// What the forwarder needs of other rooms.
pub struct Rooms {
    /// Marks sockets of Egret's own.
    pub exempt: Exempt,
    /// Returns who sent a datagram.
    pub sender: SenderOf,
    /// Returns whether a name is listed.
    pub is_listed: IsListed,
    /// Takes addresses of listed hosts in.
    pub learn: Learn,
    /// Returns whether addresses of hosts that are not listed are wanted.
    pub observes: Box<dyn Fn() -> bool + Send + Sync>,
    /// Takes addresses of hosts in that are not listed.
    pub observe: Observe,
    /// Writes the heartbeat. Without it the hooks let DNS queries leave directly.
    pub beat: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Disconnects a caller's socket.
    pub disconnect: Disconnect,
    /// Has the hooks let the queries of a cgroup leave directly for this time.
    pub leave: Box<dyn Fn(u64, Duration) -> Result<(), String> + Send + Sync>,
}

/// The forwarder of callers' DNS queries.
pub struct Forwarder {
    rooms: Rooms,
    places: Places,
    refusals: Refusals,
    disconnects: Disconnects,
    upstreams: Upstreams,
    counts: Counts,
    receivers: TaskTracker,
    queries: TaskTracker,
    /// Whether it has stopped: nothing that it learns is published any more.
    has_stopped: AtomicBool,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

/// The number of queries and responses so far, by what became of them.
#[derive(Debug, Default)]
struct Counts {
    queries: AtomicU64,
    learnt: AtomicU64,
    changed: AtomicU64,
    learnt_late: AtomicU64,
    no_sender: AtomicU64,
    no_room: AtomicU64,
    disconnected: AtomicU64,
    unreachable: AtomicU64,
    timeouts: AtomicU64,
    mismatched: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// One query on its way.
struct Query<'a> {
    bytes: &'a [u8],
    server: SocketAddr,
    caller: u64,
    exit: &'a Exit,
}

/// Who was asked, and by whom.
#[derive(Clone, Copy)]
struct Asked {
    server: SocketAddr,
    /// The cgroup of the caller.
    caller: u64,
    is_from_node: bool,
}

impl Forwarder {
    /// Creates it; it forwards once it runs.
    ///
    /// # Errors
    /// Egret lacks CAP_NET_RAW.
    pub fn new(rooms: Rooms) -> io::Result<Self> {
        let refusals = Refusals::open()?;
        let places = Places::new(places::at_once());
        let (receivers, queries) = (TaskTracker::new(), TaskTracker::new());
        queries.close();
        let (upstreams, counts, has_stopped) = (Upstreams::default(), Counts::default(), AtomicBool::new(false));
        let disconnects = Disconnects::default();
        Ok(Self { rooms, places, refusals, disconnects, upstreams, counts, receivers, queries, has_stopped })
    }

    /// Returns the counters by the names that metrics and the CLI show.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let Counts {
            queries,
            learnt,
            changed,
            learnt_late,
            no_sender,
            no_room,
            disconnected,
            unreachable,
            timeouts,
            mismatched,
        } = &self.counts;
        [
            ("forwarded", queries),
            ("learnt", learnt),
            ("parameters_removed", changed),
            ("learnt_late", learnt_late),
            ("dropped_no_sender", no_sender),
            ("dropped_no_room", no_room),
            ("disconnected_no_room", disconnected),
            ("server_unreachable", unreachable),
            ("server_timeout", timeouts),
            ("response_mismatched", mismatched),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .into()
    }

    /// Forwards what comes to these sockets until stopped. Queries that are on their way then are still responded to.
    pub async fn run(self: Arc<Self>, sockets: Arc<Sockets>, stop: CancellationToken) {
        for socket in sockets.all() {
            let (forwarder, stop) = (Arc::clone(&self), stop.clone());
            self.receivers.spawn(stop.run_until_cancelled_owned(forwarder.receive(socket, Exit::node())));
        }
        self.receivers.close();
        stop.run_until_cancelled(self.beat()).await;
        self.has_stopped.store(true, Ordering::Relaxed);
    }

    /// Forwards what comes to these sockets in another network namespace, from there, until one of the two stops it.
    pub fn forward_from(self: &Arc<Self>, sockets: &ForeignSockets, exit: &Exit, stops: [&CancellationToken; 2]) {
        for socket in sockets.all() {
            let (forwarder, [one, other]) = (Arc::clone(self), stops.map(CancellationToken::clone));
            let receiving = other.run_until_cancelled_owned(forwarder.receive(socket, exit.clone()));
            self.receivers.spawn(one.run_until_cancelled_owned(receiving));
        }
    }

    /// Returns once it receives nothing any more, after it was stopped.
    pub async fn stopped(&self) {
        self.receivers.wait().await;
    }

    /// Returns once no query is on its way.
    pub async fn responded(&self) {
        self.queries.wait().await;
    }

    async fn beat(&self) {
        let mut interval = tokio::time::interval(BEAT);
        loop {
            interval.tick().await;
            self.upstreams.sweep();
            if let Err(error) = (self.rooms.beat)() {
                tracing::error!(%error, "heartbeat of the DNS forwarder failed: DNS queries will leave directly");
            }
        }
    }

    /// Returns the response to a query, as the caller is to get it; nothing if there is none.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn respond(&self, query: Query<'_>) -> io::Result<Option<Vec<u8>>> {
        let Query { server, caller, exit, .. } = query;
        match tokio::time::timeout(PATIENCE, self.upstreams.ask(&query, &self.rooms.exempt, &self.counts)).await {
            Ok(Ok(response)) => {
                Ok(self.prepare(response, Asked { server, caller, is_from_node: exit.is_nodes() }).await)
            }
            Ok(Err(error)) => {
                tracing::debug!(server = %query.server, %error, "a DNS server cannot be asked");
                add(&self.counts.unreachable);
                Err(error)
            }
            Err(_) => {
                add(&self.counts.timeouts);
                Ok(None)
            }
        }
    }

    /// Returns a response as its caller is to get it, once the addresses that it names are captured. Returns nothing where this
    /// process cannot have them captured any more: the caller asks again, and its successor responds.
    async fn prepare(&self, response: Vec<u8>, asked: Asked) -> Option<Vec<u8>> {
        let Some(question) = message::question(&response) else { return Some(response) };
        let is_listed = (self.rooms.is_listed)(question.host());
        if !is_listed && !(self.rooms.observes)() {
            return Some(response);
        }
        let name = question.host().to_owned();
        let Some(found) = bindings::of(&response) else { return Some(response) };
        let Asked { server, caller, is_from_node } = asked;
        let seen = Seen { name, addresses: found.addresses, ttl: found.ttl, server, caller, is_from_node };
        let names_any = !seen.addresses.is_empty();
        if !is_listed {
            if names_any {
                (self.rooms.observe)(seen);
            }
            return Some(response);
        }
        if names_any {
            let learn = (self.rooms.learn)(seen);
            match tokio::time::timeout(LEARNING, learn).await {
                Ok(()) => add(&self.counts.learnt),
                Err(_) => {
                    add(&self.counts.learnt_late);
                    if self.has_stopped.load(Ordering::Relaxed) {
                        return None;
                    }
                }
            }
        }
        match found.changed {
            Some(changed) => {
                add(&self.counts.changed);
                Some(changed)
            }
            None => Some(response),
        }
    }
}
