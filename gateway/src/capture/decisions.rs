use std::collections::{HashMap as Table, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use aya::maps::{HashMap, MapData, RingBuf};
use egret_kernel::{Address, Event, KernelReason, TELL_EVERY, Told, ToldKey};
use tokio::io::unix::AsyncFd;

use super::maps::{age, monotonic};
use super::{bpf, proof, rows};
use crate::model::Decision;

/// How often decisions that were counted, but not reported by an event, are collected.
const COLLECT_EVERY: Duration = Duration::from_nanos(TELL_EVERY);

/// Most decisions that one collection reports; more wait for the next one.
const MOST: usize = 100;

/// What the hooks decide about connections that never reach the listener, in the order of their events. Equal decisions
/// are one [`Decision`] with a count. Those that the hooks made while no process read them are included.
pub struct Decisions {
    ring: AsyncFd<RingBuf<MapData>>,
    told: HashMap<MapData, ToldKey, Told>,
    told_fd: OwnedFd,
    /// The newest event of each kind, to describe those that follow it without an event.
    newest: Table<ToldKey, Decision>,
    collected: VecDeque<Decision>,
    next_collection: Instant,
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").finish_non_exhaustive()
    }
}

impl Decisions {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        told: HashMap<MapData, ToldKey, Told>,
        told_fd: OwnedFd,
    ) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor, one and the same as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) }?;
        let next_collection = Instant::now() + COLLECT_EVERY;
        Ok(Self { ring, told, told_fd, newest: Table::new(), collected: VecDeque::new(), next_collection })
    }

    /// Waits for the next one. It lets other tasks run in between, however many there are.
    ///
    /// # Errors
    /// The ring cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Decision> {
        loop {
            tokio::task::consume_budget().await;
            if Instant::now() >= self.next_collection {
                self.collect();
                self.next_collection = Instant::now() + COLLECT_EVERY;
            }
            if let Some(decision) = self.collected.pop_front() {
                return Ok(decision);
            }
            match self.ring.get_mut().next().map(|item| decision(&item)) {
                Some(Some((key, decision))) => {
                    self.newest.insert(key, decision.clone());
                    return Ok(decision);
                }
                Some(None) => continue,
                None => {}
            }
            let until = tokio::time::Instant::from_std(self.next_collection);
            tokio::select! {
                // What comes before the clearing is found by the next look at the ring.
                ready = self.ring.readable() => ready?.clear_ready(),
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Forgets what had no event for a second, and reports what was counted since its last event.
    fn collect(&mut self) {
        let limit = monotonic().saturating_sub(COLLECT_EVERY);
        let is_over = |told: &Told| Duration::from_nanos(told.since) <= limit;
        let over: Vec<_> = self.told.iter().filter_map(Result::ok).filter(|(_, told)| is_over(told)).collect();
        for (key, _) in over {
            if self.collected.len() >= MOST {
                return;
            }
            let Ok(told) = bpf::take::<ToldKey, Told>(self.told_fd.as_fd(), &key) else { continue };
            let newest = self.newest.remove(&key);
            if told.untold > 0
                && let Some(newest) = newest
            {
                self.collected.push_back(Decision { times: told.untold.into(), time: SystemTime::now(), ..newest });
            }
        }
    }
}

fn decision(bytes: &[u8]) -> Option<(ToldKey, Decision)> {
    const TCP: u32 = 6;
    if bytes.len() < size_of::<Event>() {
        return None;
    }
    // SAFETY: there are bytes enough, and an event is valid whatever its bits are.
    let event: Event = unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() };
    let reason = KernelReason::from_code(event.reason)?;
    let origin = rows::origin(&event.origin);
    if origin.api == proof::API {
        return None;
    }
    let key = ToldKey { cgroup: event.origin.cgroup, api: event.origin.api, reason: event.reason };
    let source = (event.source != Address::default()).then(|| IpAddr::from(event.source));
    let time = SystemTime::now().checked_sub(age(event.origin.time))?;
    let decision =
        Decision { origin, time, reason: reason.label(), source, udp: event.protocol != TCP, times: event.times };
    Some((key, decision))
}
