//! The sockets that the hooks send queries to, and what is done with a query.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::datagram::receive_from;
use super::{Exit, Forwarder, Query, add};

/// Bytes of queries that wait for the forwarder, on each socket: a burst of callers that start together.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The same on a socket in another network namespace, which has fewer callers.
const FOREIGN_RECEIVE_BUFFER: usize = 1 << 17;

/// The first of the ports that the sockets have if they are free, in containers too. They are above those that Linux gives to sockets by
/// default (`ip_local_port_range` in ip-sysctl), and no service has one by custom.
const FIRST_QUIET: u16 = 61_000;

/// Pause after an error of a socket that is not a caller's doing.
const PAUSE: Duration = Duration::from_millis(50);

/// The sockets: so many of each family, one for each server that a caller's socket can ask.
#[derive(Debug)]
pub struct Sockets {
    v4: Vec<Arc<UdpSocket>>,
    v6: Vec<Arc<UdpSocket>>,
}

impl Sockets {
    /// Opens as many sockets of each family on the loopback, on adjacent ports. A node without ::1 has none there.
    ///
    /// # Errors
    /// There is no descriptor, or no IPv4 loopback.
    pub fn bind(each: usize) -> io::Result<Self> {
        let v4 = adjacent(Ipv4Addr::LOCALHOST.into(), each)?;
        let v6 = adjacent(Ipv6Addr::LOCALHOST.into(), each).unwrap_or_else(|error| {
            tracing::warn!(%error, "no IPv6 loopback: queries to IPv6 DNS servers leave directly");
            Vec::new()
        });
        Ok(Self { v4, v6 })
    }

    /// Continues with sockets that another process received on: those of IPv4 first, then as many of IPv6 or none.
    ///
    /// # Errors
    /// A socket is none.
    pub fn adopt(sockets: Vec<OwnedFd>, each: usize) -> io::Result<Self> {
        let mut v4 = sockets.into_iter().map(adopt).collect::<io::Result<Vec<_>>>()?;
        let v6 = v4.split_off(each.min(v4.len()));
        if v4.len() < each || !matches!(v6.len(), n if n == 0 || n == each) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { v4, v6 })
    }

    /// Returns the sockets of IPv4, and those of IPv6.
    pub fn by_family(&self) -> (Vec<BorrowedFd<'_>>, Vec<BorrowedFd<'_>>) {
        (borrow(&self.v4), borrow(&self.v6))
    }

    /// Returns the first port of IPv4, and of IPv6: those of the forwarder in other network namespaces.
    pub fn first_ports(&self) -> (Option<u16>, Option<u16>) {
        let first = |sockets: &[Arc<UdpSocket>]| Some(sockets.first()?.local_addr().ok()?.port());
        (first(&self.v4), first(&self.v6))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<UdpSocket>> {
        [&self.v4, &self.v6].into_iter().flat_map(|sockets| sockets.iter().cloned())
    }
}

/// The sockets in another network namespace than the node's: one for each family that it has.
#[derive(Clone, Debug)]
pub struct ForeignSockets(Vec<Arc<UdpSocket>>);

impl ForeignSockets {
    /// Opens the sockets in the network namespace of the calling thread, on these ports.
    ///
    /// # Errors
    /// Another program has one of the ports.
    pub fn open((v4, v6): (Option<u16>, Option<u16>)) -> io::Result<Vec<OwnedFd>> {
        let at = |address: IpAddr, port| bind(SocketAddr::new(address, port), FOREIGN_RECEIVE_BUFFER);
        let v4 = v4.map(|port| at(Ipv4Addr::LOCALHOST.into(), port)).transpose()?;
        let v6 = match v6.map(|port| at(Ipv6Addr::LOCALHOST.into(), port)).transpose() {
            // Many namespaces have no IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => None,
            v6 => v6?,
        };
        Ok([v4, v6].into_iter().flatten().map(OwnedFd::from).collect())
    }

    /// Uses such sockets.
    ///
    /// # Errors
    /// A descriptor is none of a socket.
    pub fn adopt(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        sockets.into_iter().map(adopt).collect::<io::Result<_>>().map(Self)
    }

    /// Returns the sockets.
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        borrow(&self.0)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<UdpSocket>> {
        self.0.iter().cloned()
    }
}

fn adopt(socket: OwnedFd) -> io::Result<Arc<UdpSocket>> {
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket).map(Arc::new)
}

fn borrow(sockets: &[Arc<UdpSocket>]) -> Vec<BorrowedFd<'_>> {
    sockets.iter().map(|socket| socket.as_fd()).collect()
}

/// Binds sockets to adjacent ports: quiet ones, or others of which the kernel chooses the first.
fn adjacent(address: IpAddr, count: usize) -> io::Result<Vec<Arc<UdpSocket>>> {
    /// More than enough, unless most ports are taken.
    const TRIES: usize = 256;
    let step = u16::try_from(count.max(1)).map_err(|_| io::ErrorKind::InvalidInput)?;
    let places = usize::from((u16::MAX - FIRST_QUIET) / step);
    // Processes that start at the same time begin at different ports.
    let begin = std::process::id() as usize;
    let quiet = (0..places).filter_map(|place| u16::try_from((begin + place) % places).ok());
    let quiet = quiet.map(|place| FIRST_QUIET + place * step);
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for first in quiet.chain([0; TRIES]) {
        outcome = run(address, first, step).and_then(|sockets| {
            let adopted = sockets.into_iter().map(|socket| UdpSocket::from_std(socket.into()).map(Arc::new));
            adopted.collect()
        });
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    outcome
}

/// Binds so many sockets to adjacent ports, from this one on.
fn run(address: IpAddr, first: u16, count: u16) -> io::Result<Vec<Socket>> {
    let at = |port| bind(SocketAddr::new(address, port), RECEIVE_BUFFER);
    let first = at(first)?;
    let port = first.local_addr()?.as_socket().map_or(0, |address| address.port());
    let next = (1..count).map(|slot| at(port.checked_add(slot).ok_or(io::ErrorKind::AddrInUse)?));
    std::iter::once(Ok(first)).chain(next).collect()
}

fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Beyond `net.core.rmem_max`, or without CAP_NET_ADMIN as much as that allows (socket(7)).
    if setsockopt(&socket, RcvBufForce, &receive_buffer).is_err() {
        let _ = socket.set_recv_buffer_size(receive_buffer);
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends a response to a caller. In another network namespace than the node's, the source says to the hooks which server the caller
/// asked: it is the loopback address that they gave to the caller's query.
async fn respond(socket: &UdpSocket, response: &[u8], to: SocketAddr, exit: &Exit) -> io::Result<()> {
    match to {
        SocketAddr::V4(v4) if !exit.is_nodes() && v4.ip().is_loopback() => {
            socket.async_io(Interest::WRITABLE, || send_from(*v4.ip(), socket, response, v4)).await
        }
        _ => socket.send_to(response, to).await.map(drop),
    }
}

fn send_from(source: Ipv4Addr, socket: &UdpSocket, bytes: &[u8], to: SocketAddrV4) -> io::Result<()> {
    let source = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
    let information = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
    let control = [ControlMessage::Ipv4PacketInfo(&information)];
    let to = SockaddrIn::from(to);
    sendmsg(socket.as_raw_fd(), &[io::IoSlice::new(bytes)], &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

impl Forwarder {
    /// Receives queries on one socket, which leave from this network namespace.
    pub(super) async fn receive(self: Arc<Self>, socket: Arc<UdpSocket>, exit: Exit) {
        loop {
            match socket.async_io(Interest::READABLE, || receive_from(&socket)).await {
                Ok((query, from)) => self.take(&socket, query, from, &exit),
                // A response could not be delivered: its caller has gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot receive DNS queries");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, socket: &Arc<UdpSocket>, query: Vec<u8>, from: SocketAddr, exit: &Exit) {
        let Some(sender) = (self.rooms.sender)(socket.as_fd()).filter(|sender| sender.address == from) else {
            return add(&self.counts.no_sender);
        };
        let place = self.places.take(sender.cgroups);
        if place.as_ref().is_none_or(|place| place.is_scarce) {
            self.relieve(sender.origin.cgroup);
        }
        let Some(place) = place else {
            add(&self.counts.no_room);
            return self.disconnect(sender.origin.cgroup, from, socket, exit);
        };
        add(&self.counts.queries);
        let (forwarder, socket, exit) = (Arc::clone(self), Arc::clone(socket), exit.clone());
        self.queries.spawn(async move {
            let server = sender.origin.original_dst.0;
            let asked = Query { bytes: &query, server, caller: sender.origin.cgroup, exit: &exit };
            // The caller may have gone.
            let _ = match forwarder.respond(asked).await {
                Ok(Some(response)) => respond(&socket, &response, from, &exit).await,
                Ok(None) => Ok(()),
                // It learns this at once, as if it had asked by itself, and asks the next server.
                Err(_) => match socket.local_addr() {
                    Ok(at) => forwarder.refusals.send(from, at, &exit).await,
                    Err(error) => Err(error),
                },
            };
            drop(place);
        });
    }
}
