use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::Telemetry;
use super::told::listed;
use crate::model::{Reason, Told, Workload};

/// Requests that have ended, while somebody watches; nothing is kept, and nothing costs, while nobody does.
#[derive(Debug)]
pub(super) struct Requests {
    /// Whether each goes to the access log.
    logged: bool,
    /// Until when somebody watches: milliseconds since [`START`].
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

/// Requests that are kept for who watches.
const KEPT: usize = 1000;

/// Who watches asks again before this time is over.
const WATCHED: Duration = Duration::from_secs(3);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct RequestSnapshot {
    /// Its place among those that were watched, from 1.
    pub number: u64,
    /// When it began.
    pub time: SystemTime,
    /// The number of its flow.
    pub flow: u64,
    /// The API of the request.
    pub api: Arc<str>,
    /// The operation of the request.
    pub operation: Option<Arc<str>>,
    /// The workload that called.
    pub workload: Workload,
    /// What the caller spoke: `http` or `https`.
    pub scheme: &'static str,
    /// The port that it called.
    pub port: u16,
    /// The method of the request.
    pub method: String,
    /// Its host and path; the query may hold what is nobody's business.
    pub target: String,
    /// What the caller was answered; 0 if nothing.
    pub status: u16,
    /// `ok`, or why it was refused or failed.
    pub outcome: &'static str,
    /// The policy that did.
    pub policy: Option<&'static str>,
    /// What policies would have done that only report.
    pub reports: Vec<String>,
    /// What policies said.
    pub traces: Vec<String>,
    /// How long policies took.
    pub policies: Duration,
    /// How long the third party took to begin its answer, or answers.
    pub upstream: Duration,
    /// Until the answer began.
    pub first_byte: Duration,
    /// Until it had ended.
    pub total: Duration,
}

/// A request that is watched. It is kept when this is dropped.
#[derive(Debug)]
pub struct RequestRecord {
    /// What is known of it.
    pub facts: RequestSnapshot,
    started: Instant,
    telemetry: Arc<Telemetry>,
}

impl Telemetry {
    /// A record of a request, if somebody watches or it is logged.
    pub fn request(
        self: &Arc<Self>,
        flow: u64,
        api: &Arc<str>,
        workload: &Workload,
        (scheme, port): (&'static str, u16),
        method: &str,
        target: impl FnOnce() -> String,
    ) -> Option<Box<RequestRecord>> {
        if !self.requests.logged && !self.requests.is_watched() {
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
            policies: Duration::ZERO,
            upstream: Duration::ZERO,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
        };
        Some(Box::new(RequestRecord { facts, started: Instant::now(), telemetry: Arc::clone(self) }))
    }

    /// The requests that have ended after this one, and its successor's number; from now on somebody watches.
    pub fn passed(&self, after: Option<u64>) -> (Vec<RequestSnapshot>, u64) {
        let until = u64::try_from((START.elapsed() + WATCHED).as_millis()).unwrap_or(u64::MAX);
        self.requests.watched.store(until, Ordering::Relaxed);
        let passed = self.requests.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let after = after.unwrap_or(passed.next);
        (passed.newest.iter().filter(|request| request.number > after).cloned().collect(), passed.next)
    }
}

impl RequestRecord {
    /// What policies said.
    pub fn told(&mut self, told: &[Told]) {
        for told in told {
            let Told::Trace(traced) = told else { continue };
            let parts = [traced.message.clone(), listed(&traced.metadata)];
            let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            let source = traced.source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
            self.facts.traces.push(format!("{}: {source}{text}", traced.severity.label()));
        }
    }

    /// The answer has begun.
    pub fn answered(&mut self, status: u16) {
        self.facts.status = status;
        self.facts.first_byte = self.started.elapsed();
        if self.facts.upstream.is_zero() && self.facts.policies.is_zero() {
            self.facts.upstream = self.facts.first_byte;
        }
    }

    /// There is none.
    pub fn failed(&mut self, reason: Reason) {
        self.facts.outcome = reason.label();
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.facts.total = self.started.elapsed();
        let (owner, api) = (&self.facts.workload.owner, &self.facts.api);
        if self.telemetry.requests.logged && self.telemetry.admits(Some(owner), self.facts.outcome, Some(api)) {
            self.telemetry.log.write_request(&self.facts);
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
