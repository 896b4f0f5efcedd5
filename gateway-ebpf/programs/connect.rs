//! `connect`: look up the destination; redirect, bind or refuse. A miss is one lookup and nothing else.

use aya_ebpf::bindings::{bpf_sock_tuple, sockaddr};
use aya_ebpf::helpers::bpf_get_current_comm;
use aya_ebpf::helpers::generated::{
    bpf_bind, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_netns_cookie,
    bpf_ktime_get_ns, bpf_sk_lookup_tcp, bpf_sk_release, bpf_sk_storage_get,
};
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{
    ACTION_BIND, ACTION_DENY, Address, CaptureKey, CaptureRule, FAIL_OPEN, KernelReason, MARK_EXEMPT, MARK_LISTENER,
    Origin, Port,
};

use crate::maps::{CAPTURED, HEARTBEAT, HITS, MARKS, REDIRECTS, SETTINGS};
use crate::socket::{address_v4, address_v6, port, protocol, set_v4, set_v6};
use crate::verdict::{PROCEED, conclude, count};

const TCP: u32 = 6;
const UDP: u32 = 17;
const QUIC: u16 = 443;

/// Where the listeners are.
pub const LOOPBACK_V4: Address = Address::v4(LOCALHOST_V4);
pub const LOOPBACK_V6: Address = Address([0, 0, 0, LOCALHOST_V6]);
const LOCALHOST_V4: u32 = u32::from_ne_bytes([127, 0, 0, 1]);
const LOCALHOST_V6: u32 = u32::from_ne_bytes([0, 0, 0, 1]);

/// A socket's family and destination.
#[derive(Clone, Copy)]
pub struct Destination {
    pub address: Address,
    pub port: Port,
    /// Whether the socket is AF_INET6.
    pub socket_v6: bool,
}

#[inline(always)]
pub fn v4(ctx: &SockAddrContext) -> i32 {
    decide(ctx, Destination { address: address_v4(ctx), port: port(ctx), socket_v6: false })
}

#[inline(always)]
pub fn v6(ctx: &SockAddrContext) -> i32 {
    decide(ctx, Destination { address: address_v6(ctx), port: port(ctx), socket_v6: true })
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, destination: Destination) -> i32 {
    match protocol(ctx) {
        TCP => tcp(ctx, destination),
        UDP => datagram(ctx, destination),
        _ => PROCEED,
    }
}

/// UDP, connected or not: QUIC to a captured address would leave past the proxy.
#[inline(always)]
pub fn datagram(ctx: &SockAddrContext, destination: Destination) -> i32 {
    if u16::from(destination.port) != QUIC {
        return PROCEED;
    }
    let Some(rule) = lookup(&destination) else { return PROCEED };
    if exempt(ctx) {
        count(KernelReason::Exempt);
        return PROCEED;
    }
    hit(&destination);
    let gone = rule.fail == FAIL_OPEN && !beating();
    let reason = if gone { KernelReason::GatewayGoneOpen } else { KernelReason::QuicRefused };
    conclude(reason, &origin_of(&destination, rule), Address::default(), UDP)
}

#[inline(always)]
fn tcp(ctx: &SockAddrContext, destination: Destination) -> i32 {
    let Some(rule) = lookup(&destination) else { return PROCEED };
    if exempt(ctx) {
        count(KernelReason::Exempt);
        return PROCEED;
    }
    hit(&destination);
    let origin = origin_of(&destination, rule);
    let reason = captured(ctx, &destination, rule, &origin);
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        ctx,
        "{:i} port {}: reason {}",
        destination.address.0,
        u16::from(destination.port),
        reason as u32
    );
    conclude(reason, &origin, rule.source, TCP)
}

#[inline(always)]
fn captured(ctx: &SockAddrContext, destination: &Destination, rule: &CaptureRule, origin: &Origin) -> KernelReason {
    if rule.action == ACTION_DENY {
        return KernelReason::Denied;
    }
    let Some(settings) = SETTINGS.get(0) else { return gone(rule) };
    // SAFETY: the context is valid.
    if unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) } != settings.netns {
        return if rule.fail == FAIL_OPEN {
            KernelReason::ForeignNamespaceOpen
        } else {
            KernelReason::ForeignNamespaceClosed
        };
    }
    if rule.action == ACTION_BIND {
        return if bind(ctx, rule.source) == 0 { KernelReason::Bound } else { KernelReason::BindFailed };
    }
    let v4 = destination.address.is_v4();
    let listener = if v4 { settings.listener_v4 } else { settings.listener_v6 };
    if !beating() || !listening(ctx, v4, listener) {
        return gone(rule);
    }
    if !remember(ctx, origin) {
        return KernelReason::RecordFailed;
    }
    if !destination.socket_v6 {
        set_v4(ctx, LOCALHOST_V4, listener);
    } else if v4 {
        set_v6(ctx, LOOPBACK_V4, listener);
    } else {
        set_v6(ctx, LOOPBACK_V6, listener);
    }
    KernelReason::Redirected
}

#[inline(always)]
fn gone(rule: &CaptureRule) -> KernelReason {
    if rule.fail == FAIL_OPEN { KernelReason::GatewayGoneOpen } else { KernelReason::GatewayGoneClosed }
}

#[inline(always)]
fn lookup(destination: &Destination) -> Option<&'static CaptureRule> {
    // SAFETY: rules are replaced whole; a value read while it is replaced is the old or the new one.
    unsafe { REDIRECTS.get(key(destination)) }
}

/// Counts what a rule did to others than Egret itself.
#[inline(always)]
fn hit(destination: &Destination) {
    if let Some(hits) = HITS.get_ptr_mut(key(destination)) {
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

#[inline(always)]
fn origin_of(destination: &Destination, rule: &CaptureRule) -> Origin {
    // SAFETY: these helpers take nothing and return numbers.
    let (cgroup, time, pid, uid) = unsafe {
        (
            bpf_get_current_cgroup_id(),
            bpf_ktime_get_ns(),
            (bpf_get_current_pid_tgid() >> 32) as u32,
            bpf_get_current_uid_gid() as u32,
        )
    };
    Origin {
        cgroup,
        time,
        address: destination.address,
        port: destination.port,
        pad: [0; 2],
        generation: rule.generation,
        api: rule.api,
        pid,
        uid,
        pad2: 0,
        command: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// Whether the socket is one of Egret's own: only Egret can have marked it, through its descriptor.
#[inline(always)]
fn exempt(ctx: &SockAddrContext) -> bool {
    // SAFETY: the storage lives as long as the socket, which is being connected.
    unsafe { MARKS.get_ptr_mut(ctx).as_ref() }.is_some_and(|mark| *mark == MARK_EXEMPT)
}

/// Whether the daemon has given a sign of life lately.
#[inline(always)]
fn beating() -> bool {
    let (Some(settings), Some(beat)) = (SETTINGS.get(0), HEARTBEAT.get(0)) else { return false };
    // SAFETY: the helper takes nothing and returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    now.saturating_sub(*beat) < settings.stale_after
}

/// Whether Egret's own listener, not a stranger's, is on that port: true to the moment when the daemon dies.
#[inline(always)]
fn listening(ctx: &SockAddrContext, v4: bool, Port(listener): Port) -> bool {
    const CURRENT_NETNS: u64 = u64::MAX;
    if listener == 0 {
        return false;
    }
    // SAFETY: an all-zero tuple is a valid one; the size says which half of the union the kernel reads.
    let socket = unsafe {
        let mut tuple: bpf_sock_tuple = core::mem::zeroed();
        if v4 {
            tuple.__bindgen_anon_1.ipv4.saddr = LOCALHOST_V4;
            tuple.__bindgen_anon_1.ipv4.daddr = LOCALHOST_V4;
            tuple.__bindgen_anon_1.ipv4.dport = listener;
            bpf_sk_lookup_tcp(ctx.sock_addr.cast(), &raw mut tuple, 12, CURRENT_NETNS, 0)
        } else {
            tuple.__bindgen_anon_1.ipv6.saddr = [0, 0, 0, LOCALHOST_V6];
            tuple.__bindgen_anon_1.ipv6.daddr = [0, 0, 0, LOCALHOST_V6];
            tuple.__bindgen_anon_1.ipv6.dport = listener;
            bpf_sk_lookup_tcp(ctx.sock_addr.cast(), &raw mut tuple, 36, CURRENT_NETNS, 0)
        }
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the socket is held by reference until the release below.
    unsafe {
        let mark = bpf_sk_storage_get(marks(), socket.cast(), core::ptr::null_mut(), 0).cast::<u32>();
        let ours = !mark.is_null() && *mark == MARK_LISTENER;
        bpf_sk_release(socket.cast());
        ours
    }
}

#[inline(always)]
fn marks() -> *mut core::ffi::c_void {
    (&raw const MARKS).cast_mut().cast()
}

/// Keeps the origin with the socket, for the hooks that follow; a reconnect overwrites it.
#[inline(always)]
fn remember(ctx: &SockAddrContext, origin: &Origin) -> bool {
    let mut fresh = *origin;
    // SAFETY: the storage lives as long as the socket, which is being connected.
    match unsafe { CAPTURED.get_or_insert_ptr_mut(ctx, Some(&mut fresh)).as_mut() } {
        Some(stored) => {
            *stored = *origin;
            true
        }
        None => false,
    }
}

/// `struct sockaddr_in` (ip(7)), all in network order but the family.
#[repr(C)]
struct SockaddrV4 {
    family: u16,
    port: u16,
    address: u32,
    zero: [u8; 8],
}

/// `struct sockaddr_in6` (ipv6(7)).
#[repr(C)]
struct SockaddrV6 {
    family: u16,
    port: u16,
    flow: u32,
    address: [u32; 4],
    scope: u32,
}

/// Sets the source address. Not zero: the caller must be refused, or it would leave from another address.
#[inline(always)]
fn bind(ctx: &SockAddrContext, source: Address) -> i64 {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let Address(words) = source;
    if source.is_v4() {
        let mut address = SockaddrV4 { family: AF_INET, port: 0, address: words[3], zero: [0; 8] };
        // SAFETY: the context is valid, the address is whole and outlives the call.
        unsafe { bpf_bind(ctx.sock_addr, (&raw mut address).cast::<sockaddr>(), size_of::<SockaddrV4>() as i32) }
    } else {
        let mut address = SockaddrV6 { family: AF_INET6, port: 0, flow: 0, address: words, scope: 0 };
        // SAFETY: as above.
        unsafe { bpf_bind(ctx.sock_addr, (&raw mut address).cast::<sockaddr>(), size_of::<SockaddrV6>() as i32) }
    }
}
