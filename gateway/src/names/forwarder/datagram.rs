//! Datagrams are received into one buffer of each thread: a socket that waits holds none.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrStorage, recv, recvfrom};
use tokio::net::UdpSocket;

/// The largest datagram, in bytes.
const LARGEST: usize = 65_535;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into());
}

/// Receives what has come to a connected socket.
pub(super) fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?;
        Ok(buffer[..length].to_vec())
    })
}

/// Receives what has come to a socket, and its sender.
pub(super) fn receive_from(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    BUFFER.with_borrow_mut(|buffer| {
        let (length, sender) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), buffer)?;
        let sender = sender.as_ref().and_then(address).ok_or(io::ErrorKind::InvalidData)?;
        Ok((buffer[..length].to_vec(), sender))
    })
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}
