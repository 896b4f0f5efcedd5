use crate::{Address, Port};

/// The index that an origin has in place of an API's: no rule captures its destination.
pub const API_UNLISTED: u32 = u32::MAX - 3;

/// Let connections to unlisted destinations pass.
pub const UNLISTED_ALLOW: u32 = 0;
/// Let them pass, and report them.
pub const UNLISTED_REPORT: u32 = 1;
/// Refuse them.
pub const UNLISTED_DENY: u32 = 2;

/// The set of destinations in `EXCEPTIONS` that everybody reaches.
pub const SET_OF_ALL: u32 = u32::MAX;

/// How connections to unlisted destinations are treated. All zero: they pass.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnlistedClass {
    /// [`UNLISTED_ALLOW`], [`UNLISTED_REPORT`] or [`UNLISTED_DENY`].
    pub action: u32,
    /// The set of destinations in `EXCEPTIONS` that it does not concern.
    pub set: u32,
}

/// What holds for unlisted destinations of all callers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnlistedSettings {
    /// Zero if all callers reach all destinations: the hooks look no further.
    pub is_on: u32,
    /// [`FAIL_CLOSED`](crate::FAIL_CLOSED) or [`FAIL_OPEN`](crate::FAIL_OPEN).
    pub fail: u32,
    /// The class of callers that are in no cgroup of `CLASSES`.
    pub otherwise: UnlistedClass,
}

/// The classes of a cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupClass {
    /// The class of its own processes.
    pub own: UnlistedClass,
    /// The class of processes in cgroups below it that are not in `CLASSES`.
    pub below: UnlistedClass,
}

/// A set and destinations in it, as a prefix: the set, the port and the first bits of the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exception {
    /// Number of the set.
    pub set: u32,
    /// A port, or zero for all ports.
    pub port: Port,
    /// Zero.
    pub pad: [u8; 2],
    /// The first address.
    pub address: Address,
}

/// Bits of an [`Exception`] before its address.
pub const EXCEPTION_HEAD: u32 = 64;

/// Senders that are remembered for each socket.
pub const PEERS: usize = 16;

/// The newest senders of datagrams to a socket, which may be answered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Index of the next one.
    pub next: u32,
    /// The senders, in no order.
    pub peers: [Peer; PEERS],
}

/// The sender of a datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: Address,
    /// Its port; zero for none.
    pub port: Port,
    /// Zero.
    pub pad: [u8; 2],
}

/// Equal decisions about unlisted destinations.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnlistedKey {
    /// Cgroup (v2) of the caller.
    pub cgroup: u64,
    /// Destination.
    pub address: Address,
    /// Its port.
    pub port: Port,
    /// IP protocol: 6 (TCP), 17 (UDP) or 136 (UDP-Lite).
    pub protocol: u16,
    /// A [`KernelReason`](crate::KernelReason) code.
    pub reason: u32,
}

const _: () = assert!(size_of::<UnlistedClass>() == 8);
const _: () = assert!(size_of::<UnlistedSettings>() == 16);
const _: () = assert!(size_of::<CgroupClass>() == 16);
const _: () = assert!(size_of::<Exception>() == 24);
const _: () = assert!(core::mem::offset_of!(Exception, address) * 8 == EXCEPTION_HEAD as usize);
const _: () = assert!(size_of::<UnlistedKey>() == 32);
const _: () = assert!(size_of::<Heard>() == 324);

#[cfg(feature = "user")]
mod user {
    use super::{CgroupClass, Exception, UnlistedKey, UnlistedSettings};

    // SAFETY: `repr(C)`, every bit pattern valid, padding explicit.
    unsafe impl aya::Pod for UnlistedSettings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CgroupClass {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Exception {}
    // SAFETY: as above.
    unsafe impl aya::Pod for UnlistedKey {}
}
