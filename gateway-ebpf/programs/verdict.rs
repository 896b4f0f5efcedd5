//! What the kernel half may decide, and what each decision means for the caller: one match.

use aya_ebpf::helpers::generated::bpf_set_retval;
use egret_kernel::{Address, Event, KernelReason, Origin};

use crate::maps::{COUNTERS, EVENTS, can_set_retval};

/// The call goes on.
pub const PROCEED: i32 = 1;
/// The call fails with EPERM, or with what `bpf_set_retval` said.
const REFUSE: i32 = 0;

const ECONNREFUSED: i32 = 111;

/// Counts and tells the decision, then turns it into the hook's return code.
#[inline(always)]
pub fn conclude(reason: KernelReason, origin: &Origin, source: Address, protocol: u32) -> i32 {
    count(reason);
    // Of what is redirected the listener tells.
    if reason as u32 != KernelReason::Redirected as u32 {
        tell(reason, origin, source, protocol);
    }
    match reason {
        KernelReason::Redirected
        | KernelReason::Bound
        | KernelReason::Exempt
        | KernelReason::GatewayGoneOpen
        | KernelReason::ForeignNamespaceOpen
        | KernelReason::OriginsFull => PROCEED,
        // EPERM: QUIC stacks fall back to TCP at once.
        KernelReason::QuicRefused => REFUSE,
        KernelReason::Denied
        | KernelReason::GatewayGoneClosed
        | KernelReason::ForeignNamespaceClosed
        | KernelReason::BindFailed
        | KernelReason::RecordFailed => {
            if can_set_retval() {
                // SAFETY: the helper takes a plain number; connect programs may call it where the probe said so.
                unsafe { bpf_set_retval(-ECONNREFUSED) };
            }
            REFUSE
        }
    }
}

/// A full ring loses the event, never the connection; the counters have it.
#[inline(always)]
fn tell(reason: KernelReason, origin: &Origin, source: Address, protocol: u32) {
    let event = Event { origin: *origin, source, reason: reason as u32, protocol };
    let _ = EVENTS.output::<Event>(&event, 0);
}

/// Adds one to the reason's counter.
#[inline(always)]
pub fn count(reason: KernelReason) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own slot.
        unsafe { *counter += 1 };
    }
}
