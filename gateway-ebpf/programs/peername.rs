//! `getpeername`: the caller sees the address it asked for.

use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{Address, Captured, Origin};

use crate::dns;
use crate::maps::CAPTURED;
use crate::presence::is_listener;
use crate::socket::{address_v4, address_v6, port, set_v4, set_v6};
use crate::verdict::PROCEED;

#[inline(always)]
pub fn v4(ctx: &SockAddrContext) -> i32 {
    match asked_for(ctx, address_v4(ctx)) {
        Some(Origin { address: Address([.., word]), port, .. }) => set_v4(ctx, *word, *port),
        None => dns::restore_v4(ctx),
    }
    PROCEED
}

#[inline(always)]
pub fn v6(ctx: &SockAddrContext) -> i32 {
    match asked_for(ctx, address_v6(ctx)) {
        Some(Origin { address, port, .. }) => set_v6(ctx, *address, *port),
        None => dns::restore_v6(ctx),
    }
    PROCEED
}

/// Returns the destination that the socket asked for, if its real peer is our listener. A socket that was captured once
/// and has been connected elsewhere since keeps its record, but has another peer.
#[inline(always)]
fn asked_for(ctx: &SockAddrContext, peer: Address) -> Option<&'static Origin> {
    is_listener(peer, port(ctx)).then_some(())?;
    // SAFETY: the storage lives as long as the socket, whose name is being asked.
    let captured: &Captured = unsafe { CAPTURED.get_ptr_mut(ctx).as_ref() }?;
    Some(&captured.origin)
}
