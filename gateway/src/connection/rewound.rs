use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A stream some of whose bytes were read before, and are read again.
pub(super) struct Rewound<S> {
    again: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { again: Bytes::new(), stream }
    }

    /// Returns the stream below.
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Whether there are bytes to read again.
    pub(super) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    /// Makes these bytes the next that are read.
    pub(super) fn rewind(&mut self, read: Bytes) {
        if self.again.is_empty() {
            self.again = read;
        } else if !read.is_empty() {
            self.again = [read, std::mem::take(&mut self.again)].concat().into();
        }
    }
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Waits for bytes without a buffer; returns whether there are any, or the end has come.
    pub(super) async fn hears(&mut self) -> bool {
        let mut first = [0; 16];
        if self.again.is_empty() {
            let read = self.stream.read(&mut first).await.unwrap_or(0);
            self.again = Bytes::copy_from_slice(&first[..read]);
        }
        !self.again.is_empty()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.again.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let taken = self.again.len().min(buffer.remaining());
        buffer.put_slice(&self.again[..taken]);
        self.again.advance(taken);
        if self.again.is_empty() {
            self.again = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
