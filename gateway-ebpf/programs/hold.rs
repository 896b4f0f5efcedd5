//! A connection that comes before Egret listens in its network namespace waits in the kernel. Its SYN carries an option by which
//! the receiving side drops it in silence, where it would answer with a reset, and it is sent again soon, until Egret listens.
//!
//! The option is a TCP MD5 signature (RFC 2385). A SYN with a signature that nobody expects is dropped if something listens on the
//! port, and gets no reset if nothing does (`tcp_v4_send_reset`, net/ipv4/tcp_ipv4.c): there is no key to sign the reset with.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::helpers::generated::{bpf_reserve_hdr_opt, bpf_store_hdr_opt};
use aya_ebpf::programs::SockOpsContext;
use egret_kernel::Captured;

use crate::maps::hold_ticks;
use crate::namespace::is_served;

// `BPF_SOCK_OPS_*` (include/uapi/linux/bpf.h).
pub const TIMEOUT_INIT: u32 = 1;
pub const HEADER_OPTION_LENGTH: u32 = 14;
pub const WRITE_HEADER_OPTION: u32 = 15;
/// `BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG`.
pub const HEADER_OPTION_FLAG: u32 = 1 << 6;

/// Kind and length of the option (RFC 2385 §3.0), and a signature of zeros.
const OPTION: [u8; 18] = [19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The kernel asks how long to wait before it sends a SYN again, in ticks.
#[inline(always)]
pub fn timeout(ctx: &SockOpsContext, record: &Captured) {
    if record.is_held != 0 {
        ctx.set_reply(hold_ticks());
    }
}

/// The kernel asks how much room the options of a SYN need.
#[inline(always)]
pub fn reserve(ctx: &SockOpsContext, record: &mut Captured, netns: u64) {
    if record.is_held == 0 {
        return;
    }
    if is_served(netns) {
        // This SYN is to arrive.
        record.is_held = 0;
        return;
    }
    // SAFETY: the context is valid.
    unsafe { bpf_reserve_hdr_opt(ops(ctx), OPTION.len() as u32, 0) };
}

/// The kernel asks for the options.
#[inline(always)]
pub fn write(ctx: &SockOpsContext, record: &Captured) {
    if record.is_held != 0 {
        // SAFETY: the context is valid, and the option as long as it says.
        unsafe { bpf_store_hdr_opt(ops(ctx), OPTION.as_ptr().cast_mut().cast(), OPTION.len() as u32, 0) };
    }
}

fn ops(ctx: &SockOpsContext) -> *mut bpf_sock_ops {
    ctx.ops
}
