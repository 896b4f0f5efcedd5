//! To the third party, always from the egress IP. Nothing else in Egret dials.

pub mod descriptors;
mod dialer;
mod http1;
mod http2;
mod idle_limit;
mod own;
mod pace;
mod pool;
mod race;
mod redis;
mod replay;
mod request;
mod tcp_info;
mod tls;
mod transport;
mod tunnel;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::model::{Exempt, Reason};
use crate::permit::{Target, Tunnel};

pub use self::redis::Redis;
pub use dialer::Dialer;
use dialer::PATIENCE;
pub use http1::Http1;
pub use http2::Http2;
pub use own::Own;
pub use pool::{Key, Lease, Leased, Path, Pool, PoolEntry};
pub use request::{Held, Outgoing, Reuse, SendError, Upload, has_blank_edges, has_unknown_coding, outgoing};
pub use transport::Transport;

/// Bytes of the header of a message of HTTP/2, as it counts them (RFC 9113 §6.5.2).
pub const MAX_HEADER_BYTES: u32 = 64 << 10;

/// The flow-control windows of an HTTP/2 connection: how many bytes a peer may be ahead of a slow reader, which Egret then holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// For bulk over long ways.
    Wide,
    /// Where the windows of an owner's other connections use up its room.
    Narrow,
}

impl Windows {
    /// Most bytes that a connection with wide windows and its counterpart make Egret hold.
    pub const ROOM: u64 = 2 * Self::Wide.connection() as u64;

    /// Returns the window of a stream, in bytes.
    pub const fn stream(self) -> u32 {
        match self {
            Self::Wide => 1 << 20,
            Self::Narrow => 64 << 10,
        }
    }

    /// Returns the window of a connection, in bytes.
    pub const fn connection(self) -> u32 {
        match self {
            Self::Wide => 2 << 20,
            Self::Narrow => 128 << 10,
        }
    }
}

/// Bytes of HTTP/1.1 that a connection reads ahead, and that wait to be written to a slow reader; a head is no longer.
pub const MAX_BUFFER: usize = 64 << 10;

/// A connection to a third party.
#[derive(Debug)]
pub struct Upstream {
    /// The established connection.
    pub stream: TcpStream,
    /// The egress address and port.
    pub local: SocketAddr,
    /// The third party's address, or that of the proxy on the way to it.
    pub remote: SocketAddr,
}

async fn open(target: &Target, tunnel: Option<&Tunnel>, exempt: &Exempt) -> Result<Upstream, Reason> {
    let Some(tunnel) = tunnel else { return dial(target, exempt).await };
    let mut upstream = dial(target, exempt).await.map_err(|reason| match reason {
        Reason::UpstreamRefused | Reason::UpstreamReset | Reason::UpstreamTimeout | Reason::UpstreamUnreachable => {
            Reason::ProxyUnreachable
        }
        here => here,
    })?;
    tunnel::open(&mut upstream.stream, tunnel).await?;
    Ok(upstream)
}

async fn dial(target: &Target, exempt: &Exempt) -> Result<Upstream, Reason> {
    let failed = |step: &'static str, reason: fn(&io::Error) -> Reason| {
        move |error: io::Error| {
            tracing::debug!(destination = %target.destination, step, %error, "an address of the third party failed");
            reason(&error)
        }
    };
    let socket = socket(target, exempt).map_err(failed("socket", no_socket))?;
    if !descriptors::has_room(&socket) {
        return Err(Reason::DescriptorsExhausted);
    }
    if let Some(source) = target.source {
        bind(&socket, source).map_err(failed("bind", |_| Reason::EgressAddressGone))?;
    }
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(target.destination);
    let stream = connecting.await.map_err(failed("connect", refusal))?;
    let local = stream.local_addr().map_err(failed("getsockname", refusal))?;
    Ok(Upstream { local, remote: target.destination, stream })
}

fn socket(target: &Target, exempt: &Exempt) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(target.destination),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // Before anything else: an own connection that was captured would come back to us.
    exempt(socket.as_fd())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    Ok(socket)
}

/// The port is chosen at `connect`, per destination (`IP_BIND_ADDRESS_NO_PORT`, ip(7)): 28,000 of them for each
/// third party, not for all together.
fn bind(socket: &Socket, source: IpAddr) -> io::Result<()> {
    nix::sys::socket::setsockopt(
        &SockRef::from(socket).as_fd(),
        nix::sys::socket::sockopt::IpBindAddressNoPort,
        &true,
    )?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// What socket(2) says.
fn no_socket(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => Reason::DescriptorsExhausted,
        _ => Reason::UpstreamUnreachable,
    }
}

/// What connect(2) says.
fn refusal(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        // The address is bound already: what is not available is a port.
        Some(libc::EADDRNOTAVAIL) => Reason::PortsExhausted,
        Some(libc::ECONNREFUSED) => Reason::UpstreamRefused,
        Some(libc::ECONNRESET) => Reason::UpstreamReset,
        Some(libc::ETIMEDOUT) => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    }
}
