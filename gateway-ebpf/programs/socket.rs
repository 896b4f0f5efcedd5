//! Reading and writing a hook's context, one access at a time: the verifier refuses merged ones.

use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{Address, Port};

/// Destination, or peer, of an IPv4 socket.
#[inline(always)]
pub fn address_v4(ctx: &SockAddrContext) -> Address {
    // SAFETY: the context is valid for the whole run of the program.
    let ip = unsafe { core::ptr::read_volatile(&raw const (*ctx.sock_addr).user_ip4) };
    Address::v4(ip.to_ne_bytes())
}

/// Destination, or peer, of an IPv6 socket.
#[inline(always)]
pub fn address_v6(ctx: &SockAddrContext) -> Address {
    let mut bytes = [0; 16];
    for word in 0..4 {
        // SAFETY: as above; the array in the context has four words.
        let ip = unsafe { core::ptr::read_volatile((&raw const (*ctx.sock_addr).user_ip6).cast::<u32>().add(word)) };
        bytes[word * 4..word * 4 + 4].copy_from_slice(&ip.to_ne_bytes());
    }
    Address(bytes)
}

/// Destination, or peer, port.
#[inline(always)]
pub fn port(ctx: &SockAddrContext) -> Port {
    // SAFETY: as above.
    let port = unsafe { core::ptr::read_volatile(&raw const (*ctx.sock_addr).user_port) };
    let [high, low, ..] = port.to_ne_bytes();
    Port([high, low])
}

/// IP protocol of the socket.
#[inline(always)]
pub fn protocol(ctx: &SockAddrContext) -> u32 {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const (*ctx.sock_addr).protocol) }
}

/// Replaces the address of an IPv4 socket's context.
#[inline(always)]
pub fn set_v4(ctx: &SockAddrContext, address: [u8; 4], port: Port) {
    // SAFETY: as above; these fields are writable in connect and getpeername programs.
    unsafe { core::ptr::write_volatile(&raw mut (*ctx.sock_addr).user_ip4, u32::from_ne_bytes(address)) };
    set_port(ctx, port);
}

/// Replaces the address of an IPv6 socket's context.
#[inline(always)]
pub fn set_v6(ctx: &SockAddrContext, Address(b): Address, port: Port) {
    let words =
        [[b[0], b[1], b[2], b[3]], [b[4], b[5], b[6], b[7]], [b[8], b[9], b[10], b[11]], [b[12], b[13], b[14], b[15]]];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe {
            core::ptr::write_volatile(
                (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>().add(index),
                u32::from_ne_bytes(word),
            );
        }
    }
    set_port(ctx, port);
}

#[inline(always)]
fn set_port(ctx: &SockAddrContext, Port([high, low]): Port) {
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut (*ctx.sock_addr).user_port, u32::from_ne_bytes([high, low, 0, 0])) };
}
