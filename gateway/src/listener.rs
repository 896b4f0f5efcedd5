//! Accept captured connections on the loopback, in the node's network namespace and in those of callers; pass the sockets on; drain.

mod entrance;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub use entrance::{Entrance, namespace_of};

/// Connections that wait for `accept`; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Pause after an error of `accept` that is not the connection's own (no descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(50);

/// The listening sockets of a network namespace, one per family.
#[derive(Debug)]
pub struct Listeners {
    v4: TcpListener,
    v6: Option<TcpListener>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The accepted connection.
    pub stream: TcpStream,
}

impl Listeners {
    /// Listens on 127.0.0.1 and ::1, ports of the kernel's choice; without ::1 on the node, on 127.0.0.1 only.
    pub fn bind() -> io::Result<Self> {
        let v4 = bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let v6 = match bind((Ipv6Addr::LOCALHOST, 0).into()) {
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

    /// Returns the ports of IPv4 and IPv6.
    fn ports(&self) -> (u16, Option<u16>) {
        let port = |socket: &TcpListener| socket.local_addr().map(|address| address.port());
        (port(&self.v4).unwrap_or(0), self.v6.as_ref().and_then(|socket| port(socket).ok()))
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        [Some(&self.v4), self.v6.as_ref()].into_iter().flatten().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Accepts until stopped.
    pub async fn accept(&self, stop: CancellationToken, serve: impl Fn(Accepted)) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.v4.accept() => accepted,
                accepted = accept_v6(self.v6.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, _)) => serve(Accepted { stream }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
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

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(socket(address)?.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: the loopback has nothing to gain from Nagle's algorithm.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
