//! Where queries leave: in the network namespace of their callers, with its routes and from its addresses.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::model::Exempt;

/// Makes a socket.
pub(super) type Make = Box<dyn FnOnce() -> io::Result<OwnedFd> + Send>;

/// Has a socket made in a network namespace.
pub(super) type MakeInside =
    Box<dyn Fn(Make) -> Pin<Box<dyn Future<Output = io::Result<OwnedFd>> + Send>> + Send + Sync>;

/// The network namespace that queries leave from.
#[derive(Clone)]
pub struct Exit(Option<Arc<Foreign>>);

/// Another network namespace than the node's.
struct Foreign {
    netns: u64,
    make: MakeInside,
}

impl std::fmt::Debug for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exit").field(&self.netns()).finish()
    }
}

impl Exit {
    /// The node's network namespace.
    pub const fn node() -> Self {
        Self(None)
    }

    /// Another network namespace, with this cookie.
    pub fn foreign(netns: u64, make: MakeInside) -> Self {
        Self(Some(Arc::new(Foreign { netns, make })))
    }

    /// Whether this is the node's network namespace.
    pub(super) fn is_nodes(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the cookie of the network namespace; none for the node's.
    pub(super) fn netns(&self) -> Option<u64> {
        self.0.as_ref().map(|foreign| foreign.netns)
    }

    /// Opens a socket that is connected to a server.
    pub(super) async fn udp(&self, server: SocketAddr, exempt: &Exempt) -> io::Result<UdpSocket> {
        let socket = self.make(Domain::for_address(server), Type::DGRAM, None).await?;
        exempt(socket.as_fd())?;
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
        socket.connect(server).await?;
        Ok(socket)
    }

    /// Connects to a server.
    pub(super) async fn tcp(&self, server: SocketAddr, exempt: &Exempt) -> io::Result<TcpStream> {
        let socket = self.make(Domain::for_address(server), Type::STREAM, None).await?;
        exempt(socket.as_fd())?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        socket.set_nodelay(true)?;
        socket.connect(server).await
    }

    /// Opens a socket that sends whole packets (raw(7)).
    pub(super) async fn raw(&self, domain: Domain) -> io::Result<Socket> {
        self.make(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).await
    }

    /// Opens a socket through which the kernel tells of sockets there, and closes them (sock_diag(7)).
    pub(super) async fn diagnostics(&self) -> io::Result<Socket> {
        let protocol = Protocol::from(libc::NETLINK_SOCK_DIAG);
        self.make(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol)).await
    }

    async fn make(&self, domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
        let make = move || {
            let socket = Socket::new(domain, kind, protocol)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        match &self.0 {
            None => make(),
            Some(foreign) => (foreign.make)(Box::new(move || make().map(OwnedFd::from))).await.map(Socket::from),
        }
    }
}
