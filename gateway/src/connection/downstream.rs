use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::rewound::Rewound;
use crate::model::Reason;
use crate::telemetry::Bytes;
use crate::upstream::Upload;

/// A caller's connection: bytes that were read to detect its protocol are read again, its bytes are counted, and it can be
/// reset whatever protocol it carries.
pub(super) struct Downstream {
    stream: Rewound<TcpStream>,
    bytes: Arc<Bytes>,
    handle: Handle,
}

/// The state of a caller's connection, shared by all layers of its protocol.
#[derive(Clone, Debug, Default)]
pub(super) struct Handle(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    broken: AtomicBool,
    /// Why Egret ends the connection, if it does.
    reason: Mutex<Option<Reason>>,
    heard: AtomicBool,
    answering: AtomicBool,
    /// Whether a part of the last response may not have been written yet.
    unflushed: AtomicBool,
    /// How many requests there were.
    requests: AtomicU64,
    /// How far the body of the request has got.
    upload: Arc<Upload>,
}

impl Handle {
    /// Ends the connection with a reset.
    pub(super) fn reset(&self) {
        self.0.broken.store(true, Ordering::Relaxed);
    }

    /// Notes why Egret ends the connection.
    pub(super) fn ends_for(&self, reason: Reason) {
        *self.0.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Why Egret ends the connection, if it does.
    pub(super) fn reason(&self) -> Option<Reason> {
        *self.0.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection ends with a reset.
    pub(super) fn is_reset(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Notes that bytes came, which are the beginning of a request unless they belong to the body of one.
    pub(super) fn hears(&self) {
        if !self.0.upload.is_coming() {
            self.0.heard.store(true, Ordering::Relaxed);
        }
    }

    /// How far the body of the request has got.
    pub(super) fn upload(&self) -> &Arc<Upload> {
        &self.0.upload
    }

    /// Whether a request has begun to come, and has not come to the end of its head.
    pub(super) fn is_in_head(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed) && !self.0.answering.load(Ordering::Relaxed)
    }

    fn is_answering(&self) -> bool {
        self.0.answering.load(Ordering::Relaxed)
    }

    /// Returns the number of requests so far, while nothing comes or goes.
    pub(super) fn rests(&self) -> Option<u64> {
        let Facts { answering, unflushed, heard, upload, .. } = &*self.0;
        let goes = answering.load(Ordering::Relaxed) || unflushed.load(Ordering::Relaxed);
        let rests = !goes && !heard.load(Ordering::Relaxed) && !upload.is_coming();
        rests.then(|| self.requests())
    }

    /// Notes that a request has come, one of many at once.
    pub(super) fn is_asked(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Notes that a request has come; until the returned guard is dropped, what comes belongs to it.
    pub(super) fn answering(&self) -> Answering {
        self.0.answering.store(true, Ordering::Relaxed);
        self.is_asked();
        Answering(self.clone())
    }
}

/// A guard for a request that is being answered.
#[derive(Debug)]
pub(super) struct Answering(Handle);

impl Drop for Answering {
    fn drop(&mut self) {
        let Facts { answering, unflushed, heard, .. } = &*self.0.0;
        // The body has ended for its source. Its last bytes may still wait for a caller that reads slowly.
        unflushed.store(true, Ordering::Relaxed);
        heard.store(false, Ordering::Relaxed);
        answering.store(false, Ordering::Relaxed);
    }
}

impl Downstream {
    pub(super) fn new(prefix: Vec<u8>, stream: TcpStream, bytes: Arc<Bytes>) -> Self {
        let mut stream = Rewound::new(stream);
        stream.rewind(prefix.into());
        Self { stream, bytes, handle: Handle::default() }
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
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
        if self.handle.0.broken.load(Ordering::Relaxed) {
            super::reset(self.stream.get_ref());
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.bytes.sent.fetch_add(came as u64, Ordering::Relaxed);
            self.handle.hears();
        }
        read
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
        // While a response is awaited nothing is read, and a reset by the caller would not be noticed. A caller that ends in
        // order may still be listening.
        let stream = self.stream.get_ref();
        if self.handle.is_answering()
            && stream.poll_read_ready(cx).is_ready()
            && let Some(error) = stream.take_error()?
        {
            return Poll::Ready(Err(error));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // The layers above flush this one only when they have nothing left to write.
        if flushed.is_ready() {
            self.handle.0.unflushed.store(false, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
