use std::collections::{HashMap as Table, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use aya::Pod;
use aya::maps::{HashMap, MapData, RingBuf};
use egret_kernel::{API_UNLISTED, Address, Event, KernelReason, Origin, TELL_EVERY, Told, ToldKey, UnlistedKey};
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
    told: TakenOut<ToldKey>,
    unlisted: TakenOut<UnlistedKey>,
    /// The newest event of each kind, to describe those that follow it without an event.
    newest: Table<Kind, Decision>,
    collected: VecDeque<Decision>,
    next_collection: Instant,
}

/// Decisions that are equal to the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Captured(ToldKey),
    Unlisted(UnlistedKey),
}

/// A map in which the hooks count decisions.
pub(super) struct TakenOut<K> {
    map: HashMap<MapData, K, Told>,
    fd: OwnedFd,
}

impl<K: Pod> TakenOut<K> {
    /// Takes a map, and a descriptor of the same map.
    pub(super) fn new(map: HashMap<MapData, K, Told>, fd: OwnedFd) -> Self {
        Self { map, fd }
    }

    /// Returns the keys that had no event since this moment.
    fn over(&self, limit: Duration) -> Vec<K> {
        let is_over = |told: &Told| Duration::from_nanos(told.since) <= limit;
        self.map.iter().filter_map(Result::ok).filter(|(_, told)| is_over(told)).map(|(key, _)| key).collect()
    }

    /// Forgets a key; returns how many decisions no event has reported.
    fn forget(&self, key: &K) -> u32 {
        bpf::take::<K, Told>(self.fd.as_fd(), key).map_or(0, |told| told.untold)
    }
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").finish_non_exhaustive()
    }
}

impl Decisions {
    pub(super) fn new(
        ring: RingBuf<MapData>,
        told: TakenOut<ToldKey>,
        unlisted: TakenOut<UnlistedKey>,
    ) -> io::Result<Self> {
        // SAFETY: the ring owns its map's descriptor, one and the same as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) }?;
        let next_collection = Instant::now() + COLLECT_EVERY;
        Ok(Self { ring, told, unlisted, newest: Table::new(), collected: VecDeque::new(), next_collection })
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
                Some(Some((kind, decision))) => {
                    self.newest.insert(kind, decision.clone());
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
        for key in self.told.over(limit) {
            if self.collected.len() >= MOST {
                return;
            }
            let untold = self.told.forget(&key);
            self.note(Kind::Captured(key), untold);
        }
        for key in self.unlisted.over(limit) {
            if self.collected.len() >= MOST {
                return;
            }
            let untold = self.unlisted.forget(&key);
            self.note(Kind::Unlisted(key), untold);
        }
    }

    fn note(&mut self, kind: Kind, untold: u32) {
        if let Some(newest) = self.newest.remove(&kind).filter(|_| untold > 0) {
            self.collected.push_back(Decision { times: untold.into(), time: SystemTime::now(), ..newest });
        }
    }
}

fn decision(bytes: &[u8]) -> Option<(Kind, Decision)> {
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
    let kind = kind(&event);
    let source = (event.source != Address::default()).then(|| IpAddr::from(event.source));
    let time = SystemTime::now().checked_sub(age(event.origin.time))?;
    let decision =
        Decision { origin, time, reason: reason.label(), source, udp: event.protocol != TCP, times: event.times };
    Some((kind, decision))
}

fn kind(event: &Event) -> Kind {
    let Origin { cgroup, api, address, port, .. } = event.origin;
    if api == API_UNLISTED {
        let protocol = u16::try_from(event.protocol).unwrap_or_default();
        return Kind::Unlisted(UnlistedKey { cgroup, address, port, protocol, reason: event.reason });
    }
    Kind::Captured(ToldKey { cgroup, api, reason: event.reason })
}
