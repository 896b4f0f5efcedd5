//! The decisions of the kernel half, and what each means for the caller: one match.

use aya_ebpf::helpers::generated::bpf_set_retval;
use egret_kernel::{Address, KernelReason, Origin};

use crate::events::report;
use crate::maps::{COUNTERS, can_set_retval};

/// The call goes on.
pub const PROCEED: i32 = 1;
/// The call fails with EPERM, or with the error that `bpf_set_retval` chose.
pub const REFUSE: i32 = 0;

const ECONNREFUSED: i32 = 111;

/// Counts and reports the decision, then turns it into the hook's return code.
#[inline(always)]
pub fn conclude(reason: KernelReason, origin: &Origin, source: Address, protocol: u32) -> i32 {
    count(reason);
    // The listener reports what is redirected.
    if !matches!(reason, KernelReason::Redirected | KernelReason::Held) {
        report(reason, origin, source, protocol);
    }
    match reason {
        KernelReason::Redirected
        | KernelReason::Held
        | KernelReason::Bound
        | KernelReason::Exempt
        | KernelReason::GatewayGoneOpen
        | KernelReason::ForeignNamespaceOpen
        | KernelReason::BoundDeviceOpen
        | KernelReason::DnsForwarded
        | KernelReason::DnsForwarderGone
        | KernelReason::DnsNoRoom
        | KernelReason::DnsForeignNamespace
        | KernelReason::UnlistedReported
        | KernelReason::UnlistedGoneOpen => PROCEED,
        // EPERM: QUIC stacks fall back to TCP at once; what a firewall refuses is not a server that refuses.
        KernelReason::UdpRefused | KernelReason::UnlistedDenied => REFUSE,
        KernelReason::Denied
        | KernelReason::GatewayGoneClosed
        | KernelReason::ForeignNamespaceClosed
        | KernelReason::BoundDeviceClosed
        | KernelReason::BindFailed
        | KernelReason::RecordFailed
        | KernelReason::OriginsFull
        | KernelReason::ListenerRefused => {
            if can_set_retval() {
                // SAFETY: the helper takes a plain number; connect programs may call it where the probe said so.
                unsafe { bpf_set_retval(-ECONNREFUSED) };
            }
            REFUSE
        }
    }
}

/// Adds one to the reason's counter.
#[inline(always)]
pub fn count(reason: KernelReason) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own slot.
        unsafe { *counter += 1 };
    }
}
