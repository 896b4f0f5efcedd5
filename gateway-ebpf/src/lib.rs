//! The contract between the kernel half and the user half: what crosses the maps, and nothing else.
//!
//! Compiled for both sides. `#[repr(C)]`, fixed-width integers and byte arrays only, addresses and
//! ports in network order, padding explicit and zero, no payload enums, no logic. Any change of a
//! layout, a code or a map name changes [`ABI_VERSION`]: pinned maps outlive the process.
#![no_std]

mod addr;

mod capture;

mod dns;

mod event;

mod namespace;

mod origin;

mod settings;

mod unlisted;

pub use addr::{Address, Port};
pub use capture::{
    ACTION_BIND, ACTION_DENY, ACTION_LISTENER, ACTION_REDIRECT, ACTION_SCOPED, CaptureKey, CaptureRule, FAIL_CLOSED,
    FAIL_OPEN, Hits, RowKey,
};
pub use dns::{API_DNS, DNS_PORT, DNS_SLOTS, DnsClient, DnsSender, DnsServer, DnsSettings};
pub use event::{Event, KernelReason, Told, ToldKey};
pub use namespace::{
    ARRIVAL_BYTES, Arrival, MAX_NAMESPACES, NAMESPACE_SERVED, NAMESPACE_UNSERVED, NAMESPACE_WANTED, Namespace,
    WANT_EVERY,
};
pub use origin::{Captured, EVERYBODY, OWNER_IS_ONE_CGROUP, OWNER_IS_USER, Origin, OriginKey, Owners, Passed};
pub use settings::{MARK_EXEMPT, MARK_FORWARDER, MARK_LISTENER, Settings};
pub use unlisted::{
    API_UNLISTED, CgroupClass, EXCEPTION_HEAD, Exception, Heard, PEERS, Peer, SET_OF_ALL, UNLISTED_ALLOW,
    UNLISTED_DENY, UNLISTED_REPORT, UnlistedClass, UnlistedKey, UnlistedSettings,
};

/// Version of everything in this crate; stored in the pinned `SETTINGS` map and compared on adoption.
pub const ABI_VERSION: u32 = 9;

/// Most (address, port) pairs that can be captured at once.
pub const MAX_REDIRECTS: u32 = 131_072;

/// Most (owner, address, port) triples that can be captured for their owners alone at once.
pub const MAX_SCOPED: u32 = 65_536;

/// Most captured connections between their `connect` and the listener.
pub const MAX_ORIGINS: u32 = 65_536;

/// Most of these that a cgroup and those below it may have, by the index in [`Owners`]: at each level half of what the
/// level above may have. No workload can fill the table for others.
pub const ORIGIN_SHARES: [u32; 4] = [MAX_ORIGINS / 2, MAX_ORIGINS / 4, MAX_ORIGINS / 8, MAX_ORIGINS / 16];

/// Most cgroups whose DNS queries leave directly because they have too many on their way.
pub const MAX_DNS_DIRECT: u32 = 1_024;

/// Size of the event ring buffer, in bytes.
pub const EVENT_BYTES: u32 = 256 * 1024;

/// Most combinations of caller, API and reason whose events are aggregated at once.
pub const MAX_TOLD: u32 = 4_096;

/// Most combinations of caller, unlisted destination and reason whose events are aggregated at once.
pub const MAX_UNLISTED_TOLD: u32 = 16_384;

/// Most cgroups whose class differs from that of the cgroup above.
pub const MAX_CLASSES: u32 = 16_384;

/// Most destinations in all sets of exceptions.
pub const MAX_EXCEPTIONS: u32 = 65_536;

/// Nanoseconds in which equal decisions make one event.
pub const TELL_EVERY: u64 = 1_000_000_000;

/// Most events in that time of all callers below a second-level cgroup (a systemd service, a user, a container).
pub const MAX_EVENTS: u32 = 100;

/// Index in `COUNTERS` of events that were lost; it follows the last [`KernelReason`].
pub const EVENTS_LOST: u32 = KernelReason::ALL.len() as u32;

/// Names of the maps, as the loader and the pins spell them.
pub mod map {
    /// Array of one [`Settings`](crate::Settings).
    pub const SETTINGS: &str = "SETTINGS";
    /// Array of one `u64`: CLOCK_MONOTONIC nanoseconds of the daemon's newest heartbeat.
    pub const HEARTBEAT: &str = "HEARTBEAT";
    /// Hash of [`CaptureKey`](crate::CaptureKey) to [`CaptureRule`](crate::CaptureRule).
    pub const REDIRECTS: &str = "REDIRECTS";
    /// Hash of [`RowKey`](crate::RowKey) to [`CaptureRule`](crate::CaptureRule): rules for the callers of one owner. The hook looks
    /// here only where `REDIRECTS` says [`ACTION_SCOPED`](crate::ACTION_SCOPED).
    pub const SCOPED: &str = "SCOPED";
    /// Per-CPU hash of [`RowKey`](crate::RowKey) to [`Hits`](crate::Hits).
    pub const HITS: &str = "HITS";
    /// Hash of [`OriginKey`](crate::OriginKey) to [`Captured`](crate::Captured): connections whose SYN has left.
    pub const ORIGINS: &str = "ORIGINS";
    /// Hash of `u64`, a cgroup or [`EVERYBODY`](crate::EVERYBODY), to `u64`: its number of entries in `ORIGINS`.
    pub const OWNERS: &str = "OWNERS";
    /// Socket storage of [`Captured`](crate::Captured) in the caller's socket.
    pub const CAPTURED: &str = "CAPTURED";
    /// Socket storage of [`Origin`](crate::Origin) in the socket that the listener accepts.
    pub const ACCEPTED: &str = "ACCEPTED";
    /// Socket storage of `u32`: [`MARK_EXEMPT`](crate::MARK_EXEMPT), [`MARK_LISTENER`](crate::MARK_LISTENER) or
    /// [`MARK_FORWARDER`](crate::MARK_FORWARDER).
    pub const MARKS: &str = "MARKS";
    /// Socket storage of [`Passed`](crate::Passed) in the caller's socket.
    pub const PASSED: &str = "PASSED";
    /// Per-CPU array of `u64`, indexed by [`KernelReason`](crate::KernelReason) and [`EVENTS_LOST`](crate::EVENTS_LOST).
    pub const COUNTERS: &str = "COUNTERS";
    /// Ring buffer of [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
    /// Hash of [`ToldKey`](crate::ToldKey) to [`Told`](crate::Told).
    pub const TOLD: &str = "TOLD";
    /// Array of one [`UnlistedSettings`](crate::UnlistedSettings).
    pub const UNLISTED: &str = "UNLISTED";
    /// Hash of `u64`, a cgroup, to [`CgroupClass`](crate::CgroupClass).
    pub const CLASSES: &str = "CLASSES";
    /// Trie of [`Exception`](crate::Exception), by longest prefix, to `u32`.
    pub const EXCEPTIONS: &str = "EXCEPTIONS";
    /// Hash of [`UnlistedKey`](crate::UnlistedKey) to [`Told`](crate::Told).
    pub const UNLISTED_TOLD: &str = "UNLISTED_TOLD";
    /// Socket storage of [`Heard`](crate::Heard) in sockets that receive datagrams.
    pub const HEARD: &str = "HEARD";
    /// Hash of `u64`, the cookie of a network namespace, to [`Namespace`](crate::Namespace).
    pub const NAMESPACES: &str = "NAMESPACES";
    /// Ring buffer of [`Arrival`](crate::Arrival).
    pub const ARRIVALS: &str = "ARRIVALS";
    /// Array of one [`DnsSettings`](crate::DnsSettings).
    pub const DNS: &str = "DNS";
    /// Array of one `u64`: CLOCK_MONOTONIC nanoseconds of the forwarder's newest heartbeat.
    pub const DNS_HEARTBEAT: &str = "DNS_HEARTBEAT";
    /// Socket storage of [`DnsClient`](crate::DnsClient) in sockets that ask DNS servers.
    pub const DNS_CLIENTS: &str = "DNS_CLIENTS";
    /// Socket storage of [`DnsSender`](crate::DnsSender) in the forwarder's sockets.
    pub const DNS_SENDERS: &str = "DNS_SENDERS";
    /// LRU hash of `u64`, a cgroup, to `u64`: CLOCK_MONOTONIC nanoseconds until which its queries leave directly.
    pub const DNS_DIRECT: &str = "DNS_DIRECT";
}
