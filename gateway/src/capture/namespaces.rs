//! Network namespaces other than the node's, as the hooks know them.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Mutex;

use aya::Ebpf;
use aya::maps::{HashMap, MapData, RingBuf};
use egret_kernel::{Arrival, NAMESPACE_SERVED, NAMESPACE_UNSERVED, Namespace, map};
use tokio::io::unix::AsyncFd;

use super::maps::{lock, monotonic, take};
use super::{Error, map_error};
use crate::model::Newcomer;

/// The maps about network namespaces.
pub(super) struct Namespaces {
    rows: Mutex<HashMap<MapData, u64, Namespace>>,
    arrivals: Mutex<Option<RingBuf<MapData>>>,
}

impl Namespaces {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            rows: Mutex::new(take(object, map::NAMESPACES)?),
            arrivals: Mutex::new(Some(take(object, map::ARRIVALS)?)),
        })
    }

    /// Tells the hooks that Egret listens in a namespace, or that it cannot.
    pub(super) fn set(&self, netns: u64, is_served: bool) -> Result<(), Error> {
        let state = if is_served { NAMESPACE_SERVED } else { NAMESPACE_UNSERVED };
        let since = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        lock(&self.rows).insert(netns, Namespace { state, pad: 0, since }, 0).map_err(map_error(map::NAMESPACES))
    }

    /// Makes the hooks forget a namespace. If it still has callers, the next one makes it known again.
    pub(super) fn forget(&self, netns: u64) {
        // The row may be gone already.
        let _ = lock(&self.rows).remove(&netns);
    }

    /// Makes the hooks forget all namespaces but these.
    pub(super) fn keep(&self, kept: &HashSet<u64>) -> Result<(), Error> {
        let mut rows = lock(&self.rows);
        let there = rows.keys().collect::<Result<Vec<_>, _>>().map_err(map_error(map::NAMESPACES))?;
        for netns in there.iter().filter(|netns| !kept.contains(netns)) {
            let _ = rows.remove(netns);
        }
        Ok(())
    }

    pub(super) fn arrivals(&self) -> io::Result<Arrivals> {
        let ring = lock(&self.arrivals).take().ok_or(io::ErrorKind::AlreadyExists)?;
        // SAFETY: the ring owns its map's descriptor, one and the same as long as it lives.
        Ok(Arrivals { ring: unsafe { AsyncFd::register(ring) }? })
    }
}

/// The callers that come from a network namespace in which Egret does not listen yet.
pub struct Arrivals {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl std::fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

impl Arrivals {
    /// Waits for the next one.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Newcomer> {
        loop {
            tokio::task::consume_budget().await;
            match self.ring.get_mut().next().map(|item| newcomer(&item)) {
                Some(Some(newcomer)) => return Ok(newcomer),
                Some(None) => {}
                // What comes before the clearing is found by the next look at the ring.
                None => self.ring.readable().await?.clear_ready(),
            }
        }
    }
}

fn newcomer(bytes: &[u8]) -> Option<Newcomer> {
    if bytes.len() < size_of::<Arrival>() {
        return None;
    }
    // SAFETY: there are bytes enough, and an arrival is valid whatever its bits are.
    let Arrival { netns, cgroup, pid, thread } = unsafe { bytes.as_ptr().cast::<Arrival>().read_unaligned() };
    Some(Newcomer { netns, cgroup, pid, thread })
}

/// Returns the cookie of a socket's network namespace: `SO_NETNS_COOKIE` (socket(7), Linux 5.14).
///
/// # Errors
/// The kernel does not say.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut size = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option writes at most `size` bytes into `cookie`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
