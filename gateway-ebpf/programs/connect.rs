//! `connect`: look up the destination; redirect, bind or refuse. A miss is one lookup and nothing else.

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sk_storage_get, bpf_skc_to_mptcp_sock};
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{
    ACTION_BIND, ACTION_DENY, ACTION_LISTENER, ACTION_REDIRECT, ACTION_SCOPED, Address, CaptureKey, CaptureRule,
    Captured, EVERYBODY, FAIL_OPEN, KernelReason, Origin, Owners, Port, RowKey, Settings,
};

use crate::bind::set_source;
use crate::caller::{is_captured, origin_of, owners};
use crate::dns;
use crate::maps::{CAPTURED, HITS, PASSED, REDIRECTS, SETTINGS, can_find_mptcp};
use crate::namespace::{Place, has_listener, is_nodes, place};
use crate::owners::have_room;
use crate::presence::{LOCALHOST_V4, LOOPBACK_V4, LOOPBACK_V6, is_exempt, is_there, listener};
use crate::scoped;
use crate::socket::{address_v4, address_v6, bound_device, port, protocol, set_v4, set_v6};
use crate::unlisted::is_denied;
use crate::verdict::{PROCEED, REFUSE, conclude, count};

const TCP: u32 = 6;
const UDP: u32 = 17;
const UDP_LITE: u32 = 136;

/// A socket's family and destination.
#[derive(Clone, Copy)]
pub struct Destination {
    pub address: Address,
    pub port: Port,
    /// Whether the socket is AF_INET6. A datagram over IPv4 from such a socket counts as one of AF_INET.
    pub socket_v6: bool,
    /// Whether the socket connects; otherwise it sends a datagram.
    pub connects: bool,
}

/// The rule for a call, and whose rule it is: a cgroup of the caller's, or [`EVERYBODY`].
#[derive(Clone, Copy)]
pub struct Row {
    pub rule: &'static CaptureRule,
    pub scope: u64,
}

#[inline(always)]
pub fn v4(ctx: &SockAddrContext) -> i32 {
    decide(ctx, Destination { address: address_v4(ctx), port: port(ctx), socket_v6: false, connects: true })
}

#[inline(always)]
pub fn v6(ctx: &SockAddrContext) -> i32 {
    decide(ctx, Destination { address: address_v6(ctx), port: port(ctx), socket_v6: true, connects: true })
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, destination: Destination) -> i32 {
    match protocol(ctx) {
        TCP => tcp(ctx, destination),
        UDP | UDP_LITE => datagram(ctx, destination),
        _ => PROCEED,
    }
}

/// UDP, connected or not: DNS goes through the forwarder; QUIC to a captured address and port would leave past the proxy.
#[inline(always)]
pub fn datagram(ctx: &SockAddrContext, destination: Destination) -> i32 {
    let Some(row) = lookup(&destination) else {
        return if is_denied(ctx, &destination) { REFUSE } else { dns::datagram(ctx, &destination) };
    };
    if row.rule.action == ACTION_LISTENER || passes(ctx) {
        return PROCEED;
    }
    hit(&destination, row);
    let origin = origin_of(&destination, row);
    let reason = refused_unless_open(ctx, &destination, row.rule, &origin);
    note_if_passed(ctx, &origin, reason);
    conclude(reason, &origin, Address::default(), protocol(ctx))
}

/// Leaves a note with a socket that goes past Egret, for those who ask about such sockets later.
#[inline(always)]
fn note_if_passed(ctx: &SockAddrContext, origin: &Origin, reason: KernelReason) {
    let has_passed = matches!(
        reason,
        KernelReason::GatewayGoneOpen | KernelReason::ForeignNamespaceOpen | KernelReason::BoundDeviceOpen
    );
    if !has_passed {
        return;
    }
    // SAFETY: the storage lives as long as the socket, which is in use. Without memory for it, the cause stays unknown.
    if let Some(passed) = unsafe { PASSED.get_or_insert_ptr_mut(ctx, None).as_mut() } {
        passed.origin = *origin;
        passed.reason = reason as u32;
    }
}

/// A datagram is refused unless the same connection over TCP would leave directly.
#[inline(always)]
fn refused_unless_open(
    ctx: &SockAddrContext,
    destination: &Destination,
    rule: &CaptureRule,
    origin: &Origin,
) -> KernelReason {
    let Some(settings) = SETTINGS.get(0) else { return gone(rule) };
    if rule.fail != FAIL_OPEN || rule.action != ACTION_REDIRECT {
        return KernelReason::UdpRefused;
    }
    match place(ctx, settings, origin) {
        Place::Nowhere => KernelReason::ForeignNamespaceOpen,
        Place::Here if !is_there(ctx, settings, destination.address.is_v4()) => KernelReason::GatewayGoneOpen,
        Place::Here | Place::Soon => KernelReason::UdpRefused,
    }
}

#[inline(always)]
fn tcp(ctx: &SockAddrContext, destination: Destination) -> i32 {
    let Some(row) = lookup(&destination) else {
        return if is_denied(ctx, &destination) { REFUSE } else { dns::connection(ctx, &destination) };
    };
    if row.rule.action == ACTION_LISTENER {
        return to_the_listener(ctx, &destination, row);
    }
    if passes(ctx) {
        return PROCEED;
    }
    hit(&destination, row);
    let origin = origin_of(&destination, row);
    let reason = captured(ctx, &destination, row.rule, &origin);
    note_if_passed(ctx, &origin, reason);
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        ctx,
        "{:i} port {}: reason {}",
        destination.address.0,
        u16::from(destination.port),
        reason as u32
    );
    conclude(reason, &origin, row.rule.source, TCP)
}

/// Whether a socket with a captured destination passes all the same: Egret's own, and those outside of the sub-tree.
#[inline(always)]
pub fn passes(ctx: &SockAddrContext) -> bool {
    if is_exempt(ctx) {
        count(KernelReason::Exempt);
        return true;
    }
    !is_captured()
}

/// Nobody connects to the listener itself: only a redirect leads there, so that no connection uses an origin that its
/// socket has from an earlier one. In another network namespace that address is somebody else's.
#[inline(always)]
fn to_the_listener(ctx: &SockAddrContext, destination: &Destination, row: Row) -> i32 {
    match SETTINGS.get(0) {
        Some(settings) if has_listener(ctx, settings) => {
            let origin = origin_of(destination, row);
            conclude(KernelReason::ListenerRefused, &origin, Address::default(), TCP)
        }
        _ => PROCEED,
    }
}

#[inline(always)]
fn captured(ctx: &SockAddrContext, destination: &Destination, rule: &CaptureRule, origin: &Origin) -> KernelReason {
    if rule.action == ACTION_DENY {
        return KernelReason::Denied;
    }
    let Some(settings) = SETTINGS.get(0) else { return gone(rule) };
    if rule.action == ACTION_BIND {
        return bound(ctx, rule, settings);
    }
    if bound_device(ctx) {
        return by_fail_mode(rule, KernelReason::BoundDeviceClosed, KernelReason::BoundDeviceOpen);
    }
    let place = place(ctx, settings, origin);
    match place {
        Place::Here if !is_there(ctx, settings, destination.address.is_v4()) => return gone(rule),
        Place::Nowhere => return foreign(rule),
        Place::Here | Place::Soon => {}
    }
    // Refused in any fail mode: a caller must not open its way past Egret by using up its share.
    let owners = owners(origin.cgroup);
    if !have_room(&owners) {
        return KernelReason::OriginsFull;
    }
    let is_held = place == Place::Soon;
    if !remember(ctx, origin, &owners, is_held) {
        return KernelReason::RecordFailed;
    }
    redirect(ctx, destination, listener(settings, destination.address.is_v4()));
    if is_held { KernelReason::Held } else { KernelReason::Redirected }
}

/// Sets the source address, which is one of the node's: in another network namespace nothing would leave from it.
#[inline(always)]
fn bound(ctx: &SockAddrContext, rule: &CaptureRule, settings: &Settings) -> KernelReason {
    if !is_nodes(ctx, settings) {
        return foreign(rule);
    }
    if set_source(ctx, rule.source) { KernelReason::Bound } else { KernelReason::BindFailed }
}

#[inline(always)]
fn foreign(rule: &CaptureRule) -> KernelReason {
    by_fail_mode(rule, KernelReason::ForeignNamespaceClosed, KernelReason::ForeignNamespaceOpen)
}

#[inline(always)]
fn gone(rule: &CaptureRule) -> KernelReason {
    by_fail_mode(rule, KernelReason::GatewayGoneClosed, KernelReason::GatewayGoneOpen)
}

#[inline(always)]
fn by_fail_mode(rule: &CaptureRule, closed: KernelReason, open: KernelReason) -> KernelReason {
    if rule.fail == FAIL_OPEN { open } else { closed }
}

/// Sends the socket to this port of the loopback.
#[inline(always)]
pub fn redirect(ctx: &SockAddrContext, destination: &Destination, listener: Port) {
    let v4 = destination.address.is_v4();
    if !destination.socket_v6 {
        set_v4(ctx, LOCALHOST_V4, listener);
    } else if v4 {
        set_v6(ctx, LOOPBACK_V4, listener);
    } else {
        set_v6(ctx, LOOPBACK_V6, listener);
    }
}

/// Returns the rule for this caller and destination. A rule that holds for everybody goes before those of owners.
#[inline(always)]
fn lookup(destination: &Destination) -> Option<Row> {
    let rule = rule_for(&key(destination))?;
    if rule.action == ACTION_SCOPED { scoped::row(key(destination)) } else { Some(Row { rule, scope: EVERYBODY }) }
}

/// Returns the rule that all callers have for a destination.
#[inline(always)]
pub fn rule_for(key: &CaptureKey) -> Option<&'static CaptureRule> {
    // SAFETY: rules are replaced whole; a value read while it is replaced is the old or the new one.
    unsafe { REDIRECTS.get(key) }
}

/// Counts what a rule did to others than Egret itself.
#[inline(always)]
fn hit(destination: &Destination, row: Row) {
    let key = RowKey { scope: row.scope, destination: key(destination), pad: 0 };
    if let Some(hits) = HITS.get_ptr_mut(key) {
        // SAFETY: this CPU's own slot.
        unsafe {
            (*hits).count += 1;
            (*hits).last = bpf_ktime_get_ns();
        }
    }
}

#[inline(always)]
fn key(destination: &Destination) -> CaptureKey {
    CaptureKey { address: destination.address, port: destination.port, protocol: TCP as u8, pad: 0 }
}

/// Keeps the origin with the socket, for the hooks that follow. A later `connect` of the same socket overwrites it.
#[inline(always)]
pub fn remember(ctx: &SockAddrContext, origin: &Origin, owners: &Owners, is_held: bool) -> bool {
    // SAFETY: the storage lives as long as the socket, which is being connected.
    let Some(stored) = (unsafe { CAPTURED.get_or_insert_ptr_mut(ctx, None).as_mut() }) else { return false };
    write(stored, origin, owners);
    stored.is_held = is_held.into();
    if can_find_mptcp() {
        remember_for_mptcp(ctx, origin, owners);
    }
    true
}

/// An MPTCP socket connects through a TCP socket of the kernel's own; `getpeername` asks about the MPTCP socket.
#[inline(always)]
fn remember_for_mptcp(ctx: &SockAddrContext, origin: &Origin, owners: &Owners) {
    const CREATE: u64 = 1;
    // SAFETY: the context's socket is valid for the whole run; the kernel checks what the helpers return.
    let stored = unsafe {
        let mptcp = bpf_skc_to_mptcp_sock((*ctx.sock_addr).__bindgen_anon_1.sk.cast());
        if mptcp.is_null() {
            return;
        }
        let captured = (&raw const CAPTURED).cast_mut().cast();
        bpf_sk_storage_get(captured, mptcp.cast(), core::ptr::null_mut(), CREATE).cast::<Captured>().as_mut()
    };
    if let Some(stored) = stored {
        write(stored, origin, owners);
    }
}

#[inline(always)]
fn write(stored: &mut Captured, origin: &Origin, owners: &Owners) {
    stored.origin = *origin;
    stored.owners = *owners;
    stored.is_new = 1;
}
