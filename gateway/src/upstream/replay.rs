//! Second attempts: a request that a dead connection swallowed is sent again, with a copy of its body.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::HeaderMap;
use hyper::http::request;
use hyper::{Method, Request};

use super::request::Outgoing;

/// Most bytes of a body that are copied for a second attempt.
pub(super) const MAX_COPY: usize = 64 << 10;

/// Most bytes that are copied for all requests together; beyond it a request has one attempt.
const MAX_COPIES: usize = 32 << 20;

/// Bytes that are copied at the moment.
static COPIED: AtomicUsize = AtomicUsize::new(0);

/// What a second attempt needs. Dropped when the response has begun.
pub(super) struct Again {
    head: request::Parts,
    body: Copy,
}

enum Copy {
    /// There as a whole.
    Whole(Outgoing),
    /// Copied while the first attempt sends it.
    Streamed(Arc<Mutex<Shared>>),
}

impl Again {
    /// Prepares a second attempt of this request, which from now on copies its body as it is sent.
    pub(super) fn of(request: &mut Request<Outgoing>) -> Self {
        let body = match whole(request.body()) {
            Some(body) => Copy::Whole(body),
            None => {
                let source = std::mem::replace(request.body_mut(), Outgoing::Empty);
                let shared = Arc::new(Mutex::new(Shared::new(source)));
                *request.body_mut() = Outgoing::Copied(Copied::of(&shared));
                Copy::Streamed(shared)
            }
        };
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        *head.extensions_mut() = request.extensions().clone();
        Self { head: head.into_parts().0, body }
    }

    /// Whether the request may be sent again although the third party may have processed it.
    pub(super) fn is_idempotent(&self) -> bool {
        is_idempotent(&self.head.method)
    }

    /// Returns the request for its second attempt; none if its body was too large to be copied.
    pub(super) fn request(self) -> Option<Request<Outgoing>> {
        let body = match &self.body {
            Copy::Whole(body) => whole(body)?,
            Copy::Streamed(shared) => {
                let mut known = lock(shared);
                if !known.copies {
                    return None;
                }
                known.attempt += 1;
                drop(known);
                Outgoing::Copied(Copied::of(shared))
            }
        };
        Some(Request::from_parts(self.head.clone(), body))
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        if let Copy::Streamed(shared) = &self.body {
            let mut shared = lock(shared);
            if shared.attempt > 0 {
                shared.copies = false;
            } else {
                shared.give_up();
            }
        }
    }
}

/// Returns the same body, if it is there as a whole.
fn whole(body: &Outgoing) -> Option<Outgoing> {
    match body {
        Outgoing::Empty => Some(Outgoing::Empty),
        Outgoing::Whole(body) => Some(Outgoing::Whole(body.clone())),
        Outgoing::Holding(body, held) => whole(body).map(|body| body.holding(Arc::clone(held))),
        _ => None,
    }
}

/// RFC 9110 §9.2.2: several such requests have the effect of one.
pub(super) fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || [Method::PUT, Method::DELETE].contains(method)
}

/// Whether the body, as far as is known before it is read, can be copied.
pub(super) fn is_small(body: &Outgoing) -> bool {
    match body {
        Outgoing::Empty | Outgoing::Whole(_) => true,
        Outgoing::Holding(body, _) => is_small(body),
        streamed => streamed.size_hint().upper().is_some_and(|upper| upper <= MAX_COPY as u64),
    }
}

/// A body that is copied as it is sent.
#[derive(Debug)]
pub struct Copied {
    shared: Arc<Mutex<Shared>>,
    /// Which attempt this is.
    attempt: u32,
    /// How many of the copied frames this attempt has sent.
    sent: usize,
    /// Whether this attempt has sent the trailers, too.
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    source: Outgoing,
    /// The copy, in pieces as they came.
    data: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    /// Whether what the source still has is copied.
    copies: bool,
    /// The attempt that the source belongs to, counted from 0. An earlier one may live on until it notices its end, and must not
    /// take what it cannot send any more.
    attempt: u32,
}

impl Shared {
    fn new(source: Outgoing) -> Self {
        Self { source, data: Vec::new(), trailers: None, bytes: 0, copies: true, attempt: 0 }
    }

    fn copy(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            let copied = COPIED.fetch_add(data.len(), Ordering::Relaxed) + data.len();
            self.bytes += data.len();
            self.data.push(data.clone());
            if self.bytes > MAX_COPY || copied > MAX_COPIES {
                self.give_up();
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
    }

    fn give_up(&mut self) {
        self.copies = false;
        self.trailers = None;
        self.data = Vec::new();
        self.release();
    }

    fn release(&mut self) {
        COPIED.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.release();
    }
}

impl Copied {
    /// Returns the body for the newest attempt.
    fn of(shared: &Arc<Mutex<Shared>>) -> Self {
        let attempt = lock(shared).attempt;
        Self { shared: Arc::clone(shared), attempt, sent: 0, ended: false }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut shared = lock(&self.shared);
        if self.attempt != shared.attempt {
            // The error that made another attempt necessary ends this one.
            return Poll::Pending;
        }
        if let Some(data) = shared.data.get(self.sent) {
            self.sent += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if let Some(trailers) = shared.trailers.as_ref().filter(|_| !self.ended) {
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        let frame = ready!(Pin::new(&mut shared.source).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && shared.copies
        {
            shared.copy(frame);
            self.sent = shared.data.len();
            self.ended = shared.trailers.is_some();
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        let is_newest = self.attempt == shared.attempt;
        is_newest
            && self.sent >= shared.data.len()
            && (self.ended || shared.trailers.is_none())
            && shared.source.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.shared);
        let copied: usize = shared.data.iter().skip(self.sent).map(Bytes::len).sum();
        let mut hint = shared.source.size_hint();
        // The upper bound first: it must not be below the lower one.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + copied as u64);
        }
        hint.set_lower(hint.lower() + copied as u64);
        hint
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn next(request: &mut Request<Outgoing>) -> Option<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(request.body_mut()).poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("the source is there as a whole"),
        }
    }

    /// A body that is not known as a whole: its pieces are counted as they pass.
    fn put(bytes: usize) -> (Request<Outgoing>, Arc<std::sync::atomic::AtomicU64>) {
        let count = Arc::default();
        let body = Outgoing::from(Bytes::from(vec![7; bytes])).counted(Arc::clone(&count));
        (Request::put("/").body(body).unwrap(), count)
    }

    #[test]
    fn a_body_that_was_sent_in_part_or_as_a_whole_is_sent_again_and_counted_once() {
        for sent in [false, true] {
            let (mut request, count) = put(1000);
            let again = Again::of(&mut request);
            assert_eq!(request.body().size_hint().exact(), Some(1000));
            if sent {
                assert_eq!(next(&mut request).unwrap().len(), 1000);
                assert!(request.body().is_end_stream());
            }
            drop(request);
            let mut request = again.request().unwrap();
            assert_eq!(request.method(), Method::PUT);
            assert_eq!(request.body().size_hint().exact(), Some(1000));
            assert_eq!(next(&mut request).unwrap().len(), 1000);
            assert!(request.body().is_end_stream() && next(&mut request).is_none());
            assert_eq!(count.load(Ordering::Relaxed), 1000);
        }
    }

    #[test]
    fn an_attempt_that_does_not_know_of_its_end_takes_nothing_from_the_next_one() {
        let (mut first, count) = put(1000);
        let again = Again::of(&mut first);
        let mut second = again.request().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(first.body_mut()).poll_frame(&mut cx).is_pending());
        assert_eq!(next(&mut second).unwrap().len(), 1000);
        assert!(second.body().is_end_stream() && !first.body().is_end_stream());
        assert_eq!(count.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn a_large_body_has_one_attempt() {
        let (mut request, _) = put(MAX_COPY + 1);
        assert!(!is_small(request.body()));
        let again = Again::of(&mut request);
        assert_eq!(next(&mut request).unwrap().len(), MAX_COPY + 1);
        assert!(next(&mut request).is_none());
        assert!(again.request().is_none());
    }

    #[test]
    fn nothing_is_copied_once_the_response_has_begun() {
        let (mut request, _) = put(1000);
        drop(Again::of(&mut request));
        assert_eq!(next(&mut request).unwrap().len(), 1000);
        let Outgoing::Copied(copied) = request.body() else { panic!("copied") };
        assert_eq!(lock(&copied.shared).bytes, 0);
    }

    #[test]
    fn methods_that_have_one_effect_however_often_they_are_sent() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert!(is_idempotent(&method.parse().unwrap()), "{method}");
        }
        for method in ["POST", "PATCH", "PURGE"] {
            assert!(!is_idempotent(&method.parse().unwrap()), "{method}");
        }
    }
}
