//! How many source ports of an address are in use towards a destination, and how many there are.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::sockets::{self, Transport};
use super::{Capture, Error};

impl Capture {
    /// Returns how many source ports of each of these addresses are in use towards a destination, of the destinations with most. All
    /// sockets of the node count, whoever owns them, and those in TIME_WAIT. It blocks.
    ///
    /// # Errors
    /// The kernel does not list connections.
    pub fn ports_used(
        &self,
        addresses: impl Fn(IpAddr) -> bool,
        most: usize,
    ) -> Result<Vec<(IpAddr, SocketAddr, usize)>, Error> {
        let mut used: HashMap<(IpAddr, SocketAddr), usize> = HashMap::new();
        let count = |connection: sockets::Connection| {
            if addresses(connection.local.ip()) {
                *used.entry((connection.local.ip(), connection.remote)).or_default() += 1;
            }
        };
        self.maps
            .connections((Transport::Tcp, sockets::TAKING_A_PORT), count)
            .map_err(|error| Error::Map { map: "sock_diag", cause: error.to_string() })?;
        let mut used: Vec<_> =
            used.into_iter().map(|((address, destination), count)| (address, destination, count)).collect();
        used.sort_by_key(|(address, destination, count)| (std::cmp::Reverse(*count), *address, *destination));
        used.truncate(most);
        Ok(used)
    }
}

/// Returns the number of source ports that the kernel may use towards one destination.
///
/// # Errors
/// The kernel does not say which they are.
pub fn ports() -> io::Result<usize> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let (range, reserved) = (read("ip_local_port_range")?, read("ip_local_reserved_ports")?);
    free(&range, &reserved).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, range))
}

/// Returns how many ports are in a range of the kernel, without those that are reserved (ip-sysctl.rst in the kernel's documentation).
fn free(range: &str, reserved: &str) -> Option<usize> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<u16>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    let parse = |text: &str| -> Option<RangeInclusive<u16>> {
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        Some(start.trim().parse().ok()?..=end.trim().parse().ok()?)
    };
    let reserved: Vec<_> = reserved.trim().split(',').filter_map(parse).collect();
    Some((first..=last).filter(|port| !reserved.iter().any(|range| range.contains(port))).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_not_free() {
        assert_eq!(free("32768\t60999\n", "\n"), Some(28_232));
        assert_eq!(free("32768\t32777\n", "8080,32770-32771,32777\n"), Some(7));
        assert_eq!(free("32768", ""), None);
    }
}
