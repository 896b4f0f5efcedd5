//! Whether Egret is there: its heartbeat and its listener.

use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_ns, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release, bpf_sk_storage_get,
};
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{Address, DnsSettings, MARK_EXEMPT, MARK_FORWARDER, MARK_LISTENER, Port, Settings};

use crate::maps::{DNS_HEARTBEAT, HEARTBEAT, MARKS, SETTINGS};

/// The addresses that Egret listens on.
pub const LOOPBACK_V4: Address = Address::v4(LOCALHOST_V4);
pub const LOOPBACK_V6: Address = Address([0, 0, 0, LOCALHOST_V6]);
pub const LOCALHOST_V4: u32 = u32::from_ne_bytes([127, 0, 0, 1]);
const LOCALHOST_V6: u32 = u32::from_ne_bytes([0, 0, 0, 1]);

/// Whether Egret serves connections of this family now, in the caller's network namespace.
#[inline(always)]
pub fn is_there(ctx: &SockAddrContext, settings: &Settings, v4: bool) -> bool {
    beats(settings) && listens::<TCP>(ctx, v4, listener(settings, v4))
}

/// Whether Egret's heartbeat is fresh.
#[inline(always)]
pub fn beats(settings: &Settings) -> bool {
    is_fresh(HEARTBEAT.get(0), settings.stale_after)
}

/// Whether Egret's forwarder takes DNS queries on this port now.
#[inline(always)]
pub fn forwards(ctx: &SockAddrContext, dns: &DnsSettings, v4: bool, port: Port) -> bool {
    is_fresh(DNS_HEARTBEAT.get(0), dns.stale_after) && listens::<UDP>(ctx, v4, port)
}

/// Returns the port of the listener of this family; zero if there is none.
#[inline(always)]
pub fn listener(settings: &Settings, v4: bool) -> Port {
    if v4 { settings.listener_v4 } else { settings.listener_v6 }
}

/// Whether this is the address of one of our listeners.
#[inline(always)]
pub fn is_listener(address: Address, port: Port) -> bool {
    let Some(settings) = SETTINGS.get(0) else { return false };
    (address == LOOPBACK_V4 && port == settings.listener_v4) || (address == LOOPBACK_V6 && port == settings.listener_v6)
}

/// Whether the socket is one of Egret's own. Only Egret can have marked it, through its descriptor.
#[inline(always)]
pub fn is_exempt(ctx: &SockAddrContext) -> bool {
    // SAFETY: the storage lives as long as the socket, which is being connected.
    unsafe { MARKS.get_ptr_mut(ctx).as_ref() }.is_some_and(|mark| *mark == MARK_EXEMPT)
}

#[inline(always)]
fn is_fresh(beat: Option<&u64>, stale_after: u64) -> bool {
    let Some(beat) = beat else { return false };
    // SAFETY: the helper takes nothing and returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    now.saturating_sub(*beat) < stale_after
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whether Egret's own socket, not a stranger's, is on that port. This is true until the moment the daemon dies.
#[inline(always)]
fn listens<const PROTOCOL: u8>(ctx: &SockAddrContext, v4: bool, Port(listener): Port) -> bool {
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
            if PROTOCOL == TCP {
                bpf_sk_lookup_tcp(ctx.sock_addr.cast(), &raw mut tuple, 12, CURRENT_NETNS, 0)
            } else {
                bpf_sk_lookup_udp(ctx.sock_addr.cast(), &raw mut tuple, 12, CURRENT_NETNS, 0)
            }
        } else {
            tuple.__bindgen_anon_1.ipv6.saddr = [0, 0, 0, LOCALHOST_V6];
            tuple.__bindgen_anon_1.ipv6.daddr = [0, 0, 0, LOCALHOST_V6];
            tuple.__bindgen_anon_1.ipv6.dport = listener;
            if PROTOCOL == TCP {
                bpf_sk_lookup_tcp(ctx.sock_addr.cast(), &raw mut tuple, 36, CURRENT_NETNS, 0)
            } else {
                bpf_sk_lookup_udp(ctx.sock_addr.cast(), &raw mut tuple, 36, CURRENT_NETNS, 0)
            }
        }
    };
    if socket.is_null() {
        return false;
    }
    let marks = (&raw const MARKS).cast_mut().cast();
    // SAFETY: the socket is held by reference until the release below.
    unsafe {
        let mark = bpf_sk_storage_get(marks, socket.cast(), core::ptr::null_mut(), 0).cast::<u32>();
        let ours = !mark.is_null() && *mark == if PROTOCOL == TCP { MARK_LISTENER } else { MARK_FORWARDER };
        bpf_sk_release(socket.cast());
        ours
    }
}
