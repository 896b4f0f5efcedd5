//! Connections, requests and who makes them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::Workload;

/// A caller and its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Who it is.
    #[serde(flatten)]
    pub workload: Workload,
    /// The address that it connected to.
    pub original_destination: Option<SocketAddr>,
}

/// One running flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowRow {
    /// Number of the flow.
    pub id: u64,
    /// Who, and to where.
    #[serde(flatten)]
    pub caller: Caller,
    /// What it speaks.
    pub protocol: Option<String>,
    /// The name it asked for.
    pub name: Option<String>,
    /// The name of the API.
    pub api: Option<String>,
    /// The API's mode, or `stranger` for a name that no API lists.
    #[serde(default)]
    pub mode: Option<String>,
    /// Source address and port at the third party.
    pub egress: Option<SocketAddr>,
    /// The third party's address, or that of the proxy on the way to it.
    pub upstream: Option<SocketAddr>,
    /// The proxy's name, if there is one.
    pub proxy: Option<String>,
    /// Bytes from the workload to the third party.
    pub bytes_sent: u64,
    /// Bytes from the third party to the workload.
    pub bytes_received: u64,
    /// How long it has been running.
    pub age_seconds: u64,
}

/// A request that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestRow {
    /// Seconds since 1970.
    pub time: f64,
    /// The number of its flow.
    pub flow: u64,
    /// The API of the request.
    pub api: String,
    /// The operation of the request.
    pub operation: Option<String>,
    /// The workload that called.
    pub workload: String,
    /// The method of the request.
    pub method: String,
    /// Its host and path.
    pub target: String,
    /// Status of the response; 0 if there was none.
    pub status: u16,
    /// `ok`, or the reason why it was refused or failed.
    pub outcome: String,
    /// The policy that refused it.
    pub policy: Option<String>,
    /// What policies in report mode would have done.
    pub reports: Vec<String>,
    /// Messages of `trace` policies.
    #[serde(default)]
    pub traces: Vec<String>,
    /// Microseconds that policies took.
    pub policies_us: u64,
    /// Microseconds until the third party's response began.
    pub upstream_us: u64,
    /// Microseconds until the response began.
    pub first_byte_us: u64,
    /// Microseconds until the response ended.
    pub total_us: u64,
}

/// An owner of workloads, and what its callers did since the start of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadRow {
    /// The caller that connected last.
    pub newest: Caller,
    /// The users of its callers, the newest first.
    pub users: Vec<String>,
    /// What its callers run, where that is known, the newest first.
    pub executables: Vec<String>,
    /// The APIs that its callers used, the newest first.
    pub apis: Vec<WorkloadApi>,
    /// The number of flows, and of connections about which the kernel hooks decided alone.
    pub flows: u64,
    /// Those of them that still run.
    pub running: u64,
    /// Those of them that were refused or broken.
    pub failed: u64,
    /// The number of HTTP requests that Egret saw.
    pub requests: u64,
    /// Bytes sent to third parties.
    pub bytes_sent: u64,
    /// Bytes received from third parties.
    pub bytes_received: u64,
    /// Seconds since the newest flow began.
    pub last_seconds_ago: u64,
}

/// An API that an owner's callers used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadApi {
    /// The name of the API.
    pub api: String,
    /// The number of flows.
    pub flows: u64,
}

/// A workload that does not trust the CA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusalRow {
    /// The name of the workload.
    pub workload: String,
    /// Its newest process that refused.
    pub pid: u32,
    /// The command of the workload.
    pub command: String,
    /// The host that it called.
    pub host: String,
    /// How it refused: the alert that it sent, or that it left at once.
    pub sign: String,
    /// What runs it, as far as it is known.
    pub runtime: Option<String>,
    /// How often it refused.
    pub times: u64,
    /// Seconds since the newest time.
    pub seconds_ago: u64,
    /// Whether its next connection to that host is passed through.
    pub passes: bool,
    /// How many were.
    pub passed: u64,
    /// What makes it trust the CA.
    pub remedy: String,
}
