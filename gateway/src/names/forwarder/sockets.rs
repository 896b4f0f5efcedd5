//! The sockets that the hooks send queries to, and what is done with a query.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Forwarder, Query, add};

/// The largest datagram.
const LARGEST: usize = 65_535;

/// Bytes of queries that wait for the forwarder, on each socket: a burst of callers that start together.
const RECEIVE_BUFFER: usize = 1 << 20;

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
        let adopt = |socket: OwnedFd| {
            let socket = std::net::UdpSocket::from(socket);
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket).map(Arc::new)
        };
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

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, Arc<UdpSocket>)> {
        [&self.v4, &self.v6].into_iter().flat_map(|sockets| sockets.iter().cloned().enumerate())
    }
}

fn borrow(sockets: &[Arc<UdpSocket>]) -> Vec<BorrowedFd<'_>> {
    sockets.iter().map(|socket| socket.as_fd()).collect()
}

/// Binds sockets to adjacent ports, of which the kernel chooses the first: it chooses again where a neighbour is taken.
fn adjacent(address: IpAddr, count: usize) -> io::Result<Vec<Arc<UdpSocket>>> {
    /// More than enough, unless most ports are taken.
    const TRIES: usize = 256;
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..TRIES {
        let first = bind(SocketAddr::new(address, 0))?;
        let port = first.local_addr()?.port();
        let next = (1..count).map(|slot| {
            let port =
                u16::try_from(slot).ok().and_then(|slot| port.checked_add(slot)).ok_or(io::ErrorKind::AddrInUse)?;
            bind(SocketAddr::new(address, port))
        });
        outcome = std::iter::once(Ok(first)).chain(next).collect();
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    outcome
}

fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as the node allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

impl Forwarder {
    /// Receives queries on one socket.
    pub(super) async fn receive(self: Arc<Self>, slot: usize, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; LARGEST];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => self.take(slot, &socket, &buffer[..length], from),
                // A response could not be delivered: its caller has gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot receive DNS queries");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, slot: usize, socket: &Arc<UdpSocket>, query: &[u8], from: SocketAddr) {
        let Some(sender) = (self.rooms.sender)(socket.as_fd(), slot).filter(|sender| sender.address == from) else {
            return add(&self.counts.no_sender);
        };
        let place = self.places.take(sender.cgroups);
        if place.as_ref().is_none_or(|place| place.is_scarce) {
            self.relieve(sender.origin.cgroup);
        }
        let Some(place) = place else { return add(&self.counts.no_room) };
        add(&self.counts.queries);
        let (forwarder, socket, query) = (Arc::clone(self), Arc::clone(socket), query.to_vec());
        self.queries.spawn(async move {
            let server = sender.origin.original_dst.0;
            let query = Query { bytes: &query, server, caller: sender.origin.cgroup };
            // The caller may have gone.
            let _ = match forwarder.respond(query).await {
                Ok(Some(response)) => socket.send_to(&response, from).await.map(drop),
                Ok(None) => Ok(()),
                // It learns this at once, as if it had asked by itself, and asks the next server.
                Err(_) => socket.local_addr().and_then(|at| forwarder.refusals.send(from, at)),
            };
            drop(place);
        });
    }
}
