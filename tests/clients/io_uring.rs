//! A client that connects, asks and reads through io_uring: no connect(2), send(2) or recv(2) of its own.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types::Fd};
use socket2::{Domain, SockAddr, Socket, Type};

fn main() {
    let to: SocketAddr = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("ADDRESS:PORT");
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    let mut ring = IoUring::new(4).expect("io_uring: this kernel refuses it (see kernel.io_uring_disabled)");
    let address = SockAddr::from(to);
    let fd = Fd(socket.as_raw_fd());
    run(&mut ring, &opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build());
    let mut buffer = [0u8; 100];
    let length = u32::try_from(buffer.len()).expect("a small number");
    let read = run(&mut ring, &opcode::Recv::new(fd, buffer.as_mut_ptr(), length).build());
    let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket()).expect("a peer");
    println!("{peer} {}", String::from_utf8_lossy(&buffer[..read]).trim());
}

/// Submits one operation and waits for its result.
fn run(ring: &mut IoUring, operation: &squeue::Entry) -> usize {
    // SAFETY: what the operation points to outlives it: it has ended when this returns.
    unsafe { ring.submission().push(operation).expect("room in the ring") };
    ring.submit_and_wait(1).expect("io_uring_enter");
    let result = ring.completion().next().expect("a completion").result();
    usize::try_from(result).unwrap_or_else(|_| panic!("{}", std::io::Error::from_raw_os_error(-result)))
}
