use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request, response};

use super::authentication_oauth2::{RefreshRow, Tokens};
use super::backends::{BackendRow, Backends};
use super::cache::Caches;
use super::counters::Seen;
use super::limit_concurrency::Concurrency;
use super::llm::Spent;
use super::quota::{QuotaRow, Quotas};
use super::rate_limit::Rates;
use super::retry::Budgets;
use super::subscription::{Subscriptions, Used};
use crate::model::{Counters, Endpoint, Pending, Reason, Service, Told};

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
    /// To whom, if not to the third party.
    pub to: Option<Arc<Endpoint>>,
    /// Where bytes of its body are counted, if they are.
    pub count: Option<Arc<AtomicU64>>,
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

    /// Sends a request of a policy's own, of a path and a query, and reads the whole answer.
    ///
    /// # Errors
    /// There is none, it has more than `most` bytes, or takes longer than this.
    fn fetch(
        &self,
        to: &Arc<Endpoint>,
        request: Request<Bytes>,
        most: usize,
        within: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>>;

    /// Sends such a request, and waits for nothing.
    fn send_away(&self, to: &Arc<Endpoint>, request: Request<Bytes>, within: Duration);

    /// The time, on the clock of [`super::Call::at`].
    fn at(&self) -> Duration;
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
    pub(super) spent: Spent,
    pub(super) backends: Backends,
    pub(super) tokens: Tokens,
    pub(super) budgets: Budgets,
    pub(super) subscriptions: Subscriptions,
    pub(super) seen: Seen,
    /// Where limits are counted that nodes share; without, each is this node's own.
    pub(super) counters: Option<Arc<dyn Counters>>,
}

impl State {
    /// That counts with other nodes, where limits say so.
    pub fn sharing(counters: Arc<dyn Counters>) -> Self {
        Self { counters: Some(counters), ..Self::default() }
    }

    /// Returns a state with a copy of what was counted, in which nothing is cached: what happens in it stays in it.
    pub fn counts(&self, now: SystemTime) -> Self {
        let counts = Self { rates: self.rates.copied(), spent: self.spent.copied(), ..Self::default() };
        counts.restore_quotas(self.quotas(now), now);
        counts
    }

    /// Returns at most this many of the counts of quotas that have changed since they were returned.
    pub fn changed_quotas(&self, most: usize) -> Vec<QuotaRow> {
        self.quotas.changed(most)
    }

    /// Returns all counts of quotas whose period is not over.
    pub fn quotas(&self, now: SystemTime) -> Vec<QuotaRow> {
        self.quotas.rows(now)
    }

    /// How often a subscription was used, if it was.
    pub fn subscription(&self, name: &str) -> Option<Used> {
        self.subscriptions.used(name)
    }

    /// How the servers of a backend are.
    pub fn backend(&self, service: &Service, at: Duration) -> Vec<BackendRow> {
        self.backends.rows(service, at)
    }

    /// What a health check says of one of them: why it is not well, if it is not.
    pub fn checked(&self, service: &Service, member: usize, ill: Option<String>) {
        self.backends.checked(service, member, ill);
    }

    /// Refresh tokens that servers have given, if they have changed since this was asked.
    pub fn changed_refresh_tokens(&self) -> Option<Vec<RefreshRow>> {
        self.tokens.rotated.changed()
    }

    /// Goes on with these.
    pub fn restore_refresh_tokens(&self, rows: Vec<RefreshRow>) {
        self.tokens.rotated.restore(rows);
    }

    /// Goes on from these counts, of which a later one replaces an earlier one.
    pub fn restore_quotas(&self, rows: Vec<QuotaRow>, now: SystemTime) {
        self.quotas.restore(rows, now);
    }
}
