use crate::{Address, Port};

/// Where a captured connection comes from, as its accepted socket sees it.
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

/// What the kernel knows of a captured socket, recorded in `connect`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Cgroup (v2) of the caller: inode number of its directory.
    pub cgroup: u64,
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

const _: () = assert!(size_of::<OriginKey>() == 32);
const _: () = assert!(size_of::<Origin>() == 72);

#[cfg(feature = "user")]
mod user {
    use super::{Origin, OriginKey};

    // SAFETY: `repr(C)`, every bit pattern valid, padding explicit.
    unsafe impl aya::Pod for OriginKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Origin {}
}
