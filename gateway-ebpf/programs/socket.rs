//! Reading and writing a hook's context, one access at a time: the verifier refuses merged ones.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::{Address, Port};

use crate::maps::unicast_offsets;

/// Destination, or peer, of an IPv4 socket.
#[inline(always)]
pub fn address_v4(ctx: &SockAddrContext) -> Address {
    // SAFETY: the context is valid for the whole run of the program.
    Address::v4(unsafe { core::ptr::read_volatile(&raw const (*ctx.sock_addr).user_ip4) })
}

/// Destination, or peer, of an IPv6 socket.
#[inline(always)]
pub fn address_v6(ctx: &SockAddrContext) -> Address {
    // SAFETY: as above; the array in the context has four words.
    Address([0, 1, 2, 3].map(|word| unsafe {
        core::ptr::read_volatile((&raw const (*ctx.sock_addr).user_ip6).cast::<u32>().add(word))
    }))
}

/// Destination, or peer, port.
#[inline(always)]
pub fn port(ctx: &SockAddrContext) -> Port {
    // SAFETY: as above. The port is in the first half of the word's memory.
    Port(unsafe { core::ptr::read_volatile((&raw const (*ctx.sock_addr).user_port).cast::<u16>()) })
}

/// IP protocol of the socket.
#[inline(always)]
pub fn protocol(ctx: &SockAddrContext) -> u32 {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const (*ctx.sock_addr).protocol) }
}

/// The port that the socket is bound to; zero while it has none.
#[inline(always)]
pub fn local_port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: the context and its socket are valid for the whole run of the program; the word is in the host's order.
    unsafe { core::ptr::read_volatile(&raw const (*(*ctx.sock_addr).__bindgen_anon_1.sk).src_port) as u16 }
}

/// The IPv4 address that the socket is bound to, in network order; zero for none.
#[inline(always)]
pub fn bound_v4(ctx: &SockAddrContext) -> u32 {
    // SAFETY: the context and its socket are valid for the whole run of the program.
    unsafe { core::ptr::read_volatile(&raw const (*(*ctx.sock_addr).__bindgen_anon_1.sk).src_ip4) }
}

/// The source of a datagram over IPv4 that is being sent without `connect`, in network order; zero if the kernel chooses it.
#[inline(always)]
pub fn source_v4(ctx: &SockAddrContext) -> u32 {
    // SAFETY: the context is valid for the whole run of the program.
    unsafe { core::ptr::read_volatile(&raw const (*ctx.sock_addr).msg_src_ip4) }
}

/// Replaces that source.
#[inline(always)]
pub fn set_source_v4(ctx: &SockAddrContext, word: u32) {
    // SAFETY: as above; the field is writable in the program that uses this.
    unsafe { core::ptr::write_volatile(&raw mut (*ctx.sock_addr).msg_src_ip4, word) };
}

/// Whether the socket is bound to a device (SO_BINDTODEVICE, a VRF) from which the loopback cannot be reached.
#[inline(always)]
pub fn bound_device(ctx: &SockAddrContext) -> bool {
    const LOOPBACK: u32 = 1;
    let device = device(ctx);
    device != 0 && device != LOOPBACK
}

/// Whether the socket is connected.
#[inline(always)]
pub fn is_connected(ctx: &SockAddrContext) -> bool {
    const ESTABLISHED: u32 = 1;
    // SAFETY: the context and its socket are valid for the whole run of the program.
    unsafe { core::ptr::read_volatile(&raw const (*(*ctx.sock_addr).__bindgen_anon_1.sk).state) == ESTABLISHED }
}

/// Whether the socket's datagrams leave from a device (IP_UNICAST_IF, IPV6_UNICAST_IF), from which the loopback cannot be reached.
/// No helper tells, so this reads the kernel's socket itself. `number` turns the pointer to it into a number, and keeps its value. Also
/// true if it is not known where the kernel keeps this.
#[inline(always)]
pub fn has_unicast_device(ctx: &SockAddrContext, number: &mut u64, v4: bool) -> bool {
    let (unicast, v6, unicast_v6) = unicast_offsets();
    if unicast == 0 || v6 == 0 || unicast_v6 == 0 {
        return true;
    }
    let kept = *number;
    // SAFETY: the context and its socket are valid for the whole run of the program. A map's value may hold a pointer, and is a number
    // when it is read.
    let socket = unsafe {
        let number: *mut u64 = number;
        core::ptr::write_volatile(number.cast(), (*ctx.sock_addr).__bindgen_anon_1.sk);
        core::ptr::read_volatile(number)
    };
    *number = kept;
    // What cannot be read counts as a device.
    let device = |at: u64| read::<u32>(at).unwrap_or(1);
    if v4 {
        return device(socket + u64::from(unicast)) != 0;
    }
    read::<u64>(socket + u64::from(v6)).is_none_or(|v6| device(v6 + u64::from(unicast_v6)) != 0)
}

/// Reads the kernel's memory.
#[inline(always)]
fn read<T>(at: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(at as *const T) }.ok()
}

/// Whether the socket is bound to any device.
#[inline(always)]
pub fn has_device(ctx: &SockAddrContext) -> bool {
    device(ctx) != 0
}

#[inline(always)]
fn device(ctx: &SockAddrContext) -> u32 {
    // SAFETY: the context and its socket are valid for the whole run of the program.
    unsafe { core::ptr::read_volatile(&raw const (*(*ctx.sock_addr).__bindgen_anon_1.sk).bound_dev_if) }
}

/// Replaces the address of an IPv4 socket's context; the word is in network order.
#[inline(always)]
pub fn set_v4(ctx: &SockAddrContext, word: u32, port: Port) {
    // SAFETY: as above; these fields are writable in the programs that use this.
    unsafe { core::ptr::write_volatile(&raw mut (*ctx.sock_addr).user_ip4, word) };
    set_port(ctx, port);
}

/// Replaces the address of an IPv6 socket's context.
#[inline(always)]
pub fn set_v6(ctx: &SockAddrContext, Address(words): Address, port: Port) {
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe {
            core::ptr::write_volatile((&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>().add(index), word);
        }
    }
    set_port(ctx, port);
}

#[inline(always)]
fn set_port(ctx: &SockAddrContext, Port(port): Port) {
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut (*ctx.sock_addr).user_port, u32::from(port)) };
}
