use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, MapData, SkStorage};
use egret_kernel::{Captured, EVERYBODY, Origin, OriginKey, map};

use super::Error;
use super::maps::{lock, monotonic, take};

/// The kernel's records of captured connections.
pub(super) struct Origins {
    /// In the sockets that the listener accepts.
    accepted: Mutex<SkStorage<MapData, Origin>>,
    /// Of connections on their way to the listener.
    pending: Mutex<HashMap<MapData, OriginKey, Captured>>,
    /// The number of pending ones, by cgroup and altogether.
    owners: Mutex<HashMap<MapData, u64, u64>>,
}

impl Origins {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            accepted: Mutex::new(take(object, map::ACCEPTED)?),
            pending: Mutex::new(take(object, map::ORIGINS)?),
            owners: Mutex::new(take(object, map::OWNERS)?),
        })
    }

    /// Returns the record of an accepted socket. The kernel put it there before `accept` returned.
    pub(super) fn of(&self, socket: BorrowedFd<'_>) -> Option<Origin> {
        lock(&self.accepted).get(&socket, 0).ok()
    }

    /// Returns the number of connections on their way to the listener, which the kernel half counts.
    pub(super) fn used(&self) -> usize {
        // Two processors that race at zero can leave a number below it for a moment.
        let used = lock(&self.owners).get(&EVERYBODY, 0).map_or(0, u64::cast_signed);
        usize::try_from(used).unwrap_or(0)
    }

    /// Deletes records older than this. The kernel half deletes them with their sockets; this is for what it missed.
    pub(super) fn sweep(&self, older_than: Duration) -> usize {
        if self.used() == 0 {
            return 0;
        }
        let Some(limit) = monotonic().checked_sub(older_than) else { return 0 };
        let mut pending = lock(&self.pending);
        let is_old = |record: &Captured| Duration::from_nanos(record.origin.time) < limit;
        let old: Vec<_> = pending.iter().filter_map(Result::ok).filter(|(_, record)| is_old(record)).collect();
        let swept: Vec<_> = old.into_iter().filter(|(key, _)| pending.remove(key).is_ok()).collect();
        let mut owners = lock(&self.owners);
        for owner in swept.iter().flat_map(|(_, record)| record.owners.into_iter().filter(|owner| *owner != 0)) {
            release(&mut owners, owner);
        }
        swept.iter().for_each(|_| release(&mut owners, EVERYBODY));
        swept.len()
    }
}

/// Counts one less for an owner.
fn release(owners: &mut HashMap<MapData, u64, u64>, owner: u64) {
    if let Ok(used) = owners.get(&owner, 0) {
        // An entry that the kernel half removes meanwhile needs no count.
        let _ = owners.insert(owner, used.saturating_sub(1), 0);
    }
}
