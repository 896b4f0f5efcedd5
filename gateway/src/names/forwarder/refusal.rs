//! Tells a caller that no server is there, as the network would: with an ICMP message of the loopback (RFC 792, RFC 4443). The caller's
//! socket gets the error that it would have got without Egret.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Exit;

const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

/// Type and code of "port unreachable".
const UNREACHABLE: [u8; 2] = [3, 3];
const UNREACHABLE_V6: [u8; 2] = [1, 4];

const HOPS: u8 = 64;

/// Sends such messages. The sockets receive nothing (raw(7), `IPPROTO_RAW`).
#[derive(Debug)]
pub(super) struct Refusals {
    v4: Socket,
    /// Absent on a node without IPv6.
    v6: Option<Socket>,
}

impl Refusals {
    /// Opens the sockets of the node's network namespace. This needs CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        let open = |domain| {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
            socket.set_nonblocking(true).map(|()| socket)
        };
        Ok(Self { v4: open(Domain::IPV4)?, v6: open(Domain::IPV6).ok() })
    }

    /// Tells the socket at `caller`, in this network namespace, that nobody takes its datagrams at `at`.
    pub(super) async fn send(&self, caller: SocketAddr, at: SocketAddr, exit: &Exit) -> io::Result<()> {
        let packet = match (caller, at) {
            (SocketAddr::V4(caller), SocketAddr::V4(at)) => {
                packet_v4((*caller.ip(), caller.port()), (*at.ip(), at.port()))
            }
            (SocketAddr::V6(caller), SocketAddr::V6(at)) => {
                packet_v6((*caller.ip(), caller.port()), (*at.ip(), at.port()))
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        // A raw socket has no port.
        let to = SockAddr::from(SocketAddr::new(caller.ip(), 0));
        if !exit.is_nodes() {
            return exit.raw(Domain::for_address(caller)).await?.send_to(&packet, &to).map(drop);
        }
        let socket = if caller.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        socket.ok_or(io::ErrorKind::Unsupported)?.send_to(&packet, &to).map(drop)
    }
}

fn packet_v4(caller: (Ipv4Addr, u16), at: (Ipv4Addr, u16)) -> Vec<u8> {
    let header = |protocol, source: Ipv4Addr, destination: Ipv4Addr, length: u16| {
        let mut header = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0, 0, HOPS, protocol, 0, 0]].concat();
        header.extend([source.octets(), destination.octets()].concat());
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum);
        header
    };
    let sent = [header(UDP, caller.0, at.0, 28), datagram(caller.1, at.1)].concat();
    let mut message = [&UNREACHABLE[..], &[0; 6], &sent].concat();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);
    [header(ICMP, at.0, caller.0, 56), message].concat()
}

fn packet_v6(caller: (Ipv6Addr, u16), at: (Ipv6Addr, u16)) -> Vec<u8> {
    let header = |protocol, source: Ipv6Addr, destination: Ipv6Addr, length: u16| {
        let start = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[protocol, HOPS]].concat();
        [start, source.octets().to_vec(), destination.octets().to_vec()].concat()
    };
    let sent = [header(UDP, caller.0, at.0, 8), datagram(caller.1, at.1)].concat();
    let mut message = [&UNREACHABLE_V6[..], &[0; 6], &sent].concat();
    // With the addresses (RFC 8200 §8.1).
    let length = 56u32.to_be_bytes();
    let sum = checksum(&[&at.0.octets(), &caller.0.octets(), &length, &[0, 0, 0, ICMP_V6], &message]);
    message[2..4].copy_from_slice(&sum);
    [header(ICMP_V6, at.0, caller.0, 56), message].concat()
}

/// The header of a datagram without its checksum, which nobody verifies here.
fn datagram(source: u16, destination: u16) -> Vec<u8> {
    [source, destination, 8, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

/// The checksum of the Internet protocols (RFC 1071). Each part has an even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), [0x22, 0x0d]);
        assert_eq!(checksum(&[]), [0xff, 0xff]);
    }

    #[test]
    fn a_packet_has_the_lengths_that_it_says_and_sums_to_zero() {
        let v4 = packet_v4(([192, 0, 2, 1].into(), 40_000), (Ipv4Addr::LOCALHOST, 5353));
        assert_eq!((v4.len(), &v4[2..4]), (56, &[0, 56][..]));
        assert_eq!((checksum(&[&v4[..20]]), checksum(&[&v4[20..]])), ([0, 0], [0, 0]));
        assert_eq!((&v4[12..16], &v4[16..20]), (&[127, 0, 0, 1][..], &[192, 0, 2, 1][..]));
        assert_eq!(v4[48..52], [40_000u16.to_be_bytes(), 5353u16.to_be_bytes()].concat());
        let v6 = packet_v6((Ipv6Addr::LOCALHOST, 40_000), (Ipv6Addr::LOCALHOST, 5353));
        assert_eq!((v6.len(), &v6[4..6]), (96, &[0, 56][..]));
        assert_eq!(v6[88..92], [40_000u16.to_be_bytes(), 5353u16.to_be_bytes()].concat());
    }
}
