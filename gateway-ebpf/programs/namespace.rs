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

/// Returns where Egret accepts connections of this caller. If it does not listen there yet, it is told to.
#[inline(always)]
pub fn place(ctx: &SockAddrContext, settings: &Settings, origin: &Origin) -> Place {
    let netns = cookie(ctx);
    if netns == settings.netns {
        return Place::Here;
    }
    // SAFETY: a row is replaced whole.
    let (state, since) = match unsafe { NAMESPACES.get(netns) } {
        Some(namespace) => (namespace.state, namespace.since),
        None => (0, 0),
    };
    if state == NAMESPACE_SERVED {
        return Place::Here;
    }
    if !can_hold() || !beats(settings) {
        return Place::Nowhere;
    }
    // SAFETY: the helper takes nothing and returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    if now.saturating_sub(since) < WANT_EVERY {
        return if state == NAMESPACE_UNSERVED { Place::Nowhere } else { Place::Soon };
    }
    if state != NAMESPACE_UNSERVED {
        let wanted = Namespace { state: NAMESPACE_WANTED, pad: 0, since: now };
        // If another processor was faster, Egret has been told.
        if NAMESPACES.insert(netns, wanted, if state == 0 { IF_ABSENT } else { 0 }).is_err() {
            return if state == 0 && NAMESPACES.get_ptr(netns).is_some() { Place::Soon } else { Place::Nowhere };
        }
    }
    tell(netns, origin);
    if state == NAMESPACE_UNSERVED { Place::Nowhere } else { Place::Soon }
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
