use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::ext::on_informational;
use hyper::{Request, StatusCode, header};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The body of a request, as it comes.
#[derive(Debug)]
pub enum Outgoing {
    /// There is none.
    Empty,
    /// From the caller.
    Streamed(Incoming),
    /// There as a whole: policies have looked at it, or made it.
    Whole(Full<Bytes>),
    /// The same, and how many bytes of it have passed.
    Counted(Box<Outgoing>, Arc<AtomicU64>),
    /// The same, and its trailers are dropped: policies have not seen them.
    WithoutTrailers(Box<Outgoing>),
    /// From a caller that waits until it is told to go on.
    Expected(Box<Expected>),
}

/// A body that nobody asks the caller for until the third party does (RFC 9110 §10.1.1).
pub struct Expected {
    body: Incoming,
    word: Option<Word>,
}

/// Comes when the third party wants the body, or has said nothing for long.
type Word = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// How long a third party may be silent: it may be one that knows no expectations, and waits for the body. As curl's.
const SILENCE: Duration = Duration::from_secs(1);

/// A request that had no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Why; for HTTP/2 with the code that a reset passes on.
    pub error: Box<dyn Error + Send + Sync>,
    /// The request, if nothing of it has reached the third party: it can be sent again, whatever it is.
    pub unsent: Option<Box<Request<Outgoing>>>,
}

impl From<Bytes> for Outgoing {
    fn from(body: Bytes) -> Self {
        if body.is_empty() { Self::Empty } else { Self::Whole(Full::new(body)) }
    }
}

impl From<Incoming> for Outgoing {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Streamed(body) }
    }
}

impl Outgoing {
    /// With its bytes counted as they pass.
    pub fn counted(self, count: Arc<AtomicU64>) -> Self {
        match self {
            Self::Empty => Self::Empty,
            body => Self::Counted(Box::new(body), count),
        }
    }

    /// Returns it without its trailers.
    pub fn without_trailers(self) -> Self {
        match self {
            Self::Empty | Self::Whole(_) => self,
            body => Self::WithoutTrailers(Box::new(body)),
        }
    }

    /// Whoever reads it now wants it, whatever the third party would say.
    pub fn wanted(self) -> Self {
        match self {
            Self::Expected(expected) => Self::Streamed(expected.body),
            Self::Counted(body, count) => Self::Counted(Box::new(body.wanted()), count),
            Self::WithoutTrailers(body) => Self::WithoutTrailers(Box::new(body.wanted())),
            other => other,
        }
    }
}

/// The caller's request, as it is sent over HTTP/1.1: whether its body is wanted is the third party's to say.
pub fn outgoing(mut request: Request<Incoming>) -> Request<Outgoing> {
    let expects =
        request.headers().get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CONTINUE));
    if !expects || request.body().is_end_stream() {
        return request.map(Outgoing::from);
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
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// The same request once more, if its body need not be asked of the caller again.
pub(super) fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let body = match request.body() {
        Outgoing::Empty => Outgoing::Empty,
        Outgoing::Whole(body) => Outgoing::Whole(body.clone()),
        Outgoing::Counted(..) | Outgoing::WithoutTrailers(_) | Outgoing::Streamed(_) | Outgoing::Expected(_) => {
            return None;
        }
    };
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx),
            Self::Expected(expected) => expected.poll_frame(cx),
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
            Self::Streamed(body) => body.is_end_stream(),
            Self::Expected(expected) => expected.body.is_end_stream(),
            Self::Counted(body, _) | Self::WithoutTrailers(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body) => body.size_hint(),
            Self::Expected(expected) => expected.body.size_hint(),
            Self::Counted(body, _) | Self::WithoutTrailers(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}
