//! The hooks, in the order of a connection's life. Each reads what its context offers and asks one room.
#![no_std]
#![no_main]
#![allow(missing_docs, unreachable_pub, reason = "a program has no API; the macros want the hooks public")]

mod connect;

mod maps;

mod origin;

mod peername;

mod socket;

mod udp;

mod verdict;

use aya_ebpf::macros::{cgroup_sock_addr, sock_ops};
use aya_ebpf::programs::{SockAddrContext, SockOpsContext};

/// A program connects to an IPv4 address.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    connect::v4(&ctx)
}

/// A program connects to an IPv6 address, or to an IPv4 one written `::ffff:a.b.c.d`.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    connect::v6(&ctx)
}

/// A TCP socket has its source port, its SYN has not left yet: the origin is written here.
/// (Not named after its section: the linker takes the two for one symbol.)
#[sock_ops]
pub fn before_syn(ctx: SockOpsContext) -> u32 {
    origin::record(&ctx)
}

/// A program asks whom it is connected to, over IPv4.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    peername::v4(&ctx)
}

/// A program asks whom it is connected to, over IPv6.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    peername::v6(&ctx)
}

/// A program sends a datagram to an IPv4 address without `connect`.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    udp::v4(&ctx)
}

/// A program sends a datagram to an IPv6 address without `connect`.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    udp::v6(&ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for GPL-compatible programs only; the hooks are under both licences.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
