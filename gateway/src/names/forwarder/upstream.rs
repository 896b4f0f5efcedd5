//! Asks the server that the caller asked, over a socket of its own for each query: the source port is as random as the caller's.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Counts, Query, add, message};
use crate::model::Exempt;
use crate::names::exempt;

/// The largest datagram.
const LARGEST: usize = 65_535;

/// Sends a query and returns the first response to it. What does not respond to it is counted and dropped.
pub(super) async fn ask(query: &Query<'_>, exempt: &Exempt, counts: &Counts) -> io::Result<Vec<u8>> {
    let any = if query.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = exempt::udp(SocketAddr::new(any, 0), exempt)?;
    socket.connect(query.server).await?;
    socket.send(query.bytes).await?;
    loop {
        // A port where no server is makes an error and nothing to read (ICMP, udp(7)).
        let response = socket.async_io(Interest::READABLE | Interest::ERROR, || receive(&socket)).await?;
        if message::responds(query.bytes, &response) {
            return Ok(response);
        }
        add(&counts.mismatched);
    }
}

/// Receives a datagram. The buffer is made only now: a query that waits holds none.
fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut response = vec![0; LARGEST];
    let length = recv(socket.as_raw_fd(), &mut response, MsgFlags::empty())?;
    response.truncate(length);
    response.shrink_to_fit();
    Ok(response)
}
