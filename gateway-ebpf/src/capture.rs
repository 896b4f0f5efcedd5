use crate::{Address, Port};

/// A destination that is captured: an address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CaptureKey {
    /// Destination the caller asked for.
    pub address: Address,
    /// Port the caller asked for.
    pub port: Port,
    /// `IPPROTO_TCP` (6). UDP is refused where TCP is captured, so it has no key of its own.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// A destination that is captured for all callers, or for those of one owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// Cgroup (v2) of the owner, with those below it; [`EVERYBODY`](crate::EVERYBODY) for all callers.
    pub scope: u64,
    /// The destination.
    pub destination: CaptureKey,
    /// Zero.
    pub pad: u32,
}

/// The rule for a captured connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureRule {
    /// Version of the configuration that wrote this rule.
    pub generation: u32,
    /// Index of the API in that configuration.
    pub api: u32,
    /// [`ACTION_REDIRECT`], [`ACTION_BIND`], [`ACTION_DENY`], [`ACTION_LISTENER`] or [`ACTION_SCOPED`].
    pub action: u8,
    /// [`FAIL_CLOSED`] or [`FAIL_OPEN`].
    pub fail: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// Source address for [`ACTION_BIND`]; zero otherwise.
    pub source: Address,
}

/// Send the connection to Egret's listener.
pub const ACTION_REDIRECT: u8 = 0;
/// Set the source address in the kernel; no proxy hop.
pub const ACTION_BIND: u8 = 1;
/// Refuse the connection.
pub const ACTION_DENY: u8 = 2;
/// Refuse the connection: the destination is Egret's own listener.
pub const ACTION_LISTENER: u8 = 3;
/// Look for a rule of the caller's owner in `SCOPED`. Without one the destination is not captured for this caller.
pub const ACTION_SCOPED: u8 = 4;

/// While Egret is gone, refuse.
pub const FAIL_CLOSED: u8 = 0;
/// While Egret is gone, let the connection go direct.
pub const FAIL_OPEN: u8 = 1;

/// The number of matches of a rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Connections and datagrams that matched.
    pub count: u64,
    /// CLOCK_MONOTONIC nanoseconds of the newest one.
    pub last: u64,
}

const _: () = assert!(size_of::<CaptureKey>() == 20);
const _: () = assert!(size_of::<CaptureRule>() == 28);
const _: () = assert!(size_of::<RowKey>() == 32);
const _: () = assert!(size_of::<Hits>() == 16);

#[cfg(feature = "user")]
mod user {
    use super::{CaptureKey, CaptureRule, Hits, RowKey};

    // SAFETY: `repr(C)`, every bit pattern valid, padding explicit.
    unsafe impl aya::Pod for CaptureKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CaptureRule {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RowKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Hits {}
}
