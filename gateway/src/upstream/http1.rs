use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;

use super::request::{Outgoing, Unanswered, copy};
use super::tcp_info;
use super::transport::Transport;
use super::{MAX_BUFFER, MAX_FIELDS};
use crate::model::Reason;

/// One request at a time. It moves only while its user polls it: no task of its own, no hand-over between tasks.
pub struct Http1 {
    sender: SendRequest<Outgoing>,
    wire: Wire,
    /// Bytes written to its socket.
    written: Arc<AtomicU64>,
    /// Whether a request went over it already.
    used: bool,
    /// Whether the third party knows its user by it.
    bound: bool,
}

#[expect(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Wire {
    Live(Connection<TokioIo<Transport>, Outgoing>),
    /// It speaks HTTP no more; what was read of something else is here.
    Ended(Transport, Bytes),
    Gone,
}

impl Http1 {
    pub(super) async fn new(transport: Transport) -> Result<Self, Reason> {
        let written = transport.written();
        let (sender, connection) = Builder::new()
            .preserve_header_case(true)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(transport))
            .await
            .map_err(|_| Reason::UpstreamReset)?;
        Ok(Self { sender, wire: Wire::Live(connection), written, used: false, bound: false })
    }

    /// Sends a request; the answer has begun then.
    pub async fn send(&mut self, mut request: Request<Outgoing>) -> Result<Response<Incoming>, Unanswered> {
        *request.version_mut() = Version::HTTP_11;
        // Only a connection that was idle can have ended unnoticed.
        let again = if mem::replace(&mut self.used, true) { copy(&request) } else { None };
        let before = self.written.load(Ordering::Relaxed);
        self.bound |= binds(request.headers(), AUTHORIZATION);
        let mut answer = pin!(self.sender.try_send_request(request));
        let wire = &mut self.wire;
        let answered = poll_fn(|cx| {
            wire.drive(cx);
            answer.as_mut().poll(cx)
        });
        let answered = answered.await;
        self.bound |= answered.as_ref().is_ok_and(|response| binds(response.headers(), WWW_AUTHENTICATE));
        answered.map_err(|mut error| {
            let unread = || ended_in_order(error.error()) && !self.wire.has_reached(before);
            // A safe method asks for nothing to be done (RFC 9110 §9.2.1): clients repeat it on connections of their own.
            let again = again.filter(|request| request.method().is_safe() || unread());
            let unsent = error.take_message().or(again);
            tracing::debug!(error = %error.error(), again = unsent.is_some(), "no answer to a request");
            Unanswered { unsent: unsent.map(Box::new), error: error.into_error().into() }
        })
    }

    /// Whether a request went over it already: it may have ended unnoticed since.
    pub fn was_used(&self) -> bool {
        self.used
    }

    /// Whether nobody else's requests may go over it: the third party knows, or will know, its user by it.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Lets bodies move, both ways.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        self.wire.drive(cx);
    }

    /// Whether it can take a request. It wakes nobody from now on.
    pub fn is_idle(&mut self) -> bool {
        self.wire.drive(&mut Context::from_waker(Waker::noop()));
        matches!(self.wire, Wire::Live(_)) && self.sender.is_ready()
    }

    /// The connection after an answer that changes its protocol, and what was read of the new one.
    pub async fn upgraded(&mut self) -> Option<(Transport, Bytes)> {
        poll_fn(|cx| {
            self.wire.drive(cx);
            if matches!(self.wire, Wire::Live(_)) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        match mem::replace(&mut self.wire, Wire::Gone) {
            Wire::Ended(transport, read) => Some((transport, read)),
            Wire::Gone | Wire::Live(_) => None,
        }
    }

    /// Ends it in order, as far as that takes no waiting.
    pub(super) fn end(&mut self) {
        if let Wire::Live(connection) = mem::replace(&mut self.wire, Wire::Gone) {
            let mut transport = connection.into_parts().io.into_inner();
            let _ = Pin::new(&mut transport).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Wire {
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Self::Live(connection) = self else { return };
        if connection.poll_without_shutdown(cx).is_ready()
            && let Self::Live(connection) = mem::replace(self, Self::Gone)
        {
            let parts = connection.into_parts();
            *self = Self::Ended(parts.io.into_inner(), parts.read_buf);
        }
    }

    /// Whether the third party's kernel has acknowledged more than these bytes of what was written, as far as is known.
    fn has_reached(&self, bytes: u64) -> bool {
        let Self::Ended(transport, _) = self else { return true };
        tcp_info::acknowledged(transport.socket()).map_or(true, |acknowledged| acknowledged > bytes)
    }
}

/// Whether credentials, or a wish for them, are for the connection (RFC 4559; NTLM).
fn binds(headers: &HeaderMap, name: HeaderName) -> bool {
    let scheme = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"NTLM") || scheme.eq_ignore_ascii_case(b"Negotiate")
    };
    headers.get_all(name).iter().any(scheme)
}

/// The third party ended the connection by itself: its FIN came, which acknowledges all that it had until then. A reset
/// alone says nothing about what it had. After a FIN, Linux calls it EPIPE (`tcp_reset`).
fn ended_in_order(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    // The former: TLS without a farewell.
    let cut =
        cause.is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe));
    error.is_incomplete_message() || cut
}
