use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// The body of a request, as it comes.
#[derive(Debug)]
pub enum Outgoing {
    /// There is none.
    Empty,
    /// From the caller.
    Streamed(Incoming),
}

/// A request that had no answer.
#[derive(Debug)]
pub struct Unanswered {
    /// Why; for HTTP/2 with the code that a reset passes on.
    pub error: Box<dyn Error + Send + Sync>,
    /// The request, if nothing of it has reached the third party: it can be sent again, whatever it is.
    pub unsent: Option<Box<Request<Outgoing>>>,
}

impl From<Incoming> for Outgoing {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Self::Empty } else { Self::Streamed(body) }
    }
}

/// The same request once more, if it has no body.
pub(super) fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let Outgoing::Empty = request.body() else { return None };
    let mut copy = Request::new(Outgoing::Empty);
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
