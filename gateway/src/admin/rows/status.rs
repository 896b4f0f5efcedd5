//! The daemon itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fleet::LeaseRow;

/// The state of the running daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The process id of the daemon.
    pub pid: u32,
    /// The version of the daemon.
    pub version: String,
    /// Whether the hooks stay when it stops.
    pub persist: bool,
    /// Whether it serves, and has taken over from any process before it.
    #[serde(default)]
    pub ready: bool,
    /// Whether it ends soon, unless another process takes over before.
    #[serde(default)]
    pub stopping: bool,
    /// The name of its instance (`egret run --instance`).
    #[serde(default)]
    pub instance: Option<String>,
    /// Its mount namespace, as /proc/PID/ns/mnt names it; containers have different ones.
    #[serde(default)]
    pub mount_namespace: String,
    /// Generation of the configuration in force.
    pub generation: u32,
    /// Path of the configuration.
    pub config: PathBuf,
    /// Why the newest change was refused.
    pub config_error: Option<String>,
    /// What is valid in the configuration in force, but may not be what its author meant.
    #[serde(default)]
    pub config_warnings: Vec<String>,
    /// The cgroup whose connections are captured.
    pub cgroup: PathBuf,
    /// Path of the CA's certificate, which exists once an API is intercepted.
    pub ca: PathBuf,
    /// The addresses of the listeners.
    pub listeners: Vec<SocketAddr>,
    /// The number of other network namespaces in which Egret listens, on the same ports.
    #[serde(default)]
    pub namespaces: usize,
    /// The number of running flows.
    pub flows: usize,
    /// The egress addresses and whether they are on the node.
    pub egress: Vec<EgressRow>,
    /// Processes that are finishing their flows.
    pub draining: Vec<Draining>,
    /// How the watch of this node's pods at the Kubernetes API server is getting on; absent where Egret does not ask it.
    #[serde(default)]
    pub kubernetes: Option<KubernetesRow>,
    /// How the renewals of this node's Lease are getting on, where it has one.
    #[serde(default)]
    pub lease: Option<LeaseRow>,
    /// Decisions of the kernel hooks, by reason.
    pub kernel: BTreeMap<String, u64>,
    /// DNS queries and responses, by what became of them; empty while Egret does not forward DNS.
    #[serde(default)]
    pub dns: BTreeMap<String, u64>,
    /// Number of captured connections between `connect` and `accept`.
    pub origins_used: usize,
}

/// An egress address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EgressRow {
    /// The egress address itself.
    pub address: IpAddr,
    /// Whether it is on the node.
    pub present: bool,
}

/// A process that finishes its flows after a take-over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// The id of the process.
    pub pid: u32,
    /// Number of flows that it still carries.
    pub flows: usize,
    /// Seconds until it cuts them.
    pub seconds_left: u64,
}

/// How the watch of this node's pods at the Kubernetes API server is getting on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KubernetesRow {
    /// The address of the API server, once it is known.
    pub server: Option<String>,
    /// The name of the node.
    pub node: String,
    /// `starting`, `watching`, or `away` while the API server does not answer and what it said last holds.
    pub state: String,
    /// Seconds since this state began.
    pub since_seconds: u64,
    /// The number of pods that the API server has described.
    pub pods: usize,
    /// What went wrong, while the API server is away.
    pub error: Option<String>,
}
