//! What policies need beside the request: bodies, other servers, the time.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request, response};

use super::message::Peeked;
use super::side::Side;
use super::state::State;
use crate::model::{Endpoint, Pending, Reason, Told};

/// A request as it is to be sent.
#[derive(Debug)]
pub struct Asked {
    /// The head of the request.
    pub head: request::Parts,
    /// The body, where it is not the one that comes from the caller.
    pub body: Option<Bytes>,
    /// The server that it goes to, where that is not the third party's own.
    pub to: Option<Arc<Endpoint>>,
    /// The counter for the bytes of its body, where they are counted.
    pub count: Option<Arc<AtomicU64>>,
}

/// Why there is no response: as policies see it, and as the caller's connection sees it.
#[derive(Debug)]
pub struct Unanswerable {
    /// The reason, for policies, records and responses.
    pub reason: Reason,
    /// The error that ends the caller's connection or stream, where there is no response.
    pub error: Box<dyn Error + Send + Sync>,
}

/// What policies need beside the request. Only this does IO.
pub trait World: Send + Sync {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`Reason::BodyTooLarge`] beyond this many bytes, or why it broke off.
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>>;

    /// Takes the trailers of the response whose body was read to its end, if it had any.
    fn trailers(&mut self) -> Option<HeaderMap> {
        None
    }

    /// Whether the caller sends a body that was not read yet.
    fn has_body(&self) -> bool;

    /// Reads the body of the response to its end, unless it has more than this many bytes: then it stays as it was.
    ///
    /// # Errors
    /// The body broke off.
    fn answer_up_to(&mut self, most: usize) -> Pending<'_, Result<Option<Bytes>, Reason>>;

    /// Returns the beginning of the response's body, which stays as it was: all of it, if it has not more bytes than this.
    ///
    /// # Errors
    /// The body broke off.
    fn peek(&mut self, most: usize) -> Pending<'_, Result<Peeked, Reason>>;

    /// Sends a request.
    ///
    /// # Errors
    /// There is no response.
    fn ask(&mut self, request: Asked, within: Option<Duration>) -> Pending<'_, Result<response::Parts, Unanswerable>>;

    /// Sends a request of a policy's own and reads the whole response. The URI has only a path and a query.
    ///
    /// # Errors
    /// There is no response, it has more than `most` bytes, or it takes longer than `within`.
    fn fetch(
        &self,
        to: &Arc<Endpoint>,
        request: Request<Bytes>,
        most: usize,
        within: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>>;

    /// Sends a request of a policy's own and does not wait for the response.
    fn send_away(&self, to: &Arc<Endpoint>, request: Request<Bytes>, within: Duration);

    /// Returns the time, on the monotonic clock of [`super::call::Context::at`].
    fn at(&self) -> Duration;

    /// Writes the records of a policy, whatever becomes of the request.
    fn tell(&mut self, told: Vec<Told>);

    /// Waits for this long.
    fn pause(&mut self, time: Duration) -> Pending<'_, ()>;

    /// Returns what policies remember from one request to the next.
    fn state(&self) -> &State;
}
