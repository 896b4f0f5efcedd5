use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::Telemetry;
use crate::model::{Flow, Host, Protocol, Reason};

/// The mode of a flow that names a host that no API lists, and its outcome if it ended in order.
pub(super) const STRANGER: &str = "stranger";

/// Number of bytes, and of requests, carried so far.
#[derive(Debug, Default)]
pub struct Bytes {
    /// From the workload to the third party.
    pub sent: AtomicU64,
    /// From the third party to the workload.
    pub received: AtomicU64,
    /// The number of HTTP requests so far.
    pub requests: AtomicU64,
}

/// The record of one flow. It is written when it is dropped, however the flow ends.
#[derive(Debug)]
pub struct FlowRecord {
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    outcome: &'static str,
}

/// The part of a record that the flow's task writes and the CLI reads.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: u64,
    bytes: Arc<Bytes>,
    started: Instant,
    facts: Mutex<Snapshot>,
}

/// A copy of a record.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the flow.
    pub id: u64,
    /// Time at which the connection was accepted.
    pub accepted: SystemTime,
    /// Time since then.
    pub age: Duration,
    /// The caller and the original destination; absent for a peer without an origin record.
    pub flow: Option<Flow>,
    /// The detected protocol.
    pub protocol: Option<&'static str>,
    /// The name that the caller asked for.
    pub name: Option<Host>,
    /// The API's name.
    pub api: Option<Arc<str>>,
    /// The API's mode, or `stranger`.
    pub mode: Option<&'static str>,
    /// Egress address and port.
    pub egress: Option<SocketAddr>,
    /// The third party, or the proxy on the way to it.
    pub upstream: Option<SocketAddr>,
    /// The proxy's name, if there is one.
    pub proxy: Option<Arc<str>>,
    /// Number of bytes sent to the third party.
    pub sent: u64,
    /// Number of bytes received from the third party.
    pub received: u64,
    /// Number of HTTP requests that Egret saw.
    pub requests: u64,
    /// Number of equal decisions of the kernel hooks; 1 for a flow.
    pub times: u64,
}

/// A connection about which the kernel hooks decided alone.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The caller and the original destination.
    pub flow: Flow,
    /// The API, and its mode.
    pub api: Option<(Arc<str>, &'static str)>,
    /// The name of the destination, as far as DNS said it.
    pub name: Option<Host>,
    /// The time of the decision.
    pub time: SystemTime,
    /// The source address that the hook set.
    pub source: Option<IpAddr>,
    /// Whether it was UDP.
    pub udp: bool,
    /// Number of equal decisions.
    pub times: u64,
}

impl From<Decided> for Snapshot {
    fn from(decided: Decided) -> Self {
        let Decided { flow, api, name, time, source, udp, times } = decided;
        Self {
            accepted: time,
            mode: api.as_ref().map(|(_, mode)| *mode),
            api: api.map(|(name, _)| name),
            protocol: udp.then_some("udp"),
            times,
            name,
            // The kernel chooses the port later.
            egress: source.map(|address| SocketAddr::new(address, 0)),
            ..Self::new(flow.id, Some(flow))
        }
    }
}

impl Snapshot {
    pub(super) fn new(id: u64, flow: Option<Flow>) -> Self {
        Self {
            id,
            accepted: SystemTime::now(),
            age: Duration::ZERO,
            flow,
            protocol: None,
            name: None,
            api: None,
            mode: None,
            egress: None,
            upstream: None,
            proxy: None,
            sent: 0,
            received: 0,
            requests: 0,
            times: 1,
        }
    }
}

impl Shared {
    pub(super) fn snapshot(&self) -> Snapshot {
        let snapshot = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.counted(snapshot)
    }

    fn counted(&self, mut snapshot: Snapshot) -> Snapshot {
        snapshot.age = self.started.elapsed();
        snapshot.sent = self.bytes.sent.load(Ordering::Relaxed);
        snapshot.received = self.bytes.received.load(Ordering::Relaxed);
        snapshot.requests = self.bytes.requests.load(Ordering::Relaxed);
        snapshot
    }

    /// Takes the facts of a flow that has ended.
    pub(super) fn take(&self) -> Snapshot {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let (flow, name) = (facts.flow.take(), facts.name.take());
        let (api, proxy) = (facts.api.take(), facts.proxy.take());
        let snapshot = Snapshot { flow, name, api, proxy, ..*facts };
        drop(facts);
        self.counted(snapshot)
    }

    /// Returns the address that the caller asked for, once it is known.
    pub(super) fn destination(&self) -> Option<IpAddr> {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.flow.as_ref().map(|flow| flow.original_dst.0.ip())
    }
}

impl FlowRecord {
    pub(super) fn open(id: u64, telemetry: Arc<Telemetry>) -> Self {
        let facts = Snapshot::new(id, None);
        let shared = Shared { id, bytes: Arc::default(), started: Instant::now(), facts: Mutex::new(facts) };
        Self { shared: Arc::new(shared), telemetry, outcome: Reason::Shutdown.label() }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The number of the flow.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Returns the counters of the flow's bytes.
    pub fn bytes(&self) -> Arc<Bytes> {
        Arc::clone(&self.shared.bytes)
    }

    /// The caller and the original destination.
    pub fn identified(&self, flow: &Flow) {
        self.note(|facts| facts.flow = Some(flow.clone()));
    }

    /// Sets the protocol and the name.
    pub fn detected(&self, protocol: &Protocol) {
        self.note(|facts| {
            facts.protocol = Some(protocol.label());
            facts.name = protocol.authority().cloned();
        });
    }

    /// Sets the API.
    pub fn routed(&self, api: &Arc<str>, mode: &'static str) {
        self.note(|facts| (facts.api, facts.mode) = (Some(Arc::clone(api)), Some(mode)));
    }

    /// Notes that it names a host that no API lists.
    pub fn stranger(&self) {
        self.note(|facts| (facts.api, facts.mode) = (None, Some(STRANGER)));
    }

    /// Sets the addresses of the upstream connection, and the proxy.
    pub fn connected(&self, egress: SocketAddr, upstream: SocketAddr, proxy: Option<&Arc<str>>) {
        self.note(|facts| {
            (facts.egress, facts.upstream) = (Some(egress), Some(upstream));
            facts.proxy = proxy.cloned();
        });
    }

    /// Notes how it ended. Without this it ended with the process.
    pub fn ended(&mut self, outcome: Result<(), Reason>) {
        let is_stranger = self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner).mode == Some(STRANGER);
        self.outcome = match outcome {
            Ok(()) if is_stranger => STRANGER,
            Ok(()) => Reason::OK,
            Err(reason) => reason.label(),
        };
    }

    fn note(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for FlowRecord {
    fn drop(&mut self) {
        self.telemetry.close(&self.shared, self.outcome);
    }
}
