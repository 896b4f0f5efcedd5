use std::any::Any;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::ext::on_informational;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::replay::{Copied, is_idempotent, is_small};

/// The body of a request to a third party.
#[derive(Debug)]
pub enum Outgoing {
    /// There is no body.
    Empty,
    /// From the caller.
    Streamed(Streamed),
    /// There as a whole: policies have read it, or made it.
    Whole(Full<Bytes>),
    /// A body whose bytes are counted as they pass.
    Counted(Box<Outgoing>, Arc<AtomicU64>),
    /// The same, and its trailers are dropped: policies have not seen them.
    WithoutTrailers(Box<Outgoing>),
    /// From a caller that waits until it is told to go on.
    Expected(Box<Expected>),
    /// Any of these, copied for a second attempt as it is sent.
    Copied(Copied),
    /// Any of these, and what is held until it has ended, which may be after its response.
    Holding(Box<Outgoing>, Held),
}

/// What a body holds until it has ended.
pub type Held = Arc<dyn Any + Send + Sync>;

/// A caller's body as it comes.
#[derive(Debug)]
pub struct Streamed {
    body: Incoming,
    /// Where it is known how far it has got; over HTTP/2 nobody needs to know.
    upload: Option<Arc<Upload>>,
}

/// How far the body of a caller's request has got: one for each HTTP/1.1 connection, whose requests come one by one.
#[derive(Debug, Default)]
pub struct Upload(AtomicU8);

/// There is no body, or it has been read to its end.
const COMPLETE: u8 = 0;
/// The caller waits until it is told to send it.
const EXPECTED: u8 = 1;
/// It is being read.
const COMING: u8 = 2;
/// Nobody reads the rest, which is short.
const CUT_SHORT: u8 = 3;
/// Nobody reads the rest, which is long, or of unknown length.
const CUT: u8 = 4;

/// A rest of a body is short if a server that does not want it had better read it than end the connection.
const SHORT: u64 = 64 << 10;

impl Upload {
    /// Whether what comes over the connection belongs to the body.
    pub fn is_coming(&self) -> bool {
        [EXPECTED, COMING].contains(&self.0.load(Ordering::Relaxed))
    }

    /// Whether somebody has stopped to read it before its end.
    pub fn is_cut(&self) -> bool {
        [CUT_SHORT, CUT].contains(&self.0.load(Ordering::Relaxed))
    }

    /// Whether a response that is sent now had better say that the connection ends: a caller that is told of a refusal
    /// before it sends the body may or may not send it then, and the rest of a long one is not read.
    pub fn ends_connection(&self) -> bool {
        [EXPECTED, CUT].contains(&self.0.load(Ordering::Relaxed))
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let state = match frame {
            Some(Err(_)) => CUT,
            None => COMPLETE,
            Some(Ok(_)) if self.body.is_end_stream() => COMPLETE,
            Some(Ok(_)) => return Poll::Ready(frame),
        };
        self.becomes(state);
        Poll::Ready(frame)
    }

    /// The last that is said of this body, or that it is being read.
    fn becomes(&mut self, state: u8) {
        let upload = if state == COMING { self.upload.clone() } else { self.upload.take() };
        if let Some(upload) = upload {
            upload.0.store(state, Ordering::Relaxed);
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let is_short = self.body.size_hint().upper().is_some_and(|rest| rest <= SHORT);
        let is_awaited = |upload: &Arc<Upload>| upload.0.load(Ordering::Relaxed) == COMING;
        let comes = self.upload.as_ref().is_some_and(is_awaited);
        self.becomes(if is_short && comes { CUT_SHORT } else { CUT });
    }
}

/// A body that nobody asks the caller for until the third party does (RFC 9110 §10.1.1).
pub struct Expected {
    body: Streamed,
    word: Option<Word>,
}

/// Completes when the third party wants the body, or has said nothing for long.
type Word = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// How long a third party may be silent, as curl has it: it may be one that knows no expectations and waits for the body.
const SILENCE: Duration = Duration::from_secs(1);

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    /// Why; over HTTP/2 with the error code that the caller's stream is reset with.
    pub cause: Box<dyn Error + Send + Sync>,
    /// The request, if it may be sent again over a new connection: the third party did not process it, or it is idempotent.
    pub again: Option<Box<Request<Outgoing>>>,
}

/// Which of the pooled connections a request may be sent over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Each that is open as far as Egret knows: if the third party has just closed it, the request is sent again.
    Any,
    /// Only one that the third party will not have closed when the request arrives: it could not be sent again.
    Fresh,
    /// None: the request is sent again.
    Never,
}

impl Reuse {
    /// Returns what this request may be sent over (RFC 9112 §9.3.1: only idempotent requests are repeated).
    pub fn of(request: &Request<Outgoing>) -> Self {
        let repeatable = is_idempotent(request.method()) && is_small(request.body());
        if repeatable { Self::Any } else { Self::Fresh }
    }
}

impl From<Bytes> for Outgoing {
    fn from(body: Bytes) -> Self {
        if body.is_empty() { Self::Empty } else { Self::Whole(Full::new(body)) }
    }
}

impl From<Incoming> for Outgoing {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Streamed(Streamed { body, upload: None }) }
    }
}

impl Outgoing {
    /// Returns the body with its bytes counted as they pass.
    pub fn counted(self, count: Arc<AtomicU64>) -> Self {
        match self {
            Self::Empty => Self::Empty,
            body => Self::Counted(Box::new(body), count),
        }
    }

    /// Returns the body without its trailers.
    pub fn without_trailers(self) -> Self {
        match self {
            Self::Empty | Self::Whole(_) => self,
            body => Self::WithoutTrailers(Box::new(body)),
        }
    }

    /// Returns the body, which holds this until it has ended.
    pub fn holding(self, held: Held) -> Self {
        match self {
            Self::Empty => Self::Empty,
            body => Self::Holding(Box::new(body), held),
        }
    }

    /// Returns the body for a reader of Egret's own, who wants it whatever the third party would say.
    pub fn wanted(self) -> Self {
        match self {
            Self::Expected(expected) => Self::Streamed(expected.begin()),
            Self::Counted(body, count) => Self::Counted(Box::new(body.wanted()), count),
            Self::WithoutTrailers(body) => Self::WithoutTrailers(Box::new(body.wanted())),
            Self::Holding(body, held) => Self::Holding(Box::new(body.wanted()), held),
            other => other,
        }
    }
}

/// Returns the caller's request as it is sent over HTTP/1.1, where the third party decides whether its body is wanted.
pub fn outgoing(request: Request<Incoming>, upload: &Arc<Upload>) -> Request<Outgoing> {
    let expects =
        request.headers().get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CONTINUE));
    let state = match (request.body().is_end_stream(), expects) {
        (true, _) => COMPLETE,
        (false, true) => EXPECTED,
        (false, false) => COMING,
    };
    upload.0.store(state, Ordering::Relaxed);
    if state == COMPLETE {
        return request.map(|_| Outgoing::Empty);
    }
    let mut request = request.map(|body| Streamed { body, upload: Some(Arc::clone(upload)) });
    if state == COMING {
        return request.map(Outgoing::Streamed);
    }
    let wanted = Arc::new(Notify::new());
    let want = Arc::clone(&wanted);
    on_informational(&mut request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            want.notify_one();
        }
    });
    request.map(|body| {
        let word: Word = Box::pin(async move {
            // Either way.
            let _ = timeout(SILENCE, wanted.notified()).await;
        });
        Outgoing::Expected(Box::new(Expected { body, word: Some(word) }))
    })
}

const CONTINUE: &[u8] = b"100-continue";

/// Whether a message has a transfer coding that Egret does not know: it can tell neither its end nor its content.
pub fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut codings = fields.flat_map(|field| field.to_str().unwrap_or("unknown").split(',')).map(str::trim);
    codings.any(|coding| !["", "chunked", "identity"].iter().any(|known| coding.eq_ignore_ascii_case(known)))
}

/// Whether a value begins or ends with a blank, which a message of HTTP/2 must not have (RFC 9113 §8.2.1): readers of HTTP/1.1
/// would read another value.
pub fn has_blank_edges(headers: &HeaderMap) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.values().map(HeaderValue::as_bytes).any(|value| is_blank(value.first()) || is_blank(value.last()))
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Expected {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(word) = &mut self.word {
            ready!(word.as_mut().poll(cx));
            self.word = None;
            self.body.becomes(COMING);
        }
        self.body.poll_frame(cx)
    }

    /// Returns the body, which somebody wants now.
    fn begin(mut self) -> Streamed {
        self.body.becomes(COMING);
        self.body
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(streamed) => streamed.poll_frame(cx),
            Self::Expected(expected) => expected.poll_frame(cx),
            Self::Copied(copied) => copied.poll_frame(cx),
            Self::Holding(body, _) => Pin::new(&mut **body).poll_frame(cx),
            Self::Counted(body, count) => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                    count.fetch_add(data.map_or(0, Bytes::len) as u64, Ordering::Relaxed);
                }
                Poll::Ready(frame)
            }
            Self::WithoutTrailers(body) => loop {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                if !frame.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
                    return Poll::Ready(frame);
                }
            },
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(streamed) => streamed.body.is_end_stream(),
            Self::Expected(expected) => expected.body.body.is_end_stream(),
            Self::Copied(copied) => copied.is_end_stream(),
            Self::Counted(body, _) | Self::Holding(body, _) | Self::WithoutTrailers(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(streamed) => streamed.body.size_hint(),
            Self::Expected(expected) => expected.body.body.size_hint(),
            Self::Copied(copied) => copied.size_hint(),
            Self::Counted(body, _) | Self::Holding(body, _) | Self::WithoutTrailers(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}
