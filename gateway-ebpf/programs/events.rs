//! What the hooks report about connections that the listener never sees. The first decision of a kind is reported at
//! once; equal ones that follow are counted and reported together, at most once a second.

use egret_kernel::{Address, EVENTS_LOST, Event, KernelReason, MAX_EVENTS, Origin, TELL_EVERY, Told, ToldKey};

use crate::caller::second_level;
use crate::maps::{COUNTERS, EVENTS, TOLD};

/// `BPF_NOEXIST`.
const IF_ABSENT: u64 = 1;

#[inline(always)]
pub fn report(reason: KernelReason, origin: &Origin, source: Address, protocol: u32) {
    let key = ToldKey { cgroup: origin.cgroup, api: origin.api, reason: reason as u32 };
    let Some(times) = due(&key, 1, origin.time) else { return };
    if due(&ToldKey::all_below(second_level(origin.cgroup)), MAX_EVENTS, origin.time).is_none() {
        put_off(&key, times);
        return;
    }
    // A full ring loses the event, never the connection; `COUNTERS` has both.
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
fn due(key: &ToldKey, most: u32, now: u64) -> Option<u64> {
    let Some(told) = TOLD.get_ptr_mut(key) else {
        let first = Told { since: now, told: 1, untold: 0 };
        if TOLD.insert(key, &first, IF_ABSENT).is_ok() {
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
