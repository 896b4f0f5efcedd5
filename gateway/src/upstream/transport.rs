use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tcp_info;

/// A connection to a third party that carries requests.
pub enum Transport {
    /// In the clear.
    Tcp(Metered),
    /// A TLS connection.
    Tls(Box<TlsStream<Metered>>),
}

/// A TCP connection whose [`Line`] is known outside.
///
/// A write that fails is taken for one that succeeded, and reading reports its error: a third party that refuses a large
/// body may have reset the connection while its response waits to be read (RFC 9112 §9.6).
pub struct Metered {
    stream: TcpStream,
    line: Arc<Line>,
    /// Why a write failed, until reading reports it.
    failed: Option<io::Error>,
    /// Whether the end was read.
    ended: bool,
}

/// What is known of a TCP connection while others own it.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Bytes written to the socket.
    written: AtomicU64,
    /// Whether the next reads ask the kernel itself, until it has nothing more.
    probes: AtomicBool,
    /// Whether the layers above have had nothing left to write since the last write, and since somebody wanted to know.
    flushed: AtomicBool,
    /// Round-trip time, when the connection was made.
    pub(super) round_trip: Duration,
}

impl Line {
    /// Bytes written to the socket so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Makes the next reads ask the kernel, which may know of an end, or have bytes, that the runtime does not know of yet.
    pub(super) fn probe(&self) {
        self.probes.store(true, Ordering::Relaxed);
    }

    /// Leaves reading to the runtime again.
    pub(super) fn end_probe(&self) {
        self.probes.store(false, Ordering::Relaxed);
    }

    /// Forgets that all was written. The layers above flush the transport only when they have nothing left to write.
    pub(super) fn expect_flush(&self) {
        self.flushed.store(false, Ordering::Relaxed);
    }

    /// Whether the kernel has been given all that there was to write, since `expect_flush`.
    pub(super) fn is_flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }
}

impl Metered {
    pub(super) fn new(stream: TcpStream) -> Self {
        let round_trip = tcp_info::read(&stream).map_or(Duration::ZERO, |info| info.round_trip);
        Self { stream, line: Arc::new(Line { round_trip, ..Line::default() }), failed: None, ended: false }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
        self.line.expect_flush();
        match written {
            Poll::Ready(Ok(written)) => {
                self.line.written.fetch_add(written as u64, Ordering::Relaxed);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) if !self.ended => {
                self.failed.get_or_insert(error);
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }

    /// Reads what the kernel has, whatever the runtime knows. Bytes on an idle connection may be a matter of TLS alone, as session tickets
    /// are (RFC 8446 §4.6.1): the layers above decide what they mean.
    fn read_now(&self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = SockRef::from(&self.stream);
        let read = match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => return Poll::Ready(Ok(())),
            Ok(_) => (&*socket).read(buffer.initialize_unfilled()),
            Err(error) => Err(error),
        };
        match read {
            Ok(read) => {
                buffer.advance(read);
                // There may be more.
                self.line.probe();
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Transport {
    /// The socket below.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.metered().stream
    }

    /// What is known of the connection below while it is used.
    pub(super) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.metered().line)
    }

    /// Whether HTTP/2 was agreed on.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    fn metered(&self) -> &Metered {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $poll:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $poll,
            Self::Tls($stream) => $poll,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.line.probes.swap(false, Ordering::Relaxed) {
            return self.read_now(buffer);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            self.ended = true;
            // All that the third party said before it reset the connection has been read.
            return Poll::Ready(self.failed.take().map_or(Ok(()), Err));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.line.flushed.store(true, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::task::Waker;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn bytes_that_the_runtime_does_not_know_of_are_read_when_a_connection_is_probed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let mut metered = Metered::new(TcpStream::from_std(socket.into()).unwrap());
        let line = Arc::clone(&metered.line);
        let mut read = || {
            let mut bytes = [0; 4];
            let mut buffer = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut metered).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
            (polled.is_ready(), String::from_utf8_lossy(buffer.filled()).into_owned())
        };
        // The runtime does not run between these.
        assert_eq!(read(), (false, String::new()));
        other.write_all(b"ticket").unwrap();
        assert_eq!(read(), (false, String::new()), "not known yet");
        line.probe();
        assert_eq!(
            (read(), read(), read()),
            ((true, "tick".to_owned()), (true, "et".to_owned()), (false, String::new()))
        );
        drop(other);
        line.probe();
        assert_eq!(read(), (true, String::new()), "the end");
    }
}
