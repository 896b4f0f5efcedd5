//! The record of each flow: opened when the connection is accepted, and written once, when it is dropped. Metrics and access log.

mod access_log;

mod callers;

mod http;

mod metrics;

mod otlp;

mod record;

mod request_line;
mod requests;

mod responses;

mod told;

mod unlisted;

mod volume;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use access_log::AccessLog;
pub use callers::{Newest, Owner};
pub use http::serve;
pub use metrics::{Counter, Exported, Gauges, Metrics, Process};
pub use otlp::{Backoff, Dropped, Exports, Resource, TraceContext, Verdict, rejected};
pub use record::{Bytes, Decided, FlowRecord, Snapshot};
pub use request_line::{RequestFacts, RequestLine};
pub use requests::{RequestRecord, RequestSnapshot};
pub use responses::Responses;
pub use told::Teller;
pub use unlisted::UnlistedDestination;

use crate::model::{Reason, UNLISTED};

/// Opens the records of flows, and takes them when flows end.
#[derive(Debug)]
pub struct Telemetry {
    log: AccessLog,
    volume: volume::Volume,
    callers: callers::Callers,
    metrics: Arc<Metrics>,
    exports: Arc<Exports>,
    next: AtomicU64,
    live: Mutex<HashMap<u64, Arc<record::Shared>>>,
    decided: Mutex<VecDeque<(Snapshot, &'static str)>>,
    unlisted: unlisted::Destinations,
    requests: requests::Requests,
}

/// Number of decisions of the kernel hooks that are remembered for the CLI.
const REMEMBERED: usize = 512;

impl Telemetry {
    /// Returns a telemetry with an access log, which may include requests, and metrics.
    pub fn new(log: AccessLog, log_requests: bool, metrics: Arc<Metrics>) -> Self {
        let exports = Arc::new(Exports::default());
        Self {
            log: log.exported(Arc::clone(&exports)),
            exports,
            volume: volume::Volume::default(),
            callers: callers::Callers::default(),
            metrics,
            next: AtomicU64::new(1),
            live: Mutex::default(),
            decided: Mutex::default(),
            unlisted: unlisted::Destinations::default(),
            requests: requests::Requests::new(log_requests),
        }
    }

    /// Opens the record of an accepted connection.
    pub fn open(self: &Arc<Self>) -> FlowRecord {
        let id = self.number();
        let record = FlowRecord::open(id, Arc::clone(self));
        self.flows().insert(id, record.shared());
        record
    }

    /// Returns the number of the next flow.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Logs and remembers a decision of the kernel hooks. The hooks have counters of their own.
    pub fn decided(&self, decided: Decided, reason: &'static str) {
        let is_unlisted = decided.flow.api == UNLISTED;
        let snapshot = Snapshot::from(decided);
        self.write(&snapshot, reason);
        if is_unlisted {
            return self.unlisted.note(snapshot, reason);
        }
        self.callers.note(&snapshot, decides_against(reason));
        let mut remembered = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.truncate(REMEMBERED - 1);
        remembered.push_front((snapshot, reason));
    }

    /// Returns the newest decisions of the kernel hooks with their reasons, newest first.
    pub fn decisions(&self) -> Vec<(Snapshot, &'static str)> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Returns the unlisted destinations that callers connected to, newest first, at most so many, and the number of all.
    pub fn unlisted(&self, most: usize) -> (Vec<UnlistedDestination>, usize) {
        self.unlisted.all(most)
    }

    /// Returns the running flows.
    pub fn live(&self) -> Vec<Snapshot> {
        let mut flows: Vec<_> = self.flows().values().map(|shared| shared.snapshot()).collect();
        flows.sort_by_key(|flow| flow.id);
        flows
    }

    /// Returns the addresses that the callers of running flows asked for, with the number of flows.
    pub fn destinations(&self) -> HashMap<IpAddr, usize> {
        let mut counts = HashMap::new();
        for address in self.flows().values().filter_map(|shared| shared.destination()) {
            *counts.entry(address).or_default() += 1;
        }
        counts
    }

    /// Returns the number of lines of the access log that were dropped.
    pub fn lost_lines(&self) -> u64 {
        self.log.lost()
    }

    /// Returns what waits to be sent to a collector.
    pub fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    /// Returns the metrics of the gateway.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns the number of running flows.
    pub fn running(&self) -> usize {
        self.flows().len()
    }

    fn close(&self, flow: &record::Shared, outcome: &'static str) {
        self.flows().remove(&flow.id);
        // Nobody looks at it any more.
        let snapshot = flow.take();
        self.metrics.flow(&snapshot, outcome);
        self.write(&snapshot, outcome);
        self.callers.note(&snapshot, !is_well(outcome));
    }

    /// Returns the owners of workloads that have called, those of running flows included, the one that called last first.
    pub fn owners(&self) -> Vec<Owner> {
        self.callers.all(&self.live())
    }

    /// Logs a flow. A refused flow is left out if its owner has caused too many such lines.
    fn write(&self, snapshot: &Snapshot, outcome: &'static str) {
        let owner = snapshot.flow.as_ref().map(|flow| &flow.workload.identity.owner);
        if self.admits(owner, outcome, snapshot.api.as_ref()) {
            self.log.write(snapshot, outcome);
        }
    }

    fn admits(&self, owner: Option<&Arc<str>>, outcome: &'static str, api: Option<&Arc<str>>) -> bool {
        is_well(outcome) || self.volume.admits(owner, outcome, api, Instant::now())
    }

    /// Logs the number of lines that were left out since the last call.
    pub fn report_suppressed(&self) {
        for suppressed in self.volume.report(Instant::now()) {
            self.log.line(suppressed.owner(), &volume::Line::from(&suppressed));
        }
    }

    /// Returns the number of lines that were left out because their owners caused too many.
    pub fn suppressed_lines(&self) -> u64 {
        self.volume.suppressed()
    }

    fn flows(&self) -> MutexGuard<'_, HashMap<u64, Arc<record::Shared>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a flow with this outcome ended in order.
fn is_well(outcome: &str) -> bool {
    matches!(outcome, Reason::OK | record::STRANGER)
}

/// Returns whether the kernel hooks refused what they decided on for this reason.
fn decides_against(reason: &str) -> bool {
    const LEFT: [&str; 4] = ["bound", "gateway_gone_open", "foreign_namespace_open", "bound_device_open"];
    !LEFT.contains(&reason)
}
