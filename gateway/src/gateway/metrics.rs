//! Collects the values of metrics that are read when somebody asks for them.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;

use super::admin_state::AdminState;
use super::egress::all_egress;
use super::expiries::expiries;
use super::heartbeat::Runtime;
use crate::capture;
use crate::kubernetes::State;
use crate::model::{FailMode, Model};
use crate::telemetry::{Gauges, Process, Telemetry};

/// Most destinations whose use of source ports is a metric: those that use most.
const DESTINATIONS: usize = 20;

/// What metrics are made of.
pub(super) struct Scraped {
    pub(super) state: Arc<AdminState>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) runtime: Arc<Runtime>,
    pub(super) left_out: Arc<AtomicUsize>,
}

impl Scraped {
    /// Returns all metrics as text. It blocks: it reads files, and asks the kernel for its sockets.
    pub(super) fn text(&self) -> String {
        let Self { state, telemetry, runtime, left_out } = self;
        let model = state.models.current();
        let addresses = all_egress(&model);
        let gauges = Gauges {
            flows: telemetry.running(),
            kernel: state.capture.counters(),
            egress: addresses.iter().map(|address| (*address, state.node.has(*address))).collect(),
            generation: model.generation.0,
            config_refused: state.config_error.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
            origins: state.capture.origins_used(),
            namespaces: state.namespaces.count(),
            namespaces_refused: state.namespaces.refusals(),
            kubernetes: state.kubernetes.as_ref().map(|pods| (pods.status().state == State::Watching, pods.count())),
            lost_events: state.capture.events_lost(),
            stalls: runtime.stalls(),
            lost_lines: telemetry.lost_lines(),
            suppressed_lines: telemetry.suppressed_lines(),
            buffered_bytes: state.connection.buffers.used(),
            dns_refused: state.names.status().iter().map(|name| name.refused.len()).sum(),
            dns_dropped: state.names.dropped(),
            dns: state.dns_counters().collect(),
            bypasses: state.bypasses.counted().into_iter().map(|found| (found.cause, found.open, found.all)).collect(),
            rows_left_out: left_out.load(Ordering::Relaxed),
            owners: telemetry.owners(),
            ports_used: self.ports_used(|address| addresses.contains(&address)),
            ports: capture::ports().unwrap_or_default(),
            expiries: expiries(&model, &state.connection.leaves, &state.ca),
            fail_open: fail_open(&model, |address| state.node.has(address)),
            process: process(),
            exports: telemetry.exports().counts(),
        };
        telemetry.metrics().text(&gauges).unwrap_or_else(|error| format!("# {error}\n"))
    }

    fn ports_used(&self, addresses: impl Fn(IpAddr) -> bool) -> Vec<(IpAddr, SocketAddr, usize)> {
        self.state.capture.ports_used(addresses, DESTINATIONS).unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot count the source ports in use");
            Vec::new()
        })
    }
}

/// Returns the APIs with `fail: open`, and whether an egress address of theirs is not on the node.
fn fail_open(model: &Model, on_node: impl Fn(IpAddr) -> bool) -> Vec<(Arc<str>, bool)> {
    let open = model.apis.iter().filter(|api| api.fail == FailMode::Open);
    open.map(|api| {
        let is_gone = model.egress_of(api).addresses.iter().any(|address| !on_node(*address));
        (Arc::clone(&api.name), is_gone)
    })
    .collect()
}

fn process() -> Process {
    let cpu = getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    });
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Process {
        cpu: cpu.as_secs_f64(),
        memory: resident.unwrap_or(0_u64) * 1024,
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64),
        most_descriptors: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
    }
}
