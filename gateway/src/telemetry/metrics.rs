use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::told::Custom;
use super::{Owner, Responses, Snapshot};

/// The counters of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    flows: Family<FlowLabels, Counter>,
    bytes: Family<ByteLabels, Counter>,
    requests: Family<FlowLabels, Counter>,
    reports: Family<ReportLabels, Counter>,
    /// Responses by API.
    responses: Mutex<BTreeMap<Arc<str>, Arc<Responses>>>,
    custom: Custom,
    /// The label of flows without an API.
    none: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowLabels {
    api: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    api: Arc<str>,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    api: Arc<str>,
    policy: &'static str,
    reason: &'static str,
}

/// Values that are read when metrics are requested.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// The number of running flows.
    pub flows: usize,
    /// Decisions of the kernel hooks, by reason.
    pub kernel: Vec<(&'static str, u64)>,
    /// Egress addresses, and whether they are on the node.
    pub egress: Vec<(IpAddr, bool)>,
    /// Generation of the configuration in force.
    pub generation: u32,
    /// Whether the newest change of the configuration was refused.
    pub config_refused: bool,
    /// Number of captured connections between `connect` and `accept`.
    pub origins: usize,
    /// Number of network namespaces in which Egret listens, beside the node's.
    pub namespaces: usize,
    /// How often Egret could not listen in a network namespace, by cause.
    pub namespaces_refused: Vec<(&'static str, u64)>,
    /// Whether the Kubernetes API server tells of changes, and the number of pods that it has described; absent where it is not asked.
    pub kubernetes: Option<(bool, usize)>,
    /// Events about decisions of the kernel hooks that were lost.
    pub lost_events: u64,
    /// Number of stalls of the runtime.
    pub stalls: u64,
    /// Number of lines of the access log that were dropped.
    pub lost_lines: u64,
    /// Lines of the access log that were left out: their owners caused too many.
    pub suppressed_lines: u64,
    /// Bytes of bodies that are held for policies.
    pub buffered_bytes: u64,
    /// Addresses in the newest DNS responses that their hosts may not have.
    pub dns_refused: usize,
    /// Addresses that were dropped because their hosts have too many.
    pub dns_dropped: u64,
    /// DNS queries and responses of callers, by what became of them.
    pub dns: Vec<(&'static str, u64)>,
    /// Connections to captured destinations that do not go through Egret: cause, open ones, all so far.
    pub bypasses: Vec<(&'static str, u64, u64)>,
    /// Rows that the kernel's table has no room for.
    pub rows_left_out: usize,
    /// The owners of workloads that have called, the one that called last first.
    pub owners: Vec<Owner>,
    /// Source ports in use, by egress address and destination.
    pub ports_used: Vec<(IpAddr, SocketAddr, usize)>,
    /// Number of source ports that the kernel may use for connections to one destination.
    pub ports: usize,
    /// When certificates and credentials expire: kind, name, seconds since 1970.
    pub expiries: Vec<(&'static str, String, f64)>,
    /// APIs with `fail: open`, and whether their connections leave from another address than their egress address.
    pub fail_open: Vec<(Arc<str>, bool)>,
    /// What the process uses.
    pub process: Process,
    /// What became of what is sent to a collector, by signal: items sent, items dropped by reason, failed exports.
    pub exports: Vec<Exported>,
}

/// What became of a signal that is sent to a collector.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The name of the signal.
    pub signal: &'static str,
    /// Items that the collector has taken.
    pub sent: u64,
    /// Items that are lost, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Exports that failed, those that were repeated included.
    pub failures: u64,
}

/// What the process uses of the node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// Seconds of processor time.
    pub cpu: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Most file descriptors that it may open.
    pub most_descriptors: u64,
}

/// Number of workloads that metrics show: those that called last. Each of them has seven series.
const WORKLOADS: usize = 200;

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("egret");
        let (flows, bytes, requests, reports) =
            (Family::default(), Family::default(), Family::default(), Family::default());
        registry.register("flows", "Flows that have ended, by API and outcome", flows.clone());
        registry.register_with_unit("carried", "Bytes carried by flows that have ended", Unit::Bytes, bytes.clone());
        let help = "Requests of APIs with policies, by API and outcome";
        registry.register("requests", help, requests.clone());
        let help = "Requests that a policy that only reports would have refused";
        registry.register("policy_reports", help, reports.clone());
        let custom = Custom::default();
        registry.register_collector(Box::new(custom.clone()));
        Self { registry, flows, bytes, requests, reports, responses: Mutex::default(), custom, none: "none".into() }
    }
}

impl Metrics {
    pub(super) fn flow(&self, flow: &Snapshot, outcome: &'static str) {
        let api = Arc::clone(flow.api.as_ref().unwrap_or(&self.none));
        self.flows.get_or_create(&FlowLabels { api: Arc::clone(&api), outcome }).inc();
        self.bytes.get_or_create(&ByteLabels { api: Arc::clone(&api), direction: "sent" }).inc_by(flow.sent);
        self.bytes.get_or_create(&ByteLabels { api, direction: "received" }).inc_by(flow.received);
    }

    /// Counts a request of an API with policies by its outcome.
    pub fn requests(&self, api: &Arc<str>, outcome: &'static str) -> Counter {
        self.requests.get_or_create(&FlowLabels { api: Arc::clone(api), outcome }).clone()
    }

    /// Returns the counters of the responses of an API.
    pub fn responses(&self, api: &Arc<str>) -> Arc<Responses> {
        let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(responses.entry(Arc::clone(api)).or_default())
    }

    /// Counts a request that a policy in report mode would have refused.
    pub fn report(&self, api: &Arc<str>, policy: &'static str, reason: &'static str) {
        self.reports.get_or_create(&ReportLabels { api: Arc::clone(api), policy, reason }).inc();
    }

    /// Returns the counters of `emit-metric` policies.
    pub(super) fn custom(&self) -> &Custom {
        &self.custom
    }

    /// Returns all metrics in the Prometheus text format 0.0.4.
    pub fn text(&self, gauges: &Gauges) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        let mut body = to_prometheus(&text);
        section(&mut body, "egret_flows_running", "gauge", "Running flows", [("", gauges.flows as u64)])?;
        let generation = u64::from(gauges.generation);
        section(&mut body, "egret_config_generation", "gauge", "Version of the configuration", [("", generation)])?;
        let refused = u64::from(gauges.config_refused);
        section(&mut body, "egret_config_refused", "gauge", "Whether the newest change is refused", [("", refused)])?;
        let help = "Captured connections between connect and the listener";
        section(&mut body, "egret_origins_used", "gauge", help, [("", gauges.origins as u64)])?;
        let help = "Network namespaces of callers in which Egret listens, beside the node's";
        section(&mut body, "egret_network_namespaces", "gauge", help, [("", gauges.namespaces as u64)])?;
        let by_cause = gauges.namespaces_refused.iter().map(|row| (format!("{{cause=\"{}\"}}", row.0), row.1));
        let help = "Times that Egret could not listen in a caller's network namespace";
        let by_cause = by_cause.collect::<Vec<_>>();
        section(&mut body, "egret_network_namespaces_refused_total", "counter", help, by_cause)?;
        if let Some((watching, pods)) = gauges.kubernetes {
            let help = "Whether the Kubernetes API server tells of changes of this node's pods";
            section(&mut body, "egret_kubernetes_watching", "gauge", help, [("", u64::from(watching))])?;
            let help = "Pods of this node that the Kubernetes API server has described";
            section(&mut body, "egret_kubernetes_pods", "gauge", help, [("", pods as u64)])?;
        }
        let help = "Events about decisions of the kernel hooks that were lost";
        section(&mut body, "egret_kernel_events_lost_total", "counter", help, [("", gauges.lost_events)])?;
        let help = "Times that the runtime has stalled for more than a second";
        section(&mut body, "egret_runtime_stalls_total", "counter", help, [("", gauges.stalls)])?;
        let help = "Lines of the access log that were lost";
        section(&mut body, "egret_access_log_lost_total", "counter", help, [("", gauges.lost_lines)])?;
        let help = "Lines of the access log about refusals that were left out, beyond the share of their owner";
        section(&mut body, "egret_access_log_suppressed_total", "counter", help, [("", gauges.suppressed_lines)])?;
        let help = "Bytes of bodies that are held for policies";
        section(&mut body, "egret_buffered_bytes", "gauge", help, [("", gauges.buffered_bytes)])?;
        let help = "Addresses in the newest DNS responses that their hosts may not have";
        section(&mut body, "egret_dns_addresses_refused", "gauge", help, [("", gauges.dns_refused as u64)])?;
        let help = "Addresses dropped because their hosts have more than resolver.max_addresses";
        section(&mut body, "egret_dns_addresses_dropped_total", "counter", help, [("", gauges.dns_dropped)])?;
        let dns = gauges.dns.iter().map(|(outcome, count)| (format!("{{outcome=\"{outcome}\"}}"), *count));
        let help = "DNS queries and responses of callers";
        section(&mut body, "egret_dns_forwarder_total", "counter", help, dns)?;
        let by_cause = |value: fn(&(&'static str, u64, u64)) -> u64| {
            gauges.bypasses.iter().map(move |row| (format!("{{cause=\"{}\"}}", row.0), value(row))).collect::<Vec<_>>()
        };
        let help = "Open connections to captured destinations that do not go through Egret";
        section(&mut body, "egret_bypasses_open", "gauge", help, by_cause(|row| row.1))?;
        let help = "Connections to captured destinations that were found not to go through Egret";
        section(&mut body, "egret_bypasses_total", "counter", help, by_cause(|row| row.2))?;
        let help = "Addresses and ports that are not captured because the kernel table is full";
        section(&mut body, "egret_capture_rows_left_out", "gauge", help, [("", gauges.rows_left_out as u64)])?;
        let present = gauges.egress.iter().map(|(ip, there)| (format!("{{address=\"{ip}\"}}"), u64::from(*there)));
        let help = "Whether an egress address is on the node";
        section(&mut body, "egret_egress_address_present", "gauge", help, present)?;
        let decisions = gauges.kernel.iter().map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), *count));
        let help = "Decisions of the kernel hooks";
        section(&mut body, "egret_kernel_decisions_total", "counter", help, decisions)?;
        self.write_responses(&mut body)?;
        write_workloads(&mut body, &gauges.owners)?;
        write_node(&mut body, gauges)?;
        Ok(body)
    }

    fn write_responses(&self, body: &mut String) -> std::fmt::Result {
        let responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (name, help) = ("egret_responses_total", "HTTP responses that have begun, by API and class of status");
        writeln!(body, "# HELP {name} {help}.\n# TYPE {name} counter")?;
        responses.iter().try_for_each(|(api, responses)| responses.write_classes(body, name, api))?;
        let (name, help) = ("egret_response_seconds", "Time from a request to the beginning of its response, by API");
        writeln!(body, "# HELP {name} {help}.\n# TYPE {name} histogram")?;
        responses.iter().try_for_each(|(api, responses)| responses.write_durations(body, name, api))
    }
}

/// Writes what the workloads did that called last. Owners that people call the same are one row.
fn write_workloads(body: &mut String, owners: &[Owner]) -> std::fmt::Result {
    #[derive(Clone, Copy, Default)]
    struct Sums {
        flows: u64,
        failed: u64,
        running: u64,
        requests: u64,
        sent: u64,
        received: u64,
    }
    let mut rows: BTreeMap<String, Sums> = BTreeMap::new();
    for owner in owners.iter().take(WORKLOADS) {
        let sums = rows.entry(escaped(&owner.newest.identity.name)).or_default();
        sums.flows += owner.flows;
        sums.failed += owner.failed;
        sums.running += owner.running;
        sums.requests += owner.requests;
        sums.sent += owner.sent;
        sums.received += owner.received;
    }
    let by_name = |value: fn(&Sums) -> u64| {
        rows.iter().map(|(name, sums)| (format!("{{workload=\"{name}\"}}"), value(sums))).collect::<Vec<_>>()
    };
    let help = "Flows of the workloads that called last, running ones included";
    section(body, "egret_workload_flows_total", "counter", help, by_name(|sums| sums.flows))?;
    let help = "Flows of the workloads that called last that were refused or broken";
    section(body, "egret_workload_failed_total", "counter", help, by_name(|sums| sums.failed))?;
    let help = "Running flows of the workloads that called last";
    section(body, "egret_workload_flows_running", "gauge", help, by_name(|sums| sums.running))?;
    let help = "HTTP requests of the workloads that called last";
    section(body, "egret_workload_requests_total", "counter", help, by_name(|sums| sums.requests))?;
    let bytes = rows.iter().flat_map(|(name, sums)| {
        [("sent", sums.sent), ("received", sums.received)]
            .map(|(direction, bytes)| (format!("{{workload=\"{name}\",direction=\"{direction}\"}}"), bytes))
    });
    let help = "Bytes carried for the workloads that called last, running flows included";
    section(body, "egret_workload_bytes_total", "counter", help, bytes)
}

/// Writes what the node has, and what of it is used.
fn write_node(body: &mut String, gauges: &Gauges) -> std::fmt::Result {
    let used = gauges.ports_used.iter().map(|(address, destination, count)| {
        (format!("{{address=\"{address}\",destination=\"{destination}\"}}"), *count)
    });
    let help = "Source ports of an egress address in use towards a destination, of the destinations with most";
    section(body, "egret_egress_ports_used", "gauge", help, used)?;
    let ports = gauges.egress.iter().map(|(address, _)| (format!("{{address=\"{address}\"}}"), gauges.ports));
    let help = "Source ports of an egress address that the kernel may use towards one destination";
    section(body, "egret_egress_ports_capacity", "gauge", help, ports)?;
    let expiries = gauges
        .expiries
        .iter()
        .map(|(kind, name, time)| (format!("{{kind=\"{kind}\",name=\"{}\"}}", escaped(name)), *time));
    let help = "When a certificate or a credential expires, in seconds since 1970";
    section(body, "egret_expiry_timestamp_seconds", "gauge", help, expiries)?;
    let open = gauges.fail_open.iter().map(|(api, open)| (format!("{{api=\"{api}\"}}"), u64::from(*open)));
    let help = "Whether connections of an API with fail: open leave from another address than its egress address";
    section(body, "egret_fail_open", "gauge", help, open)?;
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    section(body, "egret_build_info", "gauge", "The version of Egret", [(version, 1)])?;
    write_exports(body, &gauges.exports)?;
    let Process { cpu, memory, descriptors, most_descriptors } = gauges.process;
    section(body, "process_cpu_seconds_total", "counter", "Processor time of Egret", [("", cpu)])?;
    section(body, "process_resident_memory_bytes", "gauge", "Memory of Egret", [("", memory)])?;
    section(body, "process_open_fds", "gauge", "Open file descriptors", [("", descriptors)])?;
    section(body, "process_max_fds", "gauge", "Most file descriptors", [("", most_descriptors)])
}

/// Writes what became of what is sent to a collector.
fn write_exports(body: &mut String, exports: &[Exported]) -> std::fmt::Result {
    if exports.is_empty() {
        return Ok(());
    }
    let by_signal = |value: fn(&Exported) -> u64| {
        exports.iter().map(|row| (format!("{{signal=\"{}\"}}", row.signal), value(row))).collect::<Vec<_>>()
    };
    let help = "Data points, spans and log records that the OTLP collector has taken";
    section(body, "egret_otlp_sent_total", "counter", help, by_signal(|row| row.sent))?;
    let help = "Exports to the OTLP collector that failed, those that were repeated included";
    section(body, "egret_otlp_failures_total", "counter", help, by_signal(|row| row.failures))?;
    let dropped = exports.iter().flat_map(|row| {
        let signal = row.signal;
        let by_reason = row.dropped.iter();
        by_reason.map(move |(reason, count)| (format!("{{signal=\"{signal}\",reason=\"{reason}\"}}"), *count))
    });
    let help = "Data points, spans and log records that did not reach the OTLP collector";
    section(body, "egret_otlp_dropped_total", "counter", help, dropped)
}

/// Returns the text as the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn section(
    body: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    rows: impl IntoIterator<Item = (impl Display, impl Display)>,
) -> std::fmt::Result {
    writeln!(body, "# HELP {name} {help}.\n# TYPE {name} {kind}")?;
    rows.into_iter().try_for_each(|(labels, value)| writeln!(body, "{name}{labels} {value}"))
}

/// Converts the library's OpenMetrics text, which leaves `_total` out of the lines that describe a counter.
fn to_prometheus(open_metrics: &str) -> String {
    let mut lines: Vec<_> = open_metrics.lines().map(ToOwned::to_owned).collect();
    lines.retain(|line| line != "# EOF" && !line.starts_with("# UNIT"));
    let counters: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(ToOwned::to_owned))
        .collect();
    for line in lines.iter_mut().filter(|line| line.starts_with('#')) {
        for name in &counters {
            for head in ["# HELP ", "# TYPE "] {
                if let Some(rest) = line.strip_prefix(&format!("{head}{name} ")) {
                    *line = format!("{head}{name}_total {rest}");
                }
            }
        }
    }
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}
