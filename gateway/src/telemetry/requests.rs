use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::told::listed;
use super::{Telemetry, TraceContext};
use crate::model::{Reason, Signal, Told, Workload};

/// Requests that have ended, for `egret tail`. Without a reader nothing is kept.
#[derive(Debug)]
pub(super) struct Requests {
    /// Whether each request goes to the access log.
    logged: bool,
    /// Time until which there is a reader, in milliseconds since [`START`].
    watched: AtomicU64,
    passed: Mutex<Passed>,
}

impl Requests {
    pub(super) fn new(logged: bool) -> Self {
        Self { logged, watched: AtomicU64::new(0), passed: Mutex::default() }
    }

    fn is_watched(&self) -> bool {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.watched.load(Ordering::Relaxed) >= now
    }
}

#[derive(Debug, Default)]
struct Passed {
    next: u64,
    newest: VecDeque<RequestSnapshot>,
}

/// Maximum number of requests that are kept for readers.
const KEPT: usize = 1000;

/// Time within which a reader must ask again.
const WATCHED: Duration = Duration::from_secs(3);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct RequestSnapshot {
    /// Its number among the kept requests, from 1.
    pub number: u64,
    /// Time at which it began.
    pub time: SystemTime,
    /// The number of its flow.
    pub flow: u64,
    /// The API of the request.
    pub api: Arc<str>,
    /// The operation of the request.
    pub operation: Option<Arc<str>>,
    /// The workload that called.
    pub workload: Workload,
    /// The scheme that the caller used: `http` or `https`.
    pub scheme: &'static str,
    /// The port that the caller connected to.
    pub port: u16,
    /// The method of the request.
    pub method: String,
    /// Its host and path, without the query, which may have secrets.
    pub target: String,
    /// Status of the response; 0 if there was none.
    pub status: u16,
    /// `ok`, or the reason why it was refused or failed.
    pub outcome: &'static str,
    /// The policy that refused it.
    pub policy: Option<&'static str>,
    /// What policies in report mode would have done.
    pub reports: Vec<String>,
    /// Messages of `trace` policies.
    pub traces: Vec<String>,
    /// Its place in a trace, if it gets a span.
    pub trace: Option<TraceContext>,
    /// Time that policies took.
    pub policies: Duration,
    /// Time until the third party's response began, for all attempts.
    pub upstream: Duration,
    /// Time until the response began.
    pub first_byte: Duration,
    /// Time until the response ended.
    pub total: Duration,
}

/// The record of a request. It is kept for readers when it is dropped.
#[derive(Debug)]
pub struct RequestRecord {
    /// The facts known so far.
    pub facts: RequestSnapshot,
    started: Instant,
    telemetry: Arc<Telemetry>,
}

impl Telemetry {
    /// Returns a record, if there is a reader, or the request is logged or gets a span.
    pub fn request(
        self: &Arc<Self>,
        (flow, trace): (u64, Option<TraceContext>),
        api: &Arc<str>,
        workload: &Workload,
        (scheme, port): (&'static str, u16),
        method: &str,
        target: impl FnOnce() -> String,
    ) -> Option<Box<RequestRecord>> {
        let trace = trace.filter(|trace| trace.is_sampled && self.exports.sends(Signal::Traces));
        if !self.requests.logged && trace.is_none() && !self.requests.is_watched() {
            return None;
        }
        let facts = RequestSnapshot {
            number: 0,
            time: SystemTime::now(),
            flow,
            api: Arc::clone(api),
            operation: None,
            workload: workload.clone(),
            scheme,
            port,
            method: method.to_owned(),
            target: target(),
            status: 0,
            outcome: "ok",
            policy: None,
            reports: Vec::new(),
            traces: Vec::new(),
            trace,
            policies: Duration::ZERO,
            upstream: Duration::ZERO,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
        };
        Some(Box::new(RequestRecord { facts, started: Instant::now(), telemetry: Arc::clone(self) }))
    }

    /// Returns the requests that have ended after this one, and the number to ask with next time. Marks that there is a reader.
    pub fn passed(&self, after: Option<u64>) -> (Vec<RequestSnapshot>, u64) {
        let until = u64::try_from((START.elapsed() + WATCHED).as_millis()).unwrap_or(u64::MAX);
        self.requests.watched.store(until, Ordering::Relaxed);
        let passed = self.requests.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let after = after.unwrap_or(passed.next);
        (passed.newest.iter().filter(|request| request.number > after).cloned().collect(), passed.next)
    }
}

impl RequestRecord {
    /// Messages of `trace` policies.
    pub fn told(&mut self, told: &[Told]) {
        for told in told {
            let Told::Trace(traced) = told else { continue };
            let parts = [traced.message.clone(), listed(&traced.metadata)];
            let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            let source = traced.source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
            self.facts.traces.push(format!("{}: {source}{text}", traced.severity.label()));
        }
    }

    /// Notes that the response has begun.
    pub fn answered(&mut self, status: u16) {
        self.facts.status = status;
        self.facts.first_byte = self.started.elapsed();
        if self.facts.upstream.is_zero() && self.facts.policies.is_zero() {
            self.facts.upstream = self.facts.first_byte;
        }
    }

    /// Notes that there is no response.
    pub fn failed(&mut self, reason: Reason) {
        self.facts.outcome = reason.label();
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.facts.total = self.started.elapsed();
        let (owner, api) = (&self.facts.workload.identity.owner, &self.facts.api);
        if self.telemetry.requests.logged && self.telemetry.admits(Some(owner), self.facts.outcome, Some(api)) {
            self.telemetry.log.write_request(&self.facts);
        }
        if self.facts.trace.is_some() {
            self.telemetry.exports.span(&self.facts);
        }
        if !self.telemetry.requests.is_watched() {
            return;
        }
        let mut passed = self.telemetry.requests.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.next += 1;
        self.facts.number = passed.next;
        if passed.newest.len() == KEPT {
            passed.newest.pop_front();
        }
        passed.newest.push_back(self.facts.clone());
    }
}
