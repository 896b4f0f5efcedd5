//! Callers that have too many queries on their way. Their further queries leave directly, so that they neither fill the forwarder's
//! queues nor wait for it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::{Exit, Forwarder, PATIENCE, add};

/// How long the queries of such a cgroup leave directly, from the newest one: as long as these may be on their way. A caller that lost a
/// query asks again within that time.
const RELIEF: Duration = PATIENCE;

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
}

impl Default for Disconnects {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), has_warned: AtomicBool::new(false) }
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
    pub(super) fn disconnect(self: &Arc<Self>, caller: SocketAddr, asked: &UdpSocket, exit: &Exit) {
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
