use std::net::SocketAddr;

use super::Origin;

/// The index that the origin of a connection to a DNS server has in place of an API's.
pub const DNS: super::ApiId = super::ApiId(u32::MAX - 2);

/// The sender of a DNS query, as the kernel recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSender {
    /// Source address of the query.
    pub address: SocketAddr,
    /// The caller. Its original destination is the DNS server that it asked.
    pub origin: Origin,
    /// Cgroups of the caller: those at levels 1, 2 and 3 of the hierarchy, and its own; zero for none. A caller cannot
    /// change the outer ones.
    pub cgroups: [u64; 4],
}
