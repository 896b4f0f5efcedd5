//! `bpf_bind`: the source address of a connection that leaves without a proxy.

use aya_ebpf::bindings::sockaddr;
use aya_ebpf::helpers::generated::bpf_bind;
use aya_ebpf::programs::SockAddrContext;
use egret_kernel::Address;

/// `struct sockaddr_in` (ip(7)), all in network order but the family.
#[repr(C)]
struct SockaddrV4 {
    family: u16,
    port: u16,
    address: u32,
    zero: [u8; 8],
}

/// `struct sockaddr_in6` (ipv6(7)).
#[repr(C)]
struct SockaddrV6 {
    family: u16,
    port: u16,
    flow: u32,
    address: [u32; 4],
    scope: u32,
}

/// Sets the source address and returns whether that worked. Where it did not, the caller must be refused: it would
/// leave from another address.
#[inline(always)]
pub fn set_source(ctx: &SockAddrContext, source: Address) -> bool {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let Address(words) = source;
    let result = if source.is_v4() {
        let mut address = SockaddrV4 { family: AF_INET, port: 0, address: words[3], zero: [0; 8] };
        // SAFETY: the context is valid, the address is whole and outlives the call.
        unsafe { bpf_bind(ctx.sock_addr, (&raw mut address).cast::<sockaddr>(), size_of::<SockaddrV4>() as i32) }
    } else {
        let mut address = SockaddrV6 { family: AF_INET6, port: 0, flow: 0, address: words, scope: 0 };
        // SAFETY: as above.
        unsafe { bpf_bind(ctx.sock_addr, (&raw mut address).cast::<sockaddr>(), size_of::<SockaddrV6>() as i32) }
    };
    result == 0
}
