//! Destinations that no rule captures, where the configuration wants to know of them or refuses them. Where it does not, this is
//! one look at an array.

use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{
    API_UNLISTED, Address, CaptureRule, EVERYBODY, EXCEPTION_HEAD, Exception, FAIL_OPEN, Heard, KernelReason, PEERS,
    Peer, Port, SET_OF_ALL, UNLISTED_ALLOW, UNLISTED_DENY, UnlistedClass, UnlistedSettings,
};

use crate::caller::{DEEPEST, ancestor, cgroup, origin_of};
use crate::connect::{Destination, Row, passes};
use crate::events::report_unlisted;
use crate::maps::{CLASSES, EXCEPTIONS, HEARD, SETTINGS, UNLISTED};
use crate::presence::beats;
use crate::socket::{port, protocol};
use crate::verdict::count;

/// The rule of all unlisted destinations.
const ROW: Row = Row {
    rule: &CaptureRule { generation: 0, api: API_UNLISTED, action: 0, fail: 0, pad: [0; 2], source: Address([0; 4]) },
    scope: EVERYBODY,
};

/// Whether the caller may not reach a destination that no rule captures.
#[inline(always)]
pub fn is_denied(ctx: &SockAddrContext, destination: &Destination) -> bool {
    match UNLISTED.get(0) {
        Some(settings) if settings.is_on != 0 => judge(ctx, destination, settings),
        _ => false,
    }
}

#[inline(always)]
fn judge(ctx: &SockAddrContext, destination: &Destination, settings: &UnlistedSettings) -> bool {
    let class = class_of_caller(settings);
    if class.action == UNLISTED_ALLOW
        || is_in(SET_OF_ALL, destination)
        || is_in(class.set, destination)
        || has_heard(ctx, destination)
        || passes(ctx)
    {
        return false;
    }
    let is_denied = class.action == UNLISTED_DENY;
    let reason = if !is_denied {
        KernelReason::UnlistedReported
    } else if settings.fail == FAIL_OPEN as u32 && !SETTINGS.get(0).is_some_and(beats) {
        KernelReason::UnlistedGoneOpen
    } else {
        KernelReason::UnlistedDenied
    };
    count(reason);
    report_unlisted(reason, &origin_of(destination, ROW), protocol(ctx));
    reason as u32 == KernelReason::UnlistedDenied as u32
}

/// Returns the class that the innermost known cgroup of the caller gives it. A cgroup that Egret does not know yet, or that the
/// caller has made itself, is like the one above it.
#[inline(always)]
fn class_of_caller(settings: &UnlistedSettings) -> UnlistedClass {
    let own = cgroup();
    let mut class = settings.otherwise;
    for level in 1..=DEEPEST {
        let id = ancestor(level);
        if id == 0 {
            break;
        }
        // SAFETY: a class is replaced whole; what is read meanwhile is the old or the new one.
        if let Some(known) = unsafe { CLASSES.get(id) } {
            class = if id == own { known.own } else { known.below };
        }
    }
    class
}

/// Remembers who sent a datagram to this socket. The socket may answer: as with a connection that it accepts, others have begun.
#[inline(always)]
pub fn note_peer(ctx: &SockAddrContext, address: Address) {
    if !UNLISTED.get(0).is_some_and(|settings| settings.is_on != 0) {
        return;
    }
    // SAFETY: the storage lives as long as the socket, which is in use. Two readers of one socket may overwrite a peer.
    let Some(heard) = (unsafe { HEARD.get_or_insert_ptr_mut(ctx, None).as_mut() }) else { return };
    let peer = Peer { address, port: port(ctx), pad: [0; 2] };
    if heard.peers.contains(&peer) {
        return;
    }
    let next = heard.next as usize % PEERS;
    if let Some(slot) = heard.peers.get_mut(next) {
        *slot = peer;
    }
    heard.next = next as u32 + 1;
}

/// Whether the socket is of UDP and has received a datagram from the destination.
#[inline(always)]
fn has_heard(ctx: &SockAddrContext, destination: &Destination) -> bool {
    const TCP: u32 = 6;
    if protocol(ctx) == TCP {
        return false;
    }
    let peer = Peer { address: destination.address, port: destination.port, pad: [0; 2] };
    // SAFETY: as above.
    unsafe { HEARD.get_ptr_mut(ctx).as_ref() }.is_some_and(|heard: &Heard| heard.peers.contains(&peer))
}

/// Whether a set has the destination: with its port, or with all ports.
#[inline(always)]
fn is_in(set: u32, destination: &Destination) -> bool {
    has(set, destination, Port(0)) || has(set, destination, destination.port)
}

#[inline(always)]
fn has(set: u32, destination: &Destination, port: Port) -> bool {
    let exception = Exception { set, port, pad: [0; 2], address: destination.address };
    EXCEPTIONS.get(Key::new(EXCEPTION_HEAD + 128, exception)).is_some()
}
