//! What the hooks report about connections that the listener never sees. The first decision of a kind is reported at
//! once; equal ones that follow are counted and reported together, at most once a second.

use aya_ebpf::maps::HashMap;
use egret_kernel::{
    Address, EVENTS_LOST, Event, KernelReason, MAX_EVENTS, Origin, TELL_EVERY, Told, ToldKey, UnlistedKey,
};

use crate::caller::second_level;
use crate::maps::{COUNTERS, EVENTS, TOLD, UNLISTED_TOLD};

/// `BPF_NOEXIST`.
const IF_ABSENT: u64 = 1;

#[inline(always)]
pub fn report(reason: KernelReason, origin: &Origin, source: Address, protocol: u32) {
    let key = ToldKey { cgroup: origin.cgroup, api: origin.api, reason: reason as u32 };
    let Some(times) = due(&TOLD, &key, 1, origin.time) else { return };
    if has_events_left(reason, origin) {
        tell(reason, origin, source, protocol, times);
    } else {
        put_off(&key, times);
    }
}

/// The same for an unlisted destination: decisions about one destination are equal. A caller that tries ever new ones uses up
/// its own events; destinations beyond are counted, and not reported.
#[inline(always)]
pub fn report_unlisted(reason: KernelReason, origin: &Origin, protocol: u32) {
    let key = UnlistedKey {
        cgroup: origin.cgroup,
        address: origin.address,
        port: origin.port,
        protocol: protocol as u16,
        reason: reason as u32,
    };
    if UNLISTED_TOLD.get_ptr(&key).is_none() && !has_events_left(reason, origin) {
        lost();
    } else if let Some(times) = due(&UNLISTED_TOLD, &key, 1, origin.time) {
        tell(reason, origin, Address::default(), protocol, times);
    }
}

/// Takes one of the events of this second that callers below the same second-level cgroup share, by the kind of decision.
#[inline(always)]
fn has_events_left(reason: KernelReason, origin: &Origin) -> bool {
    let is_unlisted = reason as u32 >= KernelReason::UnlistedReported as u32;
    let key = ToldKey::all_below(second_level(origin.cgroup), is_unlisted);
    due(&TOLD, &key, MAX_EVENTS, origin.time).is_some()
}

/// A full ring loses the event, never the connection; `COUNTERS` has both.
#[inline(always)]
fn tell(reason: KernelReason, origin: &Origin, source: Address, protocol: u32, times: u64) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(Event { origin: *origin, source, reason: reason as u32, protocol, times });
            entry.submit(0);
        }
        None => lost(),
    }
}

/// Counts a decision. Returns how many an event has to report, or none if this second has had its events.
#[inline(always)]
fn due<K>(all: &HashMap<K, Told>, key: &K, most: u32, now: u64) -> Option<u64> {
    let Some(told) = all.get_ptr_mut(key) else {
        let first = Told { since: now, told: 1, untold: 0 };
        if all.insert(key, &first, IF_ABSENT).is_ok() {
            return Some(1);
        }
        lost();
        return None;
    };
    // SAFETY: the entry is read and written by its words; where two processors race, a count is off by one.
    let told = unsafe { &mut *told };
    if now.saturating_sub(told.since) >= TELL_EVERY {
        let times = u64::from(told.untold) + 1;
        *told = Told { since: now, told: 1, untold: 0 };
        return Some(times);
    }
    if told.told < most {
        told.told += 1;
        return Some(1);
    }
    told.untold = told.untold.saturating_add(1);
    None
}

/// Leaves decisions to a later event.
#[inline(always)]
fn put_off(key: &ToldKey, times: u64) {
    if let Some(told) = TOLD.get_ptr_mut(key) {
        // SAFETY: as above.
        unsafe { (*told).untold = (*told).untold.saturating_add(times as u32) };
    }
}

#[inline(always)]
fn lost() {
    if let Some(counter) = COUNTERS.get_ptr_mut(EVENTS_LOST) {
        // SAFETY: this CPU's own slot.
        unsafe { *counter += 1 };
    }
}
