use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::net::TcpStream;

/// What the kernel knows of a TCP connection (tcp(7), `TCP_INFO`).
pub(super) struct TcpInfo {
    /// Bytes that the other side's kernel has acknowledged, without the handshake.
    pub(super) acknowledged: u64,
    /// Smoothed round-trip time.
    pub(super) round_trip: Duration,
    /// Time since the last acknowledgement came, and with it the last segment that was not lost.
    pub(super) silence: Duration,
}

/// Asks the kernel.
pub(super) fn read(socket: &TcpStream) -> io::Result<TcpInfo> {
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
    Ok(TcpInfo {
        // The SYN counts as one.
        acknowledged: info.tcpi_bytes_acked.saturating_sub(1),
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
        silence: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}
