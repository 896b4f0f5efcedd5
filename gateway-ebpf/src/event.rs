use crate::{Address, Origin, Port};

/// A decision of the kernel half about connections or datagrams that the listener never sees.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The caller and what it asked for.
    pub origin: Origin,
    /// Source address that a `bind` set; zero otherwise.
    pub source: Address,
    /// A [`KernelReason`] code.
    pub reason: u32,
    /// IP protocol: 6 (TCP), 17 (UDP) or 136 (UDP-Lite).
    pub protocol: u32,
    /// Equal decisions since the previous event, this one included.
    pub times: u64,
}

/// Decisions that are equal, so that a flood of them is a few events: those of one cgroup, API and reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ToldKey {
    /// Cgroup (v2) of the caller.
    pub cgroup: u64,
    /// Index of the API.
    pub api: u32,
    /// A [`KernelReason`] code.
    pub reason: u32,
}

impl ToldKey {
    /// The key of all decisions about callers below a cgroup, which bounds their events together: those about unlisted
    /// destinations, or all others.
    #[inline(always)]
    pub const fn all_below(cgroup: u64, is_unlisted: bool) -> Self {
        Self { cgroup, api: u32::MAX, reason: u32::MAX - is_unlisted as u32 }
    }
}

/// The events of one [`ToldKey`] in its current second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// CLOCK_MONOTONIC nanoseconds at which the second began.
    pub since: u64,
    /// Events in this second.
    pub told: u32,
    /// Decisions that no event has reported yet.
    pub untold: u32,
}

impl Event {
    /// Address and port the caller asked for.
    pub fn destination(&self) -> (Address, Port) {
        (self.origin.address, self.origin.port)
    }
}

const _: () = assert!(size_of::<Event>() == 112);
const _: () = assert!(size_of::<ToldKey>() == 16);
const _: () = assert!(size_of::<Told>() == 16);

#[cfg(feature = "user")]
mod user {
    use super::{Event, Told, ToldKey};

    // SAFETY: `repr(C)`, every bit pattern valid, no padding.
    unsafe impl aya::Pod for Event {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ToldKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Told {}
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $label:literal;)+) => {
        /// The reason of a decision of the kernel half. It is the counter index, the event code and the metric label.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum KernelReason { $($(#[doc = $doc])+ $name = $code),+ }

        impl KernelReason {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The spelling in logs, metrics and the CLI.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// The reason with this code.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Redirected to Egret's listener.
    Redirected = 0, "redirected";
    /// Left directly, with the source address set in the kernel.
    Bound = 1, "bound";
    /// Refused: the API's mode is `deny`.
    Denied = 2, "denied";
    /// Refused: UDP (QUIC) to a captured address and port. The client falls back to TCP.
    UdpRefused = 3, "udp_refused";
    /// A socket of Egret's own, which is left alone.
    Exempt = 4, "exempt";
    /// Refused: Egret is gone and the API fails closed.
    GatewayGoneClosed = 5, "gateway_gone_closed";
    /// Left directly: Egret is gone and the API fails open.
    GatewayGoneOpen = 6, "gateway_gone_open";
    /// Refused: Egret cannot listen in the caller's network namespace, and the API fails closed.
    ForeignNamespaceClosed = 7, "foreign_namespace_closed";
    /// Left directly: Egret cannot listen in the caller's network namespace, and the API fails open.
    ForeignNamespaceOpen = 8, "foreign_namespace_open";
    /// Refused: the source address could not be set.
    BindFailed = 9, "bind_failed";
    /// Refused: the kernel has no memory to record the caller.
    RecordFailed = 10, "record_failed";
    /// Refused: the caller has too many connections on their way to the listener.
    OriginsFull = 11, "origins_full";
    /// Refused: the destination is Egret's own listener.
    ListenerRefused = 12, "listener_refused";
    /// Refused: the socket is bound to a device, which does not reach the listener, and the API fails closed.
    BoundDeviceClosed = 13, "bound_device_closed";
    /// Left directly: the socket is bound to a device, which does not reach the listener, and the API fails open.
    BoundDeviceOpen = 14, "bound_device_open";
    /// A DNS query that goes through Egret's forwarder.
    DnsForwarded = 15, "dns_forwarded";
    /// A DNS query that left directly: the forwarder is gone or too slow.
    DnsForwarderGone = 16, "dns_forwarder_gone";
    /// A DNS query that left directly: its socket asks too many servers, its cgroup has too many queries on their way, or there
    /// is no memory for the record.
    DnsNoRoom = 17, "dns_no_room";
    /// Left directly to a destination that no API lists, and reported (`capture.unlisted`).
    UnlistedReported = 18, "unlisted_reported";
    /// Refused: no API lists the destination (`capture.unlisted`).
    UnlistedDenied = 19, "unlisted_denied";
    /// Left directly to a destination that is denied otherwise: Egret is gone and `capture.unlisted` fails open.
    UnlistedGoneOpen = 20, "unlisted_gone_open";
    /// Redirected to a listener that is not there yet, in a network namespace that has just made its first connection.
    Held = 21, "held";
    /// A DNS query that left directly: Egret does not forward in the caller's network namespace, or not yet.
    DnsForeignNamespace = 22, "dns_foreign_namespace";
}
