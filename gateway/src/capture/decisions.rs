use std::io;
use std::net::IpAddr;
use std::time::SystemTime;

use aya::maps::{MapData, RingBuf};
use egret_kernel::{Address, Event, KernelReason};
use tokio::io::unix::AsyncFd;

use super::{maps, proof};
use crate::model::Decision;

/// What the hooks tell of, in its order: also what they decided while no process read it.
pub struct Decisions(AsyncFd<RingBuf<MapData>>);

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decisions").finish_non_exhaustive()
    }
}

impl Decisions {
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor, one and the same as long as it lives.
        Ok(Self(unsafe { AsyncFd::register(ring) }?))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Decision> {
        loop {
            while let Some(item) = self.0.get_mut().next() {
                if let Some(decision) = decision(&item) {
                    return Ok(decision);
                }
            }
            self.0.readable().await?.clear_ready();
            // What came between the last look and the clearing would wake nobody.
            if let Some(decision) = self.0.get_mut().next().and_then(|item| decision(&item)) {
                return Ok(decision);
            }
        }
    }
}

fn decision(bytes: &[u8]) -> Option<Decision> {
    const UDP: u32 = 17;
    if bytes.len() < size_of::<Event>() {
        return None;
    }
    // SAFETY: there are bytes enough, and an event is valid whatever its bits are.
    let event: Event = unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() };
    let reason = KernelReason::from_code(event.reason)?;
    let origin = maps::origin(&event.origin);
    if origin.api == proof::API {
        return None;
    }
    let source = (event.source != Address::default()).then(|| IpAddr::from(event.source));
    let time = SystemTime::now().checked_sub(maps::age(event.origin.time))?;
    Some(Decision { origin, time, reason: reason.label(), source, quic: event.protocol == UDP })
}
