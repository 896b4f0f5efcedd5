use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::pace::{self, Pace};
use super::replay::Again;
use super::request::{Held, Outgoing, SendError, has_unknown_coding};
use super::transport::{Line, Transport};
use super::{MAX_BUFFER, idle_limit, tcp_info};
use crate::model::Reason;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A connection that carries one request at a time. It moves only while its user polls it: no task of its own, no
/// hand-over between tasks.
pub struct Http1 {
    sender: SendRequest<Outgoing>,
    wire: Wire,
    line: Arc<Line>,
    /// Whether a request went over it already.
    used: bool,
    /// Whether the third party knows its user by it.
    bound: bool,
    /// Whether the request has a body.
    sends: bool,
    /// What the body holds: it may be here for longer than where it came from, until the third party reads it.
    held: Option<Held>,
    /// How long the third party keeps it idle, as it said.
    announced: Option<Duration>,
}

#[expect(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Wire {
    Live(Connection<TokioIo<Transport>, Outgoing>),
    /// No HTTP any more, and what was read of something else.
    Ended(Transport, Bytes),
    Gone,
}

impl Http1 {
    pub(super) async fn new(transport: Transport) -> Result<Self, Reason> {
        let line = transport.line();
        let (sender, connection) = Builder::new()
            .preserve_header_case(true)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(transport))
            .await
            .map_err(|_| Reason::UpstreamReset)?;
        let wire = Wire::Live(connection);
        Ok(Self { sender, wire, line, used: false, bound: false, sends: false, held: None, announced: None })
    }

    /// Sends a request and returns its response, whose body is still to come. `may_be_dead` says that the third party may
    /// have closed the connection unnoticed, so that a failure may be the connection's and not the request's.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Outgoing>,
        may_be_dead: bool,
    ) -> Result<Response<Incoming>, SendError> {
        *request.version_mut() = Version::HTTP_11;
        self.used = true;
        self.sends = !request.body().is_end_stream();
        let again = may_be_dead.then(|| Again::of(&mut request));
        let request = request.map(|body| match body {
            Outgoing::Holding(body, held) => {
                self.held = Some(held);
                *body
            }
            body => body,
        });
        let before = self.line.written();
        self.bound |= binds(request.headers(), AUTHORIZATION);
        let mut response = pin!(self.sender.try_send_request(request));
        let wire = &mut self.wire;
        let sent = poll_fn(|cx| {
            wire.drive(cx);
            response.as_mut().poll(cx)
        });
        match sent.await {
            // Nobody has asked for it: `TE` is for one connection only.
            Ok(response) if has_unknown_coding(response.headers()) => {
                Err(SendError { again: None, cause: Reason::UpstreamReset.into() })
            }
            Ok(response) => {
                self.bound |= binds(response.headers(), WWW_AUTHENTICATE);
                let announcement = response.headers().get(KEEP_ALIVE).and_then(|value| value.to_str().ok());
                self.announced = announcement.and_then(idle_limit::announced);
                Ok(response)
            }
            Err(mut error) => {
                let unread = || ended_in_order(error.error()) && !self.wire.has_reached(before);
                // RFC 9110 §9.2.2: only an idempotent request is repeated that may have been processed.
                let again = again.filter(|again| again.is_idempotent() || unread()).and_then(Again::request);
                let again = error.take_message().filter(|_| may_be_dead).or(again);
                tracing::debug!(error = %error.error(), again = again.is_some(), "a request got no response");
                Err(SendError { again: again.map(Box::new), cause: error.into_error().into() })
            }
        }
    }

    /// Whether a request went over it already.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }

    /// Whether nobody else's requests may go over it: the third party knows, or will know, its user by it.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether the third party keeps it open, as far as the kernel knows. It wakes nobody from now on.
    pub(super) fn is_open(&mut self) -> bool {
        self.line.probe();
        let is_open = self.is_idle();
        self.line.end_probe();
        is_open
    }

    /// How long the third party keeps it idle, as it said, and the round-trip time.
    pub(super) fn timing(&self) -> (Option<Duration>, Duration) {
        (self.announced, self.line.round_trip)
    }

    /// For how long the third party has been silent, if it has ended the connection.
    pub(super) fn silence(&self) -> Option<Duration> {
        let Wire::Ended(transport, _) = &self.wire else { return None };
        tcp_info::read(transport.socket()).ok().map(|info| info.silence)
    }

    /// Whether the request is still being sent, after its response has ended.
    pub fn is_sending(&mut self) -> bool {
        self.sends && !self.is_idle() && matches!(self.wire, Wire::Live(_))
    }

    /// Sends the rest of a request whose response has ended: the third party may read on (RFC 9112 §9.3). It gives up when
    /// too little moves.
    pub async fn sent(&mut self) {
        let line = Arc::clone(&self.line);
        let mut pace = Pace::new(line.written());
        let mut all = poll_fn(|cx| {
            let is_sending = !self.is_ready(cx) && matches!(self.wire, Wire::Live(_));
            if is_sending { Poll::Pending } else { Poll::Ready(()) }
        });
        while timeout(pace::WHILE, &mut all).await.is_err() {
            if pace.is_slow(line.written()) {
                return;
            }
        }
    }

    /// Lets bodies move, both ways.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        self.wire.drive(cx);
    }

    /// Whether it can take a request. It wakes nobody from now on.
    pub fn is_idle(&mut self) -> bool {
        self.is_ready(&mut Context::from_waker(Waker::noop())) && matches!(self.wire, Wire::Live(_))
    }

    /// Lets bodies move, and returns whether nothing is left of the last request and its response. A request that is encoded may
    /// still be here in large part, if the third party reads slowly.
    fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.line.expect_flush();
        self.wire.drive(cx);
        let is_ready = self.sender.is_ready() && self.line.is_flushed();
        if is_ready {
            self.held = None;
        }
        is_ready
    }

    /// Returns the connection after a response that changes its protocol, and what was read of the new one.
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

    /// Ends the connection in order, as far as that takes no waiting.
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
        tcp_info::read(transport.socket()).map_or(true, |info| info.acknowledged > bytes)
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
