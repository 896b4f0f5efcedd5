//! The contract between the kernel half and the user half: what crosses the maps, and nothing else.
//!
//! Compiled for both sides. `#[repr(C)]`, fixed-width integers and byte arrays only, addresses and
//! ports in network order, padding explicit and zero, no payload enums, no logic. Any change of a
//! layout, a code or a map name changes [`ABI_VERSION`]: pinned maps outlive the process.
#![no_std]

mod addr;

mod capture;

mod event;

mod origin;

mod settings;

pub use addr::{Address, Port};
pub use capture::{ACTION_BIND, ACTION_DENY, ACTION_REDIRECT, CaptureKey, CaptureRule, FAIL_CLOSED, FAIL_OPEN, Hits};
pub use event::{Event, KernelReason};
pub use origin::{Origin, OriginKey};
pub use settings::{MARK_EXEMPT, MARK_LISTENER, Settings};

/// Version of everything in this crate; stored in the pinned `SETTINGS` map and compared on adoption.
pub const ABI_VERSION: u32 = 1;

/// Most (address, port) pairs that can be captured at once.
pub const MAX_REDIRECTS: u32 = 131_072;

/// Most captured connections between their `connect` and their `accept`.
pub const MAX_ORIGINS: u32 = 65_536;

/// Size of the event ring buffer, in bytes.
pub const EVENT_BYTES: u32 = 256 * 1024;

/// Names of the maps, as the loader and the pins spell them.
pub mod map {
    /// Array of one [`Settings`](crate::Settings).
    pub const SETTINGS: &str = "SETTINGS";
    /// Array of one `u64`: CLOCK_MONOTONIC nanoseconds of the daemon's last sign of life.
    pub const HEARTBEAT: &str = "HEARTBEAT";
    /// Hash of [`CaptureKey`](crate::CaptureKey) to [`CaptureRule`](crate::CaptureRule).
    pub const REDIRECTS: &str = "REDIRECTS";
    /// Per-CPU hash of [`CaptureKey`](crate::CaptureKey) to [`Hits`](crate::Hits).
    pub const HITS: &str = "HITS";
    /// Hash of [`OriginKey`](crate::OriginKey) to [`Origin`](crate::Origin).
    pub const ORIGINS: &str = "ORIGINS";
    /// Socket storage of [`Origin`](crate::Origin): what a captured socket asked for.
    pub const CAPTURED: &str = "CAPTURED";
    /// Socket storage of `u32`: [`MARK_EXEMPT`](crate::MARK_EXEMPT) or [`MARK_LISTENER`](crate::MARK_LISTENER).
    pub const MARKS: &str = "MARKS";
    /// Per-CPU array of `u64`, indexed by [`KernelReason`](crate::KernelReason).
    pub const COUNTERS: &str = "COUNTERS";
    /// Ring buffer of [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
}
