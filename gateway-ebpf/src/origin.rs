use crate::{Address, Port};

/// The source of a captured connection, as its accepted socket sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginKey {
    /// Cookie of the caller's network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// Source address of the redirected connection.
    pub address: Address,
    /// Source port of the redirected connection.
    pub port: Port,
    /// Zero.
    pub pad: [u8; 6],
}

/// The caller of a captured connection and the destination it asked for, recorded in `connect`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Cgroup (v2) of the caller: inode number of its directory.
    pub cgroup: u64,
    /// Cgroup of the owner whose rule captured it; [`EVERYBODY`] for a rule that holds for all callers.
    pub scope: u64,
    /// CLOCK_MONOTONIC nanoseconds of the `connect`.
    pub time: u64,
    /// Address the caller asked for.
    pub address: Address,
    /// Port the caller asked for.
    pub port: Port,
    /// Zero.
    pub pad: [u8; 2],
    /// Configuration version of the rule that captured it.
    pub generation: u32,
    /// Index of the API in that configuration.
    pub api: u32,
    /// Process (thread group) id of the caller, in the root pid namespace.
    pub pid: u32,
    /// User id of the caller, in the root user namespace.
    pub uid: u32,
    /// Zero.
    pub pad2: u32,
    /// Command name of the calling thread, NUL-padded.
    pub command: [u8; 16],
}

/// A captured socket between its `connect` and the listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The caller and what it asked for.
    pub origin: Origin,
    /// Keys of `OWNERS` that this socket is counted for; zero for none.
    pub owners: Owners,
    /// Cookie of the socket, set with its SYN.
    pub socket: u64,
    /// One from the redirect until the SYN of that `connect`, then zero: a later `connect` must not use this record.
    pub is_new: u64,
    /// One while its SYN must not arrive, because Egret does not listen in its network namespace yet; else zero.
    pub is_held: u64,
}

/// A socket with a captured destination that the hooks let pass without Egret.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The caller and what it asked for.
    pub origin: Origin,
    /// A [`KernelReason`](crate::KernelReason) code.
    pub reason: u32,
    /// Zero.
    pub pad: u32,
}

/// The owners of a connection that share the table of origins: the caller's cgroups at the levels 1, 2 and 3 with all
/// that is below them, then its own cgroup alone.
pub type Owners = [u64; 4];

/// The key of all callers: in `OWNERS` for all connections together, in a [`RowKey`](crate::RowKey) for a rule that holds for all.
pub const EVERYBODY: u64 = 0;

/// Set in a key of `OWNERS` that is a cgroup without those below it.
pub const OWNER_IS_ONE_CGROUP: u64 = 1 << 62;

/// Set in a key of `OWNERS` that is a user id: a caller that is in no cgroup but the root is counted by its user.
pub const OWNER_IS_USER: u64 = 1 << 63;

const _: () = assert!(size_of::<OriginKey>() == 32);
const _: () = assert!(size_of::<Origin>() == 80);
const _: () = assert!(size_of::<Captured>() == 136);
const _: () = assert!(size_of::<Passed>() == 88);

#[cfg(feature = "user")]
mod user {
    use super::{Captured, Origin, OriginKey, Passed};

    // SAFETY: `repr(C)`, every bit pattern valid, padding explicit.
    unsafe impl aya::Pod for OriginKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Origin {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Captured {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Passed {}
}
