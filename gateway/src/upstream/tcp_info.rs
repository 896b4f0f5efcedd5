use std::io;
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// Bytes that the other side's kernel has acknowledged, its own of the handshake not counted (tcp(7), `TCP_INFO`).
pub(super) fn acknowledged(socket: &TcpStream) -> io::Result<u64> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, and all-zero bytes are a tcp_info.
    let info = unsafe {
        let result = libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        info.assume_init()
    };
    // The SYN counts as one.
    Ok(info.tcpi_bytes_acked.saturating_sub(1))
}
