//! Datagrams without `connect`.

use aya_ebpf::programs::SockAddrContext;

use crate::connect::{Destination, datagram};
use crate::socket::{address_v4, address_v6, port};

#[inline(always)]
pub fn v4(ctx: &SockAddrContext) -> i32 {
    datagram(ctx, Destination { address: address_v4(ctx), port: port(ctx), socket_v6: false, connects: false })
}

#[inline(always)]
pub fn v6(ctx: &SockAddrContext) -> i32 {
    datagram(ctx, Destination { address: address_v6(ctx), port: port(ctx), socket_v6: true, connects: false })
}
