use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{request, response};

use super::cache::Caches;
use super::limit_concurrency::Concurrency;
use super::quota::{QuotaRow, Quotas};
use super::rate_limit::Rates;
use crate::model::{Reason, Told};

/// What comes in time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whose body, or head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller's.
    Request,
    /// The third party's.
    Response,
}

/// A request as it is to be sent.
#[derive(Debug)]
pub struct Asked {
    /// Its head.
    pub head: request::Parts,
    /// Its body, if it is not what comes from the caller.
    pub body: Option<Bytes>,
}

/// What was seen of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Its beginning.
    pub bytes: Bytes,
    /// Whether that is all of it.
    pub whole: bool,
}

/// Why there is no answer: as policies see it, and as the caller's connection is to be told of it.
#[derive(Debug)]
pub struct Unanswerable {
    /// For policies, records and answers.
    pub reason: Reason,
    /// What ends the caller's connection, or its stream, where no answer is made of it.
    pub error: Box<dyn Error + Send + Sync>,
}

/// What policies cannot do alone.
pub trait World: Send {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`Reason::BodyTooLarge`] beyond this many bytes, or why it broke off.
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>>;

    /// Reads the answer's body to its end, unless it has more than this many bytes: then it is left as it was.
    ///
    /// # Errors
    /// It broke off.
    fn answer_up_to(&mut self, most: usize) -> Pending<'_, Result<Option<Bytes>, Reason>>;

    /// Looks at the beginning of the answer's body, which is left as it was: at all of it, if it has not more bytes than this.
    ///
    /// # Errors
    /// It broke off.
    fn peek(&mut self, most: usize) -> Pending<'_, Result<Peeked, Reason>>;

    /// Sends a request.
    ///
    /// # Errors
    /// There is no answer.
    fn ask(&mut self, request: Asked, within: Option<Duration>) -> Pending<'_, Result<response::Parts, Unanswerable>>;

    /// Puts on record what a policy tells, whatever comes of the request.
    fn tell(&mut self, told: Vec<Told>);

    /// Lets time pass.
    fn pause(&mut self, time: Duration) -> Pending<'_, ()>;

    /// What policies remember from one request to the next.
    fn state(&self) -> &State;
}

/// What policies remember from one request to the next, and over changes of the configuration.
#[derive(Debug, Default)]
pub struct State {
    pub(super) rates: Rates,
    pub(super) concurrency: Concurrency,
    pub(super) caches: Caches,
    pub(super) quotas: Quotas,
}

impl State {
    /// The counts of quotas, if they have changed since this was asked.
    pub fn changed_quotas(&self) -> Option<Vec<QuotaRow>> {
        self.quotas.changed()
    }

    /// Goes on from these counts.
    pub fn restore_quotas(&self, rows: Vec<QuotaRow>) {
        self.quotas.restore(rows);
    }
}
