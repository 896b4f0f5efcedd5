/// Egret's state in a network namespace other than the node's own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// [`NAMESPACE_WANTED`], [`NAMESPACE_SERVED`] or [`NAMESPACE_UNSERVED`].
    pub state: u32,
    /// Zero.
    pub pad: u32,
    /// CLOCK_MONOTONIC nanoseconds since when it is so.
    pub since: u64,
}

/// A connection waits there until Egret listens.
pub const NAMESPACE_WANTED: u32 = 1;
/// Egret listens there, on the ports that it listens on in the node's namespace.
pub const NAMESPACE_SERVED: u32 = 2;
/// Egret cannot listen there.
pub const NAMESPACE_UNSERVED: u32 = 3;

/// Nanoseconds after which Egret is told again of a namespace that is still wanted, or tried again where it could not listen.
pub const WANT_EVERY: u64 = 1_000_000_000;

/// Most network namespaces that are known at once. Those that have not been used for longest make room.
pub const MAX_NAMESPACES: u32 = 16_384;

/// Size of the ring buffer of [`Arrival`], in bytes.
pub const ARRIVAL_BYTES: u32 = 64 * 1024;

/// The first connection to a captured destination from a network namespace in which Egret does not listen yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Cookie of the namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// Cgroup (v2) of the caller: inode number of its directory.
    pub cgroup: u64,
    /// Process (thread group) id of the caller, in the root pid namespace.
    pub pid: u32,
    /// Thread id of the caller, in the root pid namespace.
    pub thread: u32,
}

const _: () = assert!(size_of::<Namespace>() == 16);
const _: () = assert!(size_of::<Arrival>() == 24);

#[cfg(feature = "user")]
mod user {
    use super::{Arrival, Namespace};

    // SAFETY: `repr(C)`, every bit pattern valid, padding explicit.
    unsafe impl aya::Pod for Namespace {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Arrival {}
}
