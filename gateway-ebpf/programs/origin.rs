//! The origin record: written once the source port is known and before the SYN leaves, so that `accept` finds it.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_sk_storage_get};
use aya_ebpf::programs::SockOpsContext;
use egret_kernel::{Address, KernelReason, Origin, OriginKey, Port};

use crate::maps::{CAPTURED, ORIGINS};
use crate::peername::is_listener;
use crate::verdict::count;

/// `BPF_SOCK_OPS_TCP_CONNECT_CB`.
const TCP_CONNECT: u32 = 3;
const AF_INET: u32 = 2;

#[inline(always)]
pub fn record(ctx: &SockOpsContext) -> u32 {
    if ctx.op() != TCP_CONNECT {
        return 1;
    }
    // Both forms are read before the family is asked: the verifier refuses a context pointer that a branch chose.
    // SAFETY: the context is valid for the whole run of the program.
    let (remote_v4, local_v4, remote_v6, local_v6) = unsafe {
        (
            v4(&raw const (*ctx.ops).remote_ip4),
            v4(&raw const (*ctx.ops).local_ip4),
            v6((&raw const (*ctx.ops).remote_ip6).cast()),
            v6((&raw const (*ctx.ops).local_ip6).cast()),
        )
    };
    let (remote, local) = if ctx.family() == AF_INET { (remote_v4, local_v4) } else { (remote_v6, local_v6) };
    // `remote_port` is in network order in the upper half of the word as the kernel shows it, `local_port` in the
    // host's (include/uapi/linux/bpf.h, struct bpf_sock_ops).
    if !is_listener(remote, Port::from(u32::from_be(ctx.remote_port()) as u16)) {
        return 1;
    }
    let key = OriginKey {
        // SAFETY: the context is valid.
        netns: unsafe { bpf_get_netns_cookie(ctx.as_ptr()) },
        address: local,
        port: Port::from(ctx.local_port() as u16),
        pad: [0; 6],
    };
    match asked_for(ctx) {
        Some(origin) => {
            if ORIGINS.insert(key, origin, 0).is_err() {
                count(KernelReason::OriginsFull);
            }
        }
        // Somebody connects to the listener itself: it must not inherit a record left under this port.
        None => {
            let _ = ORIGINS.remove(key);
        }
    }
    1
}

#[inline(always)]
fn asked_for(ctx: &SockOpsContext) -> Option<&'static Origin> {
    // SAFETY: the context is valid; the kernel checks the socket pointer, which is null for none.
    unsafe {
        let socket = (*ctx.ops).__bindgen_anon_2.sk;
        if socket.is_null() {
            return None;
        }
        bpf_sk_storage_get((&raw const CAPTURED).cast_mut().cast(), socket.cast(), core::ptr::null_mut(), 0)
            .cast::<Origin>()
            .as_ref()
    }
}

#[inline(always)]
unsafe fn v4(field: *const u32) -> Address {
    // SAFETY: the caller's field is one of the context's.
    Address::v4(unsafe { core::ptr::read_volatile(field) })
}

#[inline(always)]
unsafe fn v6(field: *const u32) -> Address {
    // SAFETY: the caller's field is one of the context's, of four words.
    Address([0, 1, 2, 3].map(|word| unsafe { core::ptr::read_volatile(field.add(word)) }))
}
