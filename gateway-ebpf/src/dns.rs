use crate::{Address, Origin, Owners, Port};

/// The port of DNS servers, over UDP and TCP.
pub const DNS_PORT: u16 = 53;

/// The number of servers that one socket can ask through the forwarder. In the node's network namespace each has a port of the
/// forwarder's. In others the forwarder has one port per family, and each server that an unconnected socket asks over IPv4 has a source
/// address: 127.0.0.2 in slot 1, and so on. There, slot 0 is for all other sockets.
pub const DNS_SLOTS: usize = 8;

/// The index that an origin has in place of an API's: a connection to a DNS server.
pub const API_DNS: u32 = u32::MAX - 2;

/// The facts about the forwarder that the hooks need. All zero while there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Age of `DNS_HEARTBEAT`, in nanoseconds, from which the forwarder counts as gone.
    pub stale_after: u64,
    /// The first port of the forwarder on 127.0.0.1, in the host's order. The server in a socket's slot 0 is asked through it, that
    /// in slot 1 through the next port, and so on. In other network namespaces the forwarder has the first one alone.
    pub v4: u16,
    /// The first port on ::1, likewise; zero if the node has no IPv6 loopback.
    pub v6: u16,
    /// Zero.
    pub pad: [u8; 4],
}

/// The address of a DNS server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsServer {
    /// Its address.
    pub address: Address,
    /// Its port.
    pub port: Port,
    /// Zero.
    pub pad: [u8; 2],
}

/// A socket whose DNS queries go to the forwarder, and the servers that it asks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsClient {
    /// The process that sent the newest query without `connect`, or connected.
    pub origin: Origin,
    /// Its cgroups, as for a captured connection.
    pub owners: Owners,
    /// The servers, by slot.
    pub servers: [DnsServer; DNS_SLOTS],
    /// The number of servers.
    pub count: u32,
    /// Zero.
    pub pad: u32,
}

/// The sender of the datagram that the forwarder received last on one of its sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsSender {
    /// The process that sent it.
    pub origin: Origin,
    /// Its cgroups, as for a captured connection.
    pub owners: Owners,
    /// The server that it asks.
    pub server: DnsServer,
    /// Zero.
    pub pad: [u8; 4],
    /// Source address of the datagram; zero if the sender is not known.
    pub address: Address,
    /// Source port of the datagram.
    pub port: Port,
    /// Zero.
    pub pad2: [u8; 6],
}

const _: () = assert!(size_of::<DnsSettings>() == 16);
const _: () = assert!(size_of::<DnsServer>() == 20);
const _: () = assert!(size_of::<DnsClient>() == 280);
const _: () = assert!(size_of::<DnsSender>() == 160);

#[cfg(feature = "user")]
mod user {
    use super::{DnsClient, DnsSender, DnsSettings};

    // SAFETY: `repr(C)`, every bit pattern valid, padding explicit.
    unsafe impl aya::Pod for DnsSettings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DnsClient {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DnsSender {}
}
