//! To the third party, always from the egress IP. Nothing else in Egret dials.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::model::{Exempt, Reason};
use crate::policy::{Permit, Target};

/// Longest wait for the third party, over all its addresses.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait for one address while others are left.
const PATIENCE_EACH: Duration = Duration::from_secs(3);

/// A connection to a third party.
#[derive(Debug)]
pub struct Upstream {
    /// The connection.
    pub stream: TcpStream,
    /// The egress address and port.
    pub local: SocketAddr,
    /// The third party's address.
    pub remote: SocketAddr,
}

/// Dials what the permit names, in its order, until one answers.
///
/// # Errors
/// The reason of the last address tried.
pub async fn connect(permit: &Permit, exempt: &Exempt) -> Result<Upstream, Reason> {
    let end = Instant::now() + PATIENCE;
    let mut refusal = Reason::UpstreamUnreachable;
    for (index, target) in permit.targets().iter().enumerate() {
        let last = index + 1 == permit.targets().len();
        let limit = if last { end } else { end.min(Instant::now() + PATIENCE_EACH) };
        match timeout_at(limit, dial(target, exempt)).await {
            Ok(Ok(upstream)) => return Ok(upstream),
            Ok(Err(error)) => {
                tracing::debug!(destination = %target.destination, %error, "an address of the third party failed");
                refusal = reason(&error);
            }
            Err(_) => refusal = Reason::UpstreamTimeout,
        }
    }
    Err(refusal)
}

async fn dial(target: &Target, exempt: &Exempt) -> io::Result<Upstream> {
    let socket = Socket::new(
        Domain::for_address(target.destination),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // Before anything else: an own connection that was captured would come back to us.
    exempt(socket.as_fd())?;
    if let Some(source) = target.source {
        bind(&socket, source)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(target.destination).await?;
    Ok(Upstream { local: stream.local_addr()?, remote: target.destination, stream })
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

fn reason(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Reason::UpstreamRefused,
        Some(libc::ECONNRESET) => Reason::UpstreamReset,
        Some(libc::ETIMEDOUT) => Reason::UpstreamTimeout,
        Some(libc::EADDRNOTAVAIL) if error.to_string().is_empty() => Reason::EgressAddressGone,
        Some(libc::EADDRNOTAVAIL) => Reason::PortsExhausted,
        _ => Reason::UpstreamUnreachable,
    }
}
