//! Accept captured connections on the loopback, in the node's network namespace and in those of callers; pass the sockets on; drain.

mod entrance;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub use entrance::{Entrance, Loopback, Way, loopback_is_up, namespace_of};

/// Connections that wait for `accept`; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// The ports that Egret listens on, in containers too, where no program can have them then. They are above those that Linux gives to
/// connections by default (`ip_local_port_range` in ip-sysctl), and no service has one by custom.
const QUIET: RangeInclusive<u16> = 61_000..=65_535;

/// Pause after an error of `accept` that is not the connection's own (no descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(50);

/// The listening sockets of a network namespace, one per family.
#[derive(Debug)]
pub struct Listeners {
    v4: TcpListener,
    v6: Option<TcpListener>,
}

/// The socket that stands for all: they are in one network namespace.
impl AsFd for Listeners {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.v4.as_fd()
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The accepted connection.
    pub stream: TcpStream,
}

impl Listeners {
    /// Listens on 127.0.0.1 and ::1; without ::1 on the node, on 127.0.0.1 only.
    pub fn bind() -> io::Result<Self> {
        let v4 = bind_quietly(Ipv4Addr::LOCALHOST.into())?;
        let v6 = match bind_quietly(Ipv6Addr::LOCALHOST.into()) {
            Ok(v6) => Some(v6),
            Err(error) => {
                tracing::warn!(%error, "no IPv6 loopback: IPv6 connections to listed hosts follow their fail mode");
                None
            }
        };
        Ok(Self { v4, v6 })
    }

    /// Continues with sockets that another process listened on.
    pub fn adopt(v4: OwnedFd, v6: Option<OwnedFd>) -> io::Result<Self> {
        let adopt = |socket: OwnedFd| {
            let socket = std::net::TcpListener::from(socket);
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        Ok(Self { v4: adopt(v4)?, v6: v6.map(adopt).transpose()? })
    }

    /// Returns the listening sockets, IPv4 first.
    pub fn sockets(&self) -> (BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        (self.v4.as_fd(), self.v6.as_ref().map(AsFd::as_fd))
    }

    /// Opens the sockets of listeners on the loopback of the calling thread's network namespace, on these ports.
    ///
    /// # Errors
    /// Another program has the port of IPv4.
    pub fn open((v4, v6): (u16, Option<u16>)) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        let opened = socket((Ipv4Addr::LOCALHOST, v4).into())?;
        // Many namespaces have no IPv6.
        let v6 = v6.and_then(|port| socket((Ipv6Addr::LOCALHOST, port).into()).ok());
        Ok((opened.into(), v6.map(OwnedFd::from)))
    }

    /// Returns the ports of IPv4 and IPv6.
    pub fn ports(&self) -> (u16, Option<u16>) {
        let port = |socket: &TcpListener| socket.local_addr().map(|address| address.port());
        (port(&self.v4).unwrap_or(0), self.v6.as_ref().and_then(|socket| port(socket).ok()))
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        [Some(&self.v4), self.v6.as_ref()].into_iter().flatten().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Accepts until stopped.
    ///
    /// # Errors
    /// A socket does not listen any more: who has CAP_NET_ADMIN in its network namespace has closed it (`SOCK_DESTROY`, sock_diag(7)).
    pub async fn accept(&self, stop: CancellationToken, serve: impl Fn(Accepted)) -> io::Result<()> {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = self.v4.accept() => accepted,
                accepted = accept_v6(self.v6.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, _)) => serve(Accepted { stream }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a captured connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn accept_v6(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Binds to one of the [`QUIET`] ports, or to one that the kernel chooses if all are taken.
fn bind_quietly(address: IpAddr) -> io::Result<TcpListener> {
    let (first, count) = (*QUIET.start(), QUIET.len());
    // Processes that start at the same time begin at different ports.
    let begin = std::process::id() as usize;
    let quiet = (0..count).filter_map(|step| u16::try_from((begin + step) % count).ok()).map(|step| first + step);
    for port in quiet.chain([0]) {
        match socket(SocketAddr::new(address, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            socket => return TcpListener::from_std(socket?.into()),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Listens, also where connections of an earlier listener on this port remain.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: the loopback has nothing to gain from Nagle's algorithm.
    socket.set_tcp_nodelay(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
