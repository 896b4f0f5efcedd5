//! Callers that have too many queries on their way. Their further queries leave directly, so that they neither fill the forwarder's
//! queues nor wait for it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::{Exit, Forwarder, PATIENCE, add};

/// How long the queries of such a cgroup leave directly, from the newest one: as long as these may be on their way. A caller that lost a
/// query asks again within that time.
const RELIEF: Duration = PATIENCE;

/// How long queries may still come that were sent before the hooks let others of their cgroup leave directly.
const SETTLING: Duration = Duration::from_millis(50);

/// Cgroups that are known to send such queries, at most. Beyond, all are forgotten: a workload may make cgroups without end.
const MOST: usize = 1_024;

/// Sockets that are disconnected at the same time, at most. Of those beyond, the next query counts again.
const AT_ONCE: usize = 4;

/// Disconnects a caller's socket at the first address from the forwarder's at the second, by a netlink socket in its network namespace.
/// Returns whether the socket was connected.
pub(in crate::names) type Disconnect = fn(BorrowedFd<'_>, SocketAddr, SocketAddr) -> io::Result<bool>;

/// Sockets that are being disconnected.
#[derive(Debug)]
pub(super) struct Disconnects {
    places: Arc<Semaphore>,
    has_warned: AtomicBool,
    crowds: Mutex<Crowds>,
}

impl Default for Disconnects {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { places, has_warned: AtomicBool::new(false), crowds: Mutex::default() }
    }
}

impl Disconnects {
    /// Whether a query that finds no room comes from a socket that passes no hook.
    fn is_due(&self, cgroup: u64) -> bool {
        self.crowds.lock().unwrap_or_else(PoisonError::into_inner).persists(cgroup, Instant::now())
    }
}

/// The cgroups whose queries find no room, and since when.
#[derive(Debug, Default)]
struct Crowds(HashMap<u64, Instant>);

impl Crowds {
    /// Notes such a query. Returns whether queries of its cgroup still come after those without `connect` leave directly.
    fn persists(&mut self, cgroup: u64, now: Instant) -> bool {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let since = self.0.entry(cgroup).or_insert(now);
        if now.duration_since(*since) >= RELIEF {
            *since = now;
        }
        now.duration_since(*since) >= SETTLING
    }
}

impl Forwarder {
    /// Has the queries of a cgroup leave directly for a moment.
    pub(super) fn relieve(&self, cgroup: u64) {
        if let Err(error) = (self.rooms.leave)(cgroup, RELIEF) {
            tracing::warn!(%error, "cannot let the DNS queries of a busy caller leave directly: further ones are dropped");
        }
    }

    /// Disconnects the socket that sent a query which is dropped. Without `connect`, its next one passes the hooks and leaves directly. With
    /// it, none passes them until its program connects again, as resolvers do after an error.
    pub(super) fn disconnect(self: &Arc<Self>, cgroup: u64, caller: SocketAddr, asked: &UdpSocket, exit: &Exit) {
        if !self.disconnects.is_due(cgroup) {
            return;
        }
        let (Ok(place), Ok(asked)) = (Arc::clone(&self.disconnects.places).try_acquire_owned(), asked.local_addr())
        else {
            return;
        };
        let (forwarder, exit) = (Arc::clone(self), exit.clone());
        self.queries.spawn(async move {
            match forwarder.disconnected(caller, asked, &exit).await {
                Ok(true) => add(&forwarder.counts.disconnected),
                Ok(false) => {}
                // It was disconnected or closed already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if forwarder.disconnects.has_warned.swap(true, Ordering::Relaxed) => {
                    tracing::debug!(%error, "cannot disconnect the socket of a busy caller");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot disconnect the sockets of callers with too many DNS queries: these are dropped");
                }
            }
            drop(place);
        });
    }

    async fn disconnected(&self, caller: SocketAddr, asked: SocketAddr, exit: &Exit) -> io::Result<bool> {
        let netlink = exit.diagnostics().await?;
        let disconnect = self.rooms.disconnect;
        // The kernel may have other requests of this kind before it.
        tokio::task::spawn_blocking(move || disconnect(netlink.as_fd(), caller, asked))
            .await
            .map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_were_sent_before_the_relief_are_not_those_of_a_connected_socket() {
        let (mut crowds, start) = (Crowds::default(), Instant::now());
        let mut persists = |cgroup, milliseconds| crowds.persists(cgroup, start + Duration::from_millis(milliseconds));
        assert!(!persists(1, 0) && !persists(1, 49));
        assert!(persists(1, 50) && !persists(2, 50));
        assert!(persists(1, 4_999));
        assert!(!persists(1, 5_000), "another crowd");
    }
}
