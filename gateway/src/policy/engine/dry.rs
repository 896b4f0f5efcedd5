use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, response};

use super::message::Peeked;
use super::side::Side;
use super::state::State;
use super::world::{Asked, Unanswerable, World};
use crate::model::{Endpoint, Pending, Reason, Told};

/// A world in which nothing is sent: the response of the third party is assumed, and no time passes.
#[derive(Debug)]
pub struct Dry {
    /// The request's body.
    pub body: Bytes,
    /// The status of the assumed response.
    pub status: StatusCode,
    /// How often the request was forwarded.
    pub asked: u32,
    state: State,
    at: Duration,
}

impl Dry {
    /// Assumes this status from now on; what policies remember stays.
    pub fn next(&mut self, status: StatusCode) {
        (self.status, self.asked) = (status, 0);
    }

    /// Returns a world that assumes this response.
    pub fn new(body: Bytes, status: StatusCode) -> Self {
        Self::begun(body, status, State::default(), Duration::ZERO)
    }

    /// Returns a world that assumes this response, and in which policies remember this at this time.
    pub fn begun(body: Bytes, status: StatusCode, state: State, at: Duration) -> Self {
        Self { body, status, asked: 0, state, at }
    }
}

impl World for Dry {
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>> {
        let bytes = match side {
            Side::Request => self.body.clone(),
            Side::Response => Bytes::new(),
        };
        let outcome = if bytes.len() > most { Err(Reason::BodyTooLarge) } else { Ok(bytes) };
        Box::pin(std::future::ready(outcome))
    }

    fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    fn answer_up_to(&mut self, _: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(std::future::ready(Ok(Some(Bytes::new()))))
    }

    fn peek(&mut self, _: usize) -> Pending<'_, Result<Peeked, Reason>> {
        Box::pin(std::future::ready(Ok(Peeked { bytes: Bytes::new(), whole: true })))
    }

    fn ask(&mut self, _: Asked, _: Option<Duration>) -> Pending<'_, Result<response::Parts, Unanswerable>> {
        self.asked += 1;
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.status;
        Box::pin(std::future::ready(Ok(head)))
    }

    /// Returns the assumed status, with a body in which a token would come.
    fn fetch(
        &self,
        _: &Arc<Endpoint>,
        _: Request<Bytes>,
        _: usize,
        _: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>> {
        let mut answer = Response::new(Bytes::from_static(br#"{"access_token":"assumed","expires_in":60}"#));
        *answer.status_mut() = self.status;
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn send_away(&self, _: &Arc<Endpoint>, _: Request<Bytes>, _: Duration) {}

    fn at(&self) -> Duration {
        self.at
    }

    fn tell(&mut self, _: Vec<Told>) {}

    fn pause(&mut self, _: Duration) -> Pending<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn state(&self) -> &State {
        &self.state
    }
}
