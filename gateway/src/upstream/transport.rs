use std::io::{self, IoSlice};
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
    /// Whether the next read only looks whether the kernel has something to read.
    probes: AtomicBool,
    /// Whether it had.
    heard: AtomicBool,
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

    /// Makes the next read ask the kernel, which may know of an end that the runtime does not know of yet.
    pub(super) fn probe(&self) {
        self.heard.store(false, Ordering::Relaxed);
        self.probes.store(true, Ordering::Relaxed);
    }

    /// Forgets that all was written. The layers above flush the transport only when they have nothing left to write.
    pub(super) fn expect_flush(&self) {
        self.flushed.store(false, Ordering::Relaxed);
    }

    /// Whether the kernel has been given all that there was to write, since `expect_flush`.
    pub(super) fn is_flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    /// Whether the kernel had bytes to read then.
    pub(super) fn has_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
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

    /// Asks the kernel: nothing, an end or an error, or bytes.
    fn look(&self) -> Poll<io::Result<()>> {
        match SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Poll::Ready(Ok(())),
            Ok(_) => {
                self.line.heard.store(true, Ordering::Relaxed);
                Poll::Pending
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
            return self.look();
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
