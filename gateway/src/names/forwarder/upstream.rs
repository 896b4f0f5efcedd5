//! Asks the server that the caller asked, over a socket of its own for each query: the source port is as random as the caller's.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::{Counts, Query, add, message};
use crate::model::Exempt;

/// The largest datagram.
const LARGEST: usize = 65_535;

/// Sends a query and returns the first response to it. What does not respond to it is counted and dropped.
pub(super) async fn ask(query: &Query<'_>, exempt: &Exempt, counts: &Counts) -> io::Result<Vec<u8>> {
    let any = if query.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
    exempt(socket.as_fd())?;
    socket.set_nonblocking(true)?;
    socket.connect(query.server)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.send(query.bytes).await?;
    loop {
        socket.readable().await?;
        // Only now: a query that waits holds no buffer.
        let mut response = Vec::with_capacity(LARGEST);
        match socket.try_recv_buf(&mut response) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            received => received?,
        };
        response.shrink_to_fit();
        if message::responds(query.bytes, &response) {
            return Ok(response);
        }
        add(&counts.mismatched);
    }
}

/// Connects to a server over TCP.
pub(super) async fn connect(server: SocketAddr, exempt: &Exempt) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    exempt(socket.as_fd())?;
    socket.set_nodelay(true)?;
    socket.connect(server).await
}
