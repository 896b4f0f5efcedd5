//! Callers in other network namespaces than the node's. Egret listens in each of them; until it does, connections wait.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_netns_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{
    Arrival, NAMESPACE_SERVED, NAMESPACE_UNSERVED, NAMESPACE_WANTED, Namespace, Origin, Settings, WANT_EVERY,
};

use crate::maps::{ARRIVALS, NAMESPACES, can_hold};
use crate::presence::beats;

/// `BPF_NOEXIST`.
const IF_ABSENT: u64 = 1;

/// Where Egret accepts the connections of a caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the caller's network namespace.
    Here,
    /// There too, in a moment.
    Soon,
    /// It cannot.
    Nowhere,
}

/// Whether the caller is in the node's network namespace.
#[inline(always)]
pub fn is_nodes(ctx: &SockAddrContext, settings: &Settings) -> bool {
    cookie(ctx) == settings.netns
}

/// Whether Egret listens, or did, in the network namespace of the caller.
#[inline(always)]
pub fn has_listener(ctx: &SockAddrContext, settings: &Settings) -> bool {
    let netns = cookie(ctx);
    netns == settings.netns || is_served(netns)
}

/// Whether Egret listens, or did, in this network namespace.
#[inline(always)]
pub fn is_served(netns: u64) -> bool {
    // SAFETY: a row is replaced whole.
    unsafe { NAMESPACES.get(netns) }.is_some_and(|namespace| namespace.state == NAMESPACE_SERVED)
}

/// Tells Egret of the caller's network namespace if it does not listen there yet. Returns whether Egret is there to hear it.
#[inline(always)]
pub fn want(ctx: &SockAddrContext, settings: &Settings, origin: &Origin) -> bool {
    let beats = beats(settings);
    if beats {
        wanted(cookie(ctx), origin);
    }
    beats
}

/// Returns where Egret accepts connections of this caller. If it does not listen there yet, it is told to.
#[inline(always)]
pub fn place(ctx: &SockAddrContext, settings: &Settings, origin: &Origin) -> Place {
    let netns = cookie(ctx);
    if netns == settings.netns {
        return Place::Here;
    }
    if is_served(netns) {
        return Place::Here;
    }
    if !can_hold() || !beats(settings) {
        return Place::Nowhere;
    }
    match wanted(netns, origin) {
        NAMESPACE_SERVED => Place::Here,
        NAMESPACE_WANTED => Place::Soon,
        _ => Place::Nowhere,
    }
}

/// Returns the state of a network namespace. If Egret does not listen there yet, it is told to, once a second.
#[inline(always)]
fn wanted(netns: u64, origin: &Origin) -> u32 {
    // SAFETY: a row is replaced whole.
    let (state, since) = match unsafe { NAMESPACES.get(netns) } {
        Some(namespace) => (namespace.state, namespace.since),
        None => (0, 0),
    };
    if state == NAMESPACE_SERVED {
        return state;
    }
    // SAFETY: the helper takes nothing and returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    let is_told = now.saturating_sub(since) < WANT_EVERY;
    if is_told && state != 0 {
        return state;
    }
    if state != NAMESPACE_UNSERVED {
        let wanted = Namespace { state: NAMESPACE_WANTED, pad: 0, since: now };
        // If another processor was faster, Egret has been told.
        if NAMESPACES.insert(netns, wanted, if state == 0 { IF_ABSENT } else { 0 }).is_err() {
            let is_there = state == 0 && NAMESPACES.get_ptr(netns).is_some();
            return if is_there { NAMESPACE_WANTED } else { NAMESPACE_UNSERVED };
        }
    }
    tell(netns, origin);
    if state == NAMESPACE_UNSERVED { NAMESPACE_UNSERVED } else { NAMESPACE_WANTED }
}

/// A full ring loses this; the next connection, or a later one, tells again.
#[inline(always)]
fn tell(netns: u64, origin: &Origin) {
    // SAFETY: the helper takes nothing and returns a number.
    let thread = unsafe { bpf_get_current_pid_tgid() } as u32;
    if let Some(mut entry) = ARRIVALS.reserve::<Arrival>(0) {
        entry.write(Arrival { netns, cgroup: origin.cgroup, pid: origin.pid, thread });
        entry.submit(0);
    }
}

#[inline(always)]
fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the context is valid.
    unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) }
}
