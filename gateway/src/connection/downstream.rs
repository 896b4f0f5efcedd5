use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::telemetry::Bytes;

/// A caller's connection: what has been read of it already is read again, its bytes are counted, and it can be reset,
/// whatever is spoken over it.
pub(super) struct Downstream {
    prefix: Vec<u8>,
    /// How much of the prefix was read again.
    read: usize,
    stream: TcpStream,
    bytes: Arc<Bytes>,
    broken: Broken,
}

/// Whether a connection ends with a reset.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(Arc<AtomicBool>);

impl Broken {
    /// From now on.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Downstream {
    pub(super) fn new(prefix: Vec<u8>, stream: TcpStream, bytes: Arc<Bytes>) -> Self {
        bytes.sent.fetch_add(prefix.len() as u64, Ordering::Relaxed);
        Self { prefix, read: 0, stream, bytes, broken: Broken::default() }
    }

    pub(super) fn broken(&self) -> Broken {
        self.broken.clone()
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = &written {
            self.bytes.received.fetch_add(*written as u64, Ordering::Relaxed);
        }
        written
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        if self.broken.0.load(Ordering::Relaxed) {
            super::reset(&self.stream);
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &self.prefix[self.read..];
        if left.is_empty() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            self.bytes.sent.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
            return read;
        }
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..taken]);
        self.read += taken;
        if self.read == self.prefix.len() {
            (self.prefix, self.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
