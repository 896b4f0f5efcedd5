//! The origin record: written when the source port is known and before the SYN leaves; moved into the socket that the
//! listener accepts when the connection is established; deleted with the caller's socket if it never is.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_storage_get};
use aya_ebpf::programs::SockOpsContext;
use egret_kernel::{
    ACTION_REDIRECT, API_DNS, Address, CaptureKey, CaptureRule, Captured, KernelReason, Origin, OriginKey, Port, RowKey,
};

use crate::connect::rule_for;
use crate::hold;
use crate::maps::{ACCEPTED, CAPTURED, ORIGINS, SCOPED};
use crate::owners;
use crate::presence::is_listener;
use crate::verdict::count;

// `BPF_SOCK_OPS_*` and `BPF_TCP_CLOSE` (include/uapi/linux/bpf.h).
const TCP_CONNECT: u32 = 3;
const PASSIVE_ESTABLISHED: u32 = 5;
const STATE: u32 = 10;
const STATE_FLAG: u32 = 1 << 2;
const CLOSE: u32 = 7;

const AF_INET: u32 = 2;

/// `BPF_NOEXIST`.
const IF_ABSENT: u64 = 1;

/// Longest time from `connect` to the listener for which a rule that has changed meanwhile still counts, in nanoseconds.
const GRACE: u64 = 1_000_000_000;

/// An address and port of a connection.
#[derive(Clone, Copy)]
struct End {
    address: Address,
    port: Port,
}

#[inline(always)]
pub fn event(ctx: &SockOpsContext) -> u32 {
    let op = ctx.op();
    if op == TCP_CONNECT {
        before_syn(ctx);
    } else if matches!(op, hold::TIMEOUT_INIT | hold::HEADER_OPTION_LENGTH | hold::WRITE_HEADER_OPTION) {
        held(ctx, op);
    } else if op == PASSIVE_ESTABLISHED {
        established(ctx);
    } else if op == STATE && ctx.arg(1) == CLOSE {
        closed(ctx);
    }
    1
}

/// The caller's socket is about to send its SYN.
#[inline(always)]
fn before_syn(ctx: &SockOpsContext) {
    let (local, remote) = ends(ctx);
    if !is_listener(remote.address, remote.port) {
        return;
    }
    let key = key(ctx, local);
    let record = socket(ctx).and_then(captured).filter(|record| record.is_new == 1);
    let Some(record) = record else {
        // The connection is direct: it must not inherit a record left under this port.
        take(&key);
        return;
    };
    record.is_new = 0;
    record.socket = cookie(ctx);
    if ORIGINS.insert(key, &*record, IF_ABSENT).is_err() {
        take(&key);
        if ORIGINS.insert(key, &*record, IF_ABSENT).is_err() {
            count(KernelReason::OriginsFull);
            return;
        }
    }
    owners::count(&record.owners);
    // The kernel reports the end of this socket from now on.
    let flags = if record.is_held == 0 { STATE_FLAG } else { STATE_FLAG | hold::HEADER_OPTION_FLAG };
    let _ = ctx.set_cb_flags((ctx.cb_flags() | flags) as i32);
}

/// The kernel asks about a SYN of a connection that may have to wait for its listener.
#[inline(always)]
fn held(ctx: &SockOpsContext, op: u32) {
    let (_, remote) = ends(ctx);
    if !is_listener(remote.address, remote.port) {
        return;
    }
    let Some(record) = socket(ctx).and_then(captured) else { return };
    if op == hold::TIMEOUT_INIT {
        hold::timeout(ctx, record);
    } else if op == hold::WRITE_HEADER_OPTION {
        hold::write(ctx, record);
    } else if record.is_held == 0 {
        // It waits no more: no question about further packets.
        let _ = ctx.set_cb_flags((ctx.cb_flags() & !hold::HEADER_OPTION_FLAG) as i32);
    } else {
        hold::reserve(ctx, record, netns(ctx));
    }
}

/// The listener's socket of a connection is established: it gets the origin.
#[inline(always)]
fn established(ctx: &SockOpsContext) {
    const CREATE: u64 = 1;
    let (local, remote) = ends(ctx);
    if !is_listener(local.address, local.port) {
        return;
    }
    let key = key(ctx, remote);
    // SAFETY: the record is of this connection, whose socket exists: nobody else writes it.
    let Some(record) = (unsafe { ORIGINS.get(key) }) else { return };
    if let Some(socket) = socket(ctx)
        && still_redirected(&record.origin)
    {
        let accepted = (&raw const ACCEPTED).cast_mut().cast();
        let origin = (&raw const record.origin).cast_mut();
        // SAFETY: map and socket are valid; the kernel copies the origin.
        unsafe { bpf_sk_storage_get(accepted, socket.cast(), origin.cast(), CREATE) };
    }
    take(&key);
}

/// The caller's socket is closed: a record that the listener has not got is of no use any more.
#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let (local, _) = ends(ctx);
    let key = key(ctx, local);
    // SAFETY: as above; a record of another socket is recognised by its cookie.
    if unsafe { ORIGINS.get(key) }.is_some_and(|record| record.socket == cookie(ctx)) {
        take(&key);
    }
}

/// Whether the rule of an origin is in force, or was a moment ago.
#[inline(always)]
fn still_redirected(origin: &Origin) -> bool {
    const TCP: u8 = 6;
    // SAFETY: the helper takes nothing and returns a number.
    let age = unsafe { bpf_ktime_get_ns() }.saturating_sub(origin.time);
    let destination = CaptureKey { address: origin.address, port: origin.port, protocol: TCP, pad: 0 };
    let is_redirect = |rule: &CaptureRule| rule.action == ACTION_REDIRECT;
    // A rule of an owner that holds for everybody by now is among those.
    origin.api == API_DNS
        || age < GRACE
        || rule_for(&destination).is_some_and(is_redirect)
        // SAFETY: rules are replaced whole.
        || unsafe { SCOPED.get(RowKey { scope: origin.scope, destination, pad: 0 }) }.is_some_and(is_redirect)
}

/// Deletes a record, and counts it back for its owners.
#[inline(always)]
fn take(key: &OriginKey) {
    // SAFETY: the owners are copied before the record goes.
    let Some(owners) = (unsafe { ORIGINS.get(key) }).map(|record| record.owners) else { return };
    if ORIGINS.remove(key).is_ok() {
        owners::release(&owners);
    }
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> Option<*mut bpf_sock> {
    // SAFETY: the context is valid; the pointer is null for none.
    let socket = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    (!socket.is_null()).then_some(socket)
}

#[inline(always)]
fn captured(socket: *mut bpf_sock) -> Option<&'static mut Captured> {
    let captured = (&raw const CAPTURED).cast_mut().cast();
    // SAFETY: map and socket are valid; the storage lives as long as the socket.
    unsafe { bpf_sk_storage_get(captured, socket.cast(), core::ptr::null_mut(), 0).cast::<Captured>().as_mut() }
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context is valid.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

#[inline(always)]
fn key(ctx: &SockOpsContext, End { address, port }: End) -> OriginKey {
    OriginKey { netns: netns(ctx), address, port, pad: [0; 6] }
}

#[inline(always)]
fn netns(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context is valid.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// Returns the local and the remote end.
#[inline(always)]
fn ends(ctx: &SockOpsContext) -> (End, End) {
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
    let remote = End { address: remote, port: Port::from(u32::from_be(ctx.remote_port()) as u16) };
    (End { address: local, port: Port::from(ctx.local_port() as u16) }, remote)
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
