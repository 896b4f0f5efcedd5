//! What holds for requests of any version.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::{Response, StatusCode, Version, header};

use super::buffered::Buffered;
use super::clock::clock;
use super::downstream::Answering;
use super::trailers::Filter;
use crate::flow::Share;
use crate::model::{Reason, Told};
use crate::policy::{Held, Meters};
use crate::telemetry::{RequestRecord, Responses};
use crate::upstream::{Http1, Http2, Leased, has_unknown_coding};

/// The wish of one side to end the connection after a message (RFC 9112 §9.6).
pub(super) const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// RFC 9110 §15.6.4.
pub(super) fn no_room() -> Response<Body> {
    answer(StatusCode::SERVICE_UNAVAILABLE, "egret: buffers_full: this caller's requests take too much memory\n")
}

/// Why a connection with a caller has broken.
pub(super) fn ended(error: &hyper::Error) -> Reason {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    match cause.filter(|cause| cause.is_library()).and_then(h2::Error::reason) {
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Reason::Flood,
        Some(_) => Reason::BadRequest,
        None if error.is_parse() => Reason::BadRequest,
        None => Reason::ClientReset,
    }
}

/// Why there is no answer.
pub(super) type Unanswered = Box<dyn std::error::Error + Send + Sync>;

/// Counts the response to a request of an API when it begins.
pub(super) struct Counted {
    responses: Option<Arc<Responses>>,
    since: Instant,
}

impl Counted {
    /// Returns the count for a request that begins now.
    pub(super) fn new(responses: Option<&Arc<Responses>>) -> Self {
        Self { responses: responses.map(Arc::clone), since: Instant::now() }
    }

    fn begins(self, status: u16) {
        if let Some(responses) = self.responses {
            responses.count(status, self.since.elapsed());
        }
    }
}

/// A request that is watched, if it is.
pub(super) type Record = Option<Box<RequestRecord>>;

/// A response that has begun, counted and on record.
pub(super) fn noted(response: Response<Body>, mut record: Record, counted: Counted) -> Response<Body> {
    counted.begins(response.status().as_u16());
    if let Some(record) = &mut record {
        record.answered(response.status().as_u16());
    }
    response.map(|body| body.recorded(record))
}

/// An answer of our own.
pub(super) fn answer(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Content::Own(Full::new(Bytes::from(text))).into());
    *response.status_mut() = status;
    response
}

/// Whether the sender of this message ends the connection after it (RFC 9112 §9.3).
pub(super) fn closes<B>(response: &Response<B>) -> bool {
    let mut options = response.headers().get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let says = |what: &str, options: &str| options.split(',').any(|option| option.trim().eq_ignore_ascii_case(what));
    match response.version() {
        Version::HTTP_11 => options.any(|value| says("close", value)),
        _ => !options.any(|value| says("keep-alive", value)),
    }
}

/// Removes what is for one connection only (RFC 9110 §7.6.1); whether the next one is asked to change its protocol.
pub(super) fn hop_by_hop(headers: &mut HeaderMap) -> bool {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
    let (mut upgrade, mut trailers) = (false, false);
    if let header::Entry::Occupied(entry) = headers.entry(CONNECTION) {
        let named: Vec<_> = entry
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        entry.remove();
        upgrade = named.contains(&UPGRADE) && headers.contains_key(UPGRADE);
        for name in named.iter().filter(|name| !matches!(**name, TE | UPGRADE | header::HOST)) {
            headers.remove(name);
        }
    }
    if headers.contains_key(TRANSFER_ENCODING) && !has_unknown_coding(headers) {
        // It is framed anew, in one layer, however often that was said.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    if let Some(codings) = headers.remove(TE) {
        trailers = codings.to_str().is_ok_and(|codings| codings.split(',').any(|coding| coding.trim() == "trailers"));
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    match (upgrade, trailers) {
        (true, _) => drop(headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"))),
        (false, true) => drop(headers.insert(CONNECTION, HeaderValue::from_static("TE"))),
        (false, false) => {}
    }
    if !upgrade {
        headers.remove(UPGRADE);
    }
    upgrade
}

/// Joins the fields that a cookie is split into over HTTP/2, for whoever reads it as of HTTP/1.1 (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let header::Entry::Occupied(mut entry) = headers.entry(header::COOKIE) else { return };
    let cookies: Vec<&[u8]> = entry.iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        entry.insert(joined);
    }
}

/// The body of an answer.
pub(super) struct Body {
    content: Content,
    /// What was read of it already, in reverse.
    ahead: Vec<Frame<Bytes>>,
    /// Dropped with the answer.
    _answering: Option<Answering>,
    _held: Option<Box<[Held]>>,
    _record: Option<Box<RequestRecord>>,
    _room: Vec<Arc<Share>>,
    metered: Option<Box<Metered>>,
    /// Where policies ran, which see no trailers: those that pass.
    trailers: Option<Filter>,
}

/// What is watched of it, and where that is told at its end.
struct Metered {
    meters: Meters,
    tell: Option<Tell>,
    /// The room for what the meters keep, and how much of it is taken.
    buffered: Buffered,
    taken: usize,
}

impl Metered {
    fn see(&mut self, data: &[u8]) {
        self.meters.see(data);
        let kept = self.meters.kept();
        if kept > self.taken {
            if self.buffered.take(kept - self.taken).is_err() {
                self.meters.give_up();
            }
            self.taken = kept;
        }
    }
}

/// Puts on record what is known when an answer has ended.
pub(super) type Tell = Box<dyn FnOnce(Vec<Told>) + Send + Sync>;

impl Drop for Metered {
    fn drop(&mut self) {
        let told = self.meters.settle(clock());
        if let Some(tell) = self.tell.take().filter(|_| !told.is_empty()) {
            tell(told);
        }
    }
}

enum Content {
    /// A body of Egret's own.
    Own(Full<Bytes>),
    /// The third party's, as it comes; its connection is left at the end.
    Streamed(Incoming, Option<From>),
}

/// The connection that an answer comes over.
pub(super) enum From {
    Http1(Leased<Box<Http1>>),
    /// By which the third party knows its caller, and where to keep it for the next request.
    Bound(Leased<Box<Http1>>, Keep),
    #[expect(dead_code, reason = "held, not looked at")]
    Http2(Arc<Leased<Http2>>),
}

type Keep = Box<dyn FnOnce(Leased<Box<Http1>>) + Send + Sync>;

/// Hands on a connection by which the third party knows its caller; any other goes back to the pool when it is dropped.
fn keep_bound(mut connection: Leased<Box<Http1>>, keep: Option<Keep>) {
    if let Some(keep) = keep
        && connection.is_idle()
    {
        connection.rests();
        keep(connection);
    }
}

impl From {
    fn drive(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Http1(connection) | Self::Bound(connection, _) => connection.drive(cx),
            Self::Http2(_) => {}
        }
    }

    /// After the response: goes on sending what the third party may still read of the request.
    fn leave(self) {
        let (mut connection, keep) = match self {
            Self::Http1(connection) => (connection, None),
            Self::Bound(connection, keep) => (connection, Some(keep)),
            Self::Http2(_) => return,
        };
        if !connection.is_sending() {
            return keep_bound(connection, keep);
        }
        tokio::spawn(async move {
            connection.sent().await;
            keep_bound(connection, keep);
        });
    }
}

impl Body {
    pub(super) fn streamed(body: Incoming, from: From) -> Self {
        if body.is_end_stream() {
            from.leave();
            return Self::ended(body);
        }
        Content::Streamed(body, Some(from)).into()
    }

    /// Nothing comes of it any more.
    pub(super) fn ended(body: Incoming) -> Self {
        Content::Streamed(body, None).into()
    }

    /// Returns a body that is there as a whole.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Content::Own(Full::new(bytes)).into()
    }

    /// Returns a body that is there as a whole, and its trailers.
    pub(super) fn whole_with(bytes: Bytes, trailers: HeaderMap) -> Self {
        let ahead = vec![Frame::trailers(trailers), Frame::data(bytes)];
        Self { ahead, ..Self::whole(Bytes::new()) }
    }

    /// Reads to the end and returns what there was, and the trailers, unless there is more than this many bytes or
    /// no room: then the body is as it was.
    pub(super) async fn read_ahead(
        &mut self,
        most: usize,
        buffered: &Buffered,
    ) -> hyper::Result<Option<(Bytes, Option<HeaderMap>)>> {
        if self.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Ok(None);
        }
        let (bytes, ended) = self.peek(most, buffered).await?;
        if !ended {
            return Ok(None);
        }
        let last = std::mem::take(&mut self.ahead).into_iter().next();
        Ok(Some((bytes, last.and_then(|frame| frame.into_trailers().ok()))))
    }

    /// Reads to the end, or until there is more than this or no room, and leaves it as it was. Returns what was read, and
    /// whether that is all.
    pub(super) async fn peek(&mut self, most: usize, buffered: &Buffered) -> hyper::Result<(Bytes, bool)> {
        let (mut bytes, mut rest, mut ended) = (BytesMut::new(), Vec::new(), true);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            match frame?.into_data() {
                Ok(mut data) => {
                    let within = data.len().min(most - bytes.len());
                    if buffered.take(within).is_ok() {
                        // Copied: a piece keeps the buffer that it was read into, of which it may be a small part.
                        bytes.extend_from_slice(&data.split_to(within));
                    }
                    if !data.is_empty() {
                        rest.push(Frame::data(data));
                        ended = false;
                        break;
                    }
                }
                Err(trailers) => rest.push(trailers),
            }
        }
        let bytes = bytes.freeze();
        // What was read ahead before, and not yet now, comes after it.
        self.ahead.extend(rest.into_iter().rev());
        if !bytes.is_empty() {
            self.ahead.push(Frame::data(bytes.clone()));
        }
        Ok((bytes, ended))
    }

    /// What policies hold until the answer has ended.
    pub(super) fn holding(self, held: Vec<Held>) -> Self {
        if held.is_empty() { self } else { Self { _held: Some(held.into()), ..self } }
    }

    /// With the room that it takes, until it has ended.
    pub(super) fn taking(mut self, room: Option<Arc<Share>>) -> Self {
        self._room.extend(room);
        self
    }

    /// Watched; what is kept of it for that takes room.
    pub(super) fn metered(self, meters: Meters, tell: Tell, buffered: Buffered) -> Self {
        Self { metered: Some(Box::new(Metered { meters, tell: Some(tell), buffered, taken: 0 })), ..self }
    }

    /// Returns the body without the trailers that do not pass.
    pub(super) fn filtering(self, trailers: Filter) -> Self {
        Self { trailers: Some(trailers), ..self }
    }

    /// Puts its end on record.
    pub(super) fn recorded(self, record: Option<Box<RequestRecord>>) -> Self {
        Self { _record: record, ..self }
    }

    /// With the guard of a request that is being answered.
    pub(super) fn with(self, answering: Option<Answering>) -> Self {
        Self { _answering: answering, ..self }
    }
}

impl std::convert::From<Content> for Body {
    fn from(content: Content) -> Self {
        Self {
            content,
            ahead: Vec::new(),
            _answering: None,
            _held: None,
            _record: None,
            _room: Vec::new(),
            metered: None,
            trailers: None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut frame = this.next(cx);
        if let (Some(filter), Poll::Ready(Some(Ok(found)))) = (&this.trailers, &mut frame)
            && let Some(trailers) = found.trailers_mut()
        {
            filter.apply(trailers);
        }
        if let (Some(metered), Poll::Ready(Some(Ok(frame)))) = (&mut this.metered, &frame)
            && let Some(data) = frame.data_ref()
        {
            metered.see(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        if !self.ahead.is_empty() {
            return false;
        }
        match &self.content {
            Content::Own(text) => text.is_end_stream(),
            Content::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if !self.ahead.is_empty() {
            return SizeHint::default();
        }
        match &self.content {
            Content::Own(text) => text.size_hint(),
            Content::Streamed(body, _) => body.size_hint(),
        }
    }
}

impl Body {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(frame) = self.ahead.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let (body, from) = match &mut self.content {
            Content::Own(text) => return Pin::new(text).poll_frame(cx).map_err(|never| match never {}),
            Content::Streamed(body, from) => (body, from),
        };
        let mut frame = Pin::new(&mut *body).poll_frame(cx);
        if frame.is_pending()
            && let Some(from) = from
        {
            from.drive(cx);
            frame = Pin::new(&mut *body).poll_frame(cx);
        }
        if (matches!(frame, Poll::Ready(None | Some(Err(_)))) || body.is_end_stream())
            && let Some(from) = from.take()
        {
            from.leave();
        }
        frame
    }
}
