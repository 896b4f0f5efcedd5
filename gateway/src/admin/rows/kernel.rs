//! What the kernel knows and decides.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::calls::Caller;

/// One row of the kernel's table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedirectRow {
    /// The listed name that has this address; absent for an address that no name has any more.
    pub host: Option<String>,
    /// The address that is captured.
    pub address: IpAddr,
    /// Captured TCP port.
    pub port: u16,
    /// The name of the API.
    pub api: String,
    /// The owner whose callers alone it is for, because its DNS server is not trusted; absent where it is for all callers.
    #[serde(default)]
    pub owner: Option<String>,
    /// What the kernel does: `redirect`, `bind` or `deny`.
    pub action: String,
    /// The API's mode.
    pub mode: String,
    /// The API's fail mode.
    pub fail: String,
    /// Number of connections and datagrams that matched.
    pub hits: u64,
    /// Seconds since the newest match.
    pub last_hit_seconds_ago: Option<u64>,
    /// Generation of the configuration that wants the row.
    pub generation: u32,
}

/// A decision of the kernel hooks about a connection that did not reach the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionRow {
    /// Number of the flow.
    pub id: u64,
    /// Seconds since then.
    pub seconds_ago: u64,
    /// What was decided, and why.
    pub reason: String,
    /// Who, and to where.
    #[serde(flatten)]
    pub caller: Caller,
    /// `udp` for a datagram.
    pub protocol: Option<String>,
    /// The name of the API.
    pub api: Option<String>,
    /// Source address that was set, in mode `bind`.
    pub egress: Option<IpAddr>,
    /// How many equal decisions this is: of one caller, API and reason, within a second.
    pub times: u64,
}

/// Connections of one workload to a destination that no API lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnlistedRow {
    /// What the kernel hooks decided: `unlisted_denied`, `unlisted_reported` or `unlisted_gone_open`.
    pub reason: String,
    /// The caller of the newest one, and to where.
    #[serde(flatten)]
    pub caller: Caller,
    /// The name of the destination, as DNS responses to this owner say.
    pub name: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Number of connections, and of datagrams without a connection.
    pub times: u64,
    /// Seconds since the first one.
    pub first_seconds_ago: u64,
    /// Seconds since the newest one.
    pub last_seconds_ago: u64,
}

/// A connection to a captured destination that does not go through Egret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BypassRow {
    /// Why: `older` than this process of Egret; `address_not_known` when it was opened; or the reason for which the kernel hooks let
    /// it pass, such as `gateway_gone_open`.
    pub cause: String,
    /// The API that captures new connections to this destination.
    pub api: Option<String>,
    /// Who, and to where. The process and its command are known where the kernel hooks have seen the connection.
    #[serde(flatten)]
    pub caller: Caller,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Source address and port.
    pub local: SocketAddr,
    /// Number of the network namespace, as /proc/PID/ns/net names it.
    pub network_namespace: u64,
    /// What to do about it.
    pub remedy: String,
    /// Whether it was closed now.
    pub closed: bool,
    /// The reason why it could not be closed.
    pub error: Option<String>,
}

/// A network namespace of callers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Number of the network namespace, as /proc/PID/ns/net names it.
    pub network_namespace: Option<u64>,
    /// `served`, or `refused` where Egret cannot listen; its callers follow each API's fail mode then.
    pub state: String,
    /// The owner of the caller that came first, and the process id of that caller.
    #[serde(flatten)]
    pub caller: Caller,
    /// Where Egret listens there.
    pub listeners: Vec<SocketAddr>,
    /// Number of connections that Egret has accepted there.
    pub connections: u64,
    /// Number of times that Egret could not listen there.
    pub refusals: u64,
    /// Seconds since Egret listens there, or cannot.
    pub age_seconds: u64,
    /// Why Egret does not listen there.
    pub cause: Option<String>,
    /// The error that this cause is read from.
    pub error: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// One kernel hook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookRow {
    /// The name of the hook.
    pub hook: String,
    /// The cgroup it is attached to.
    pub attached_to: PathBuf,
    /// Where its link is pinned.
    pub pinned: Option<PathBuf>,
    /// The kernel's id of the program.
    pub program: u32,
    /// Number of runs while the kernel kept statistics (`kernel.bpf_stats_enabled`).
    pub runs: u64,
    /// Total nanoseconds of these runs.
    pub run_nanoseconds: u64,
}
