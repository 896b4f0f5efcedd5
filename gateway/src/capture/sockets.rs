//! Connected sockets as the kernel lists them, and how to close one (sock_diag(7), include/uapi/linux/inet_diag.h).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use egret_kernel::Passed;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// `nlmsghdr`, `inet_diag_msg`, and in it the identity of a socket, `inet_diag_sockid`.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
const IDENTITY: std::ops::Range<usize> = 4..52;

/// Attributes of a request and of a response.
const REQUEST_STORAGES: u16 = 2;
const REQUEST_STORAGE_MAP: u16 = 1;
const NESTED: u16 = 1 << 15;
const STORAGES: u16 = 20;
const CGROUP: u16 = 21;
/// Attributes of a storage in [`STORAGES`]; the storage itself is attribute 1.
const STORAGE_VALUE: u16 = 3;

/// Established connections, and those that are being opened or closed by one side (`TCP_*` in net/tcp_states.h).
pub(super) const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8;

/// Connections that take a source port: also those that both sides have closed, for a minute (TIME_WAIT).
pub(super) const TAKING_A_PORT: u32 = CONNECTED | 1 << 6 | 1 << 9 | 1 << 11;

const ANY_STATE: u32 = u32::MAX;

/// A protocol whose sockets are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    fn protocol(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

/// A connected socket in the network namespace of this thread.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// User id of the socket's owner.
    pub(super) uid: u32,
    /// The cgroup (v2) in which the socket was made; zero where the kernel does not say.
    pub(super) cgroup: u64,
    /// A number that no other socket has.
    pub(super) cookie: u64,
    /// Whether Egret has marked it.
    pub(super) is_marked: bool,
    /// What the hooks noted when they let it pass.
    pub(super) passed: Option<Passed>,
    family: u8,
    identity: [u8; 48],
}

/// Calls this for each connection of the thread's network namespace in one of these states, with its entries in these socket
/// storages.
pub(super) fn connections(
    (transport, states): (Transport, u32),
    marks: BorrowedFd<'_>,
    passed: BorrowedFd<'_>,
    mut on_connection: impl FnMut(Connection),
) -> io::Result<()> {
    let netlink = open()?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family as u8, transport, states, &[0; 48]);
        // A list of maps, as attributes in an attribute.
        let maps = [marks, passed].map(|map| attribute(REQUEST_STORAGE_MAP, &map.as_raw_fd().to_ne_bytes()));
        request.extend(attribute(REQUEST_STORAGES | NESTED, &maps.concat()));
        converse(netlink.as_fd(), request, |body| {
            if let Some(connection) = connection(transport, body) {
                on_connection(connection);
            }
        })?;
    }
    Ok(())
}

/// Closes a connection: its owner sees ECONNABORTED.
///
/// # Errors
/// `EOPNOTSUPP` on a kernel without CONFIG_INET_DIAG_DESTROY; `ENOENT` if it has ended meanwhile.
pub(super) fn destroy(connection: &Connection) -> io::Result<()> {
    destroy_by(open()?.as_fd(), connection)
}

fn destroy_by(netlink: BorrowedFd<'_>, connection: &Connection) -> io::Result<()> {
    let Connection { family, transport, identity, .. } = connection;
    converse(netlink, request(SOCK_DESTROY, NLM_F_ACK, *family, *transport, ANY_STATE, identity), |_| {})
}

/// Disconnects the UDP socket at `local` whose peer is `remote`: its owner sees ECONNABORTED, and must connect again. Returns false if
/// the socket there has no peer. `netlink` is a socket of `NETLINK_SOCK_DIAG` in the network namespace of that socket.
///
/// # Errors
/// `EOPNOTSUPP` on a kernel without CONFIG_INET_DIAG_DESTROY; `ENOENT` if no socket is there.
pub(super) fn disconnect(netlink: BorrowedFd<'_>, local: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // For UDP, the source in the request for one socket is the peer of that socket (`udp_dump_one` in net/ipv4/udp_diag.c).
    let identity = identity(remote, local);
    let mut found = None;
    let one = request(SOCK_DIAG_BY_FAMILY, NLM_F_ACK, family as u8, Transport::Udp, ANY_STATE, &identity);
    converse(netlink, one, |body| found = connection(Transport::Udp, body))?;
    match found {
        Some(connection) if connection.remote == remote => destroy_by(netlink, &connection).map(|()| true),
        _ => Ok(false),
    }
}

/// Returns the identity of a socket whose cookie is not known.
fn identity(source: SocketAddr, destination: SocketAddr) -> [u8; 48] {
    let mut identity = [0; 48];
    for (end, port, address) in [(source, 0, 4), (destination, 2, 20)] {
        identity[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
        match end.ip() {
            IpAddr::V4(v4) => identity[address..address + 4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => identity[address..address + 16].copy_from_slice(&v6.octets()),
        }
    }
    // INET_DIAG_NOCOOKIE.
    identity[40..].fill(0xff);
    identity
}

fn request(kind: u16, flags: u16, family: u8, transport: Transport, states: u32, identity: &[u8; 48]) -> Vec<u8> {
    let mut request = vec![0; HEADER];
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    request.extend([family, transport.protocol(), 0, 0]);
    request.extend(states.to_ne_bytes());
    request.extend(identity);
    request
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn open() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?)
}

/// Sends a request, and passes on what comes back until the kernel says that this was all.
fn converse(netlink: BorrowedFd<'_>, mut request: Vec<u8>, mut on_message: impl FnMut(&[u8])) -> io::Result<()> {
    let length = u32::try_from(request.len()).unwrap_or(u32::MAX);
    request[..4].copy_from_slice(&length.to_ne_bytes());
    send(netlink.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..read];
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, body, after)) = message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    return match word(body, 0).unwrap_or(0).cast_signed() {
                        0 => Ok(()),
                        error => Err(io::Error::from_raw_os_error(-error)),
                    };
                }
                _ => on_message(body),
            }
            rest = after;
        }
    }
}

/// Splits the first message off: its type, its body, and the messages after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = word(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn connection(transport: Transport, body: &[u8]) -> Option<Connection> {
    let (family, identity) = (*body.first()?, *body.get(IDENTITY)?.first_chunk::<48>()?);
    let mut connection = Connection {
        transport,
        local: end(family, &identity, 0, 4)?,
        remote: end(family, &identity, 2, 20)?,
        uid: word(body, 64)?,
        cgroup: 0,
        cookie: u64::from_ne_bytes(*identity.get(40..)?.first_chunk()?),
        is_marked: false,
        passed: None,
        family,
        identity,
    };
    for (kind, value) in attributes(body.get(MESSAGE..)?) {
        match kind {
            CGROUP => connection.cgroup = value.first_chunk().map_or(0, |id| u64::from_ne_bytes(*id)),
            STORAGES => attributes(value).for_each(|(_, storage)| note_storage(&mut connection, storage)),
            _ => {}
        }
    }
    Some(connection)
}

/// Notes an entry of a socket storage. The two that are asked for differ in size.
fn note_storage(connection: &mut Connection, storage: &[u8]) {
    let value = attributes(storage).find(|(kind, _)| *kind == STORAGE_VALUE).map_or(&[][..], |(_, value)| value);
    connection.is_marked |= value.len() == size_of::<u32>();
    if value.len() == size_of::<Passed>() {
        // SAFETY: there are bytes enough, and a note is valid whatever its bits are.
        connection.passed = Some(unsafe { value.as_ptr().cast::<Passed>().read_unaligned() });
    }
}

/// Returns the attributes that bytes consist of, up to one that is cut.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let half = |at: usize| Some(u16::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

/// Returns the address at one offset of a socket's identity with the port at another, both in network order.
fn end(family: u8, identity: &[u8; 48], port: usize, address: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*identity.get(port..)?.first_chunk()?);
    let bytes = identity.get(address..)?;
    let address: IpAddr = if i32::from(family) == libc::AF_INET {
        Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
    } else {
        Ipv6Addr::from(*bytes.first_chunk::<16>()?).to_canonical()
    };
    Some(SocketAddr::new(address, port))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_its_attributes_and_a_cut_one_is_not() {
        let mut body = vec![0; MESSAGE];
        body[0] = libc::AF_INET6 as u8;
        body[4..6].copy_from_slice(&8080u16.to_be_bytes());
        body[6..8].copy_from_slice(&443u16.to_be_bytes());
        body[8..24].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        body[24..40].copy_from_slice(&"::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap().octets());
        body[64..68].copy_from_slice(&1000u32.to_ne_bytes());
        body.extend(attribute(CGROUP, &7u64.to_ne_bytes()));
        let read = connection(Transport::Tcp, &body).unwrap();
        assert_eq!((read.is_marked, read.cgroup, read.passed), (false, 7, None));
        let storage =
            |value: &[u8]| attribute(1 | NESTED, &[attribute(1, &[9; 4]), attribute(STORAGE_VALUE, value)].concat());
        let passed = [1; size_of::<Passed>()];
        body.extend(attribute(STORAGES | NESTED, &[storage(&[1; 4]), storage(&passed)].concat()));
        let read = connection(Transport::Tcp, &body).unwrap();
        assert_eq!((read.local.to_string(), read.remote.to_string()), ("[::1]:8080".into(), "192.0.2.1:443".into()));
        assert_eq!((read.uid, read.is_marked), (1000, true));
        assert_eq!(read.passed.unwrap().reason, 0x0101_0101);
        for cut in 0..MESSAGE {
            assert!(connection(Transport::Udp, &body[..cut]).is_none(), "{cut}");
        }
        assert!(message(&[9, 0, 0, 0]).is_none());
    }
}
