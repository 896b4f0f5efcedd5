//! The hooks, in the order of a connection's life. Each reads its context and calls one module.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![allow(missing_docs, unreachable_pub, reason = "a program has no API; the macros want the hooks public")]

mod bind;

mod caller;

mod connect;

mod dns;

mod events;

mod hold;

mod maps;

mod namespace;

mod origin;

mod owners;

mod peername;

mod presence;

mod scoped;

mod socket;

mod udp;

mod unlisted;

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

/// A TCP socket is about to send its SYN, is established or is closed: the origin record follows it.
/// (Not named after its section: the linker takes the two for one symbol.)
#[sock_ops]
pub fn tcp_events(ctx: SockOpsContext) -> u32 {
    origin::event(&ctx)
}

/// A program asks for the address of its peer, over IPv4.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    peername::v4(&ctx)
}

/// A program asks for the address of its peer, over IPv6.
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

/// A program receives a datagram over IPv4 and asks where it came from.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    dns::received_v4(&ctx)
}

/// A program receives a datagram over an IPv6 socket and asks where it came from.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    dns::received_v6(&ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for GPL-compatible programs only; the hooks are under both licences.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
