//! Accept captured connections on the node's loopback; pass the sockets on; drain.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Connections that wait for `accept`; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Pause after an error of `accept` that is not the connection's own (no descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(50);

/// The listening sockets, one per family.
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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it: the loopback has nothing to gain from Nagle's algorithm.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}
