use std::fmt::Write;
use std::net::IpAddr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::Snapshot;

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    flows: Family<FlowLabels, Counter>,
    bytes: Family<ByteLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlowLabels {
    api: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    api: String,
    direction: &'static str,
}

/// What is read when the metrics are asked for.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Running flows.
    pub flows: usize,
    /// The kernel half's decisions.
    pub kernel: Vec<(&'static str, u64)>,
    /// Egress addresses, and whether they are on the node.
    pub egress: Vec<(IpAddr, bool)>,
    /// The configuration in force.
    pub generation: u32,
    /// Whether the newest change of the configuration was refused.
    pub config_refused: bool,
    /// Captured connections between `connect` and `accept`.
    pub origins: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("egret");
        let (flows, bytes) = (Family::default(), Family::default());
        registry.register("flows", "Flows that have ended, by API and outcome", flows.clone());
        registry.register_with_unit("carried", "Bytes carried by flows that have ended", Unit::Bytes, bytes.clone());
        Self { registry, flows, bytes }
    }
}

impl Metrics {
    pub(super) fn flow(&self, flow: &Snapshot, outcome: &'static str) {
        let api = flow.api.as_ref().map_or_else(|| "none".to_owned(), |(name, _)| name.clone());
        self.flows.get_or_create(&FlowLabels { api: api.clone(), outcome }).inc();
        self.bytes.get_or_create(&ByteLabels { api: api.clone(), direction: "sent" }).inc_by(flow.sent);
        self.bytes.get_or_create(&ByteLabels { api, direction: "received" }).inc_by(flow.received);
    }

    /// In the OpenMetrics text format.
    pub fn text(&self, gauges: &Gauges) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        let mut body = text.trim_end_matches("# EOF\n").to_owned();
        let mut gauge =
            |name: &str, help: &str, kind: &str| writeln!(body, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        gauge("egret_flows_running", "Running flows", "gauge")?;
        writeln!(body, "egret_flows_running {}", gauges.flows)?;
        writeln!(
            body,
            "# HELP egret_config_generation Version of the configuration in force.\n# TYPE egret_config_generation gauge"
        )?;
        writeln!(body, "egret_config_generation {}", gauges.generation)?;
        writeln!(
            body,
            "# HELP egret_config_refused Whether the newest change of the configuration was refused.\n# TYPE egret_config_refused gauge"
        )?;
        writeln!(body, "egret_config_refused {}", u8::from(gauges.config_refused))?;
        writeln!(
            body,
            "# HELP egret_origins_used Captured connections between connect and accept.\n# TYPE egret_origins_used gauge"
        )?;
        writeln!(body, "egret_origins_used {}", gauges.origins)?;
        writeln!(
            body,
            "# HELP egret_egress_address_present Whether an egress address is on the node.\n# TYPE egret_egress_address_present gauge"
        )?;
        for (address, present) in &gauges.egress {
            writeln!(body, "egret_egress_address_present{{address=\"{address}\"}} {}", u8::from(*present))?;
        }
        writeln!(
            body,
            "# HELP egret_kernel_decisions Decisions of the kernel hooks.\n# TYPE egret_kernel_decisions counter"
        )?;
        for (reason, count) in &gauges.kernel {
            writeln!(body, "egret_kernel_decisions_total{{reason=\"{reason}\"}} {count}")?;
        }
        body.push_str("# EOF\n");
        Ok(body)
    }
}
