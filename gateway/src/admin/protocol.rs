use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::Workload;

/// A request to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The APIs and their addresses.
    Apis,
    /// The servers of `backends`.
    Backends,
    /// Connections to captured destinations that do not go through Egret.
    Bypasses {
        /// Whether to close them.
        close: bool,
    },
    /// Cached responses and values, most often used first.
    Caches {
        /// Maximum number of rows.
        most: usize,
    },
    /// Recent decisions of the kernel hooks.
    Decisions,
    /// What would be done with a request under the running configuration. Nothing is sent.
    Explain {
        /// The request to explain.
        question: Box<Question>,
        /// Status of the third party's assumed response.
        status: u16,
    },
    /// What happens to connections of a caller to a destination: `HOST`, `HOST:PORT`, `ADDRESS` or `ADDRESS:PORT`.
    ExplainDestination {
        /// The destination to explain.
        destination: String,
        /// The caller that connects there.
        caller: Box<Caller>,
    },
    /// The running flows.
    Flows,
    /// Forget which callers refused the CA.
    ForgetRefusals,
    /// The kernel hooks.
    Hooks,
    /// Names of APIs and their addresses.
    Hosts {
        /// Maximum number of rows.
        most: usize,
    },
    /// Use of limits, most used first.
    Limits {
        /// Maximum number of rows.
        most: usize,
    },
    /// Network namespaces of callers, the newest first.
    Namespaces {
        /// Maximum number of rows.
        most: usize,
    },
    /// Test with a real connection that the hooks work.
    Prove,
    /// The kernel's table.
    Redirects,
    /// Workloads that do not trust the CA.
    Refusals,
    /// Send a request as a caller would, and report what was done.
    Send(Box<Question>),
    /// The requests that have ended after this one; without a number, those from now on. They are kept only while a client asks.
    Requests {
        /// Number of the newest request that the client knows.
        after: Option<u64>,
    },
    /// The daemon itself.
    Status,
    /// Subscriptions and their use.
    Subscriptions,
    /// Destinations that no API lists, newest first.
    Unlisted {
        /// Maximum number of rows.
        most: usize,
    },
    /// Owners of workloads that have called, the one that called last first.
    Workloads {
        /// Maximum number of rows.
        most: usize,
    },
    /// Hand the listening sockets to the asking process, then drain.
    TakeOver {
        /// Kernel ABI version of the asking process.
        abi_version: u32,
        /// Process id of the asking process.
        pid: u32,
    },
}

/// A response of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The response to [`Request::Apis`].
    Apis(Vec<ApiRow>),
    /// The response to [`Request::Backends`].
    Backends(Vec<BackendRow>),
    /// The response to [`Request::Bypasses`].
    Bypasses(Vec<BypassRow>),
    /// The response to [`Request::Caches`].
    Caches {
        /// The rows of the listing.
        rows: Vec<CacheRow>,
        /// Number of rows without the maximum.
        all: usize,
    },
    /// The response to [`Request::Decisions`].
    Decisions(Vec<DecisionRow>),
    /// The request failed, for this reason.
    Error(String),
    /// The response to [`Request::Explain`] and [`Request::Send`].
    Explained(Box<Explained>),
    /// The response to [`Request::ExplainDestination`].
    ExplainedDestination(Box<DestinationExplained>),
    /// The response to [`Request::Flows`].
    Flows(Vec<FlowRow>),
    /// To [`Request::ForgetRefusals`]: the number of refusals.
    Forgotten(usize),
    /// The response to [`Request::Hosts`].
    Hosts {
        /// The rows of the listing.
        rows: Vec<HostRow>,
        /// Number of rows without the maximum.
        all: usize,
    },
    /// The response to [`Request::Hooks`].
    Hooks(Vec<HookRow>),
    /// The response to [`Request::Limits`].
    Limits {
        /// The rows of the listing.
        rows: Vec<LimitRow>,
        /// Number of rows without the maximum.
        all: usize,
    },
    /// The response to [`Request::Namespaces`].
    Namespaces {
        /// The rows of the listing.
        rows: Vec<NamespaceRow>,
        /// Number of rows without the maximum.
        all: usize,
    },
    /// To [`Request::Prove`]: the hooks work.
    Proved,
    /// The response to [`Request::Redirects`].
    Redirects(Vec<RedirectRow>),
    /// The response to [`Request::Refusals`].
    Refusals(Vec<RefusalRow>),
    /// The response to [`Request::Requests`].
    Requests {
        /// The requests, oldest first.
        rows: Vec<RequestRow>,
        /// The number to ask with next time.
        newest: u64,
    },
    /// The response to [`Request::Subscriptions`].
    Subscriptions(Vec<SubscriptionRow>),
    /// The response to [`Request::Unlisted`].
    Unlisted {
        /// The rows of the listing.
        rows: Vec<UnlistedRow>,
        /// Number of rows without the maximum.
        all: usize,
    },
    /// The response to [`Request::Status`].
    Status(Box<Status>),
    /// The response to [`Request::Workloads`].
    Workloads {
        /// The rows of the listing.
        rows: Vec<WorkloadRow>,
        /// Number of rows without the maximum.
        all: usize,
    },
}

/// A request to explain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its URL, with scheme and host.
    pub url: String,
    /// Its method. Default: GET, or POST if it has a body.
    pub method: Option<String>,
    /// Its header fields, except `Host` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// Its body, in Base64 (RFC 4648 §4).
    pub body: Option<String>,
    /// The assumed caller, and the address that it connects to.
    pub caller: Caller,
}

/// What was or would be done with a request. Secrets are masked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Explained {
    /// The name of the API.
    pub api: Option<String>,
    /// The API's mode.
    pub mode: Option<String>,
    /// The operation of the API.
    pub operation: Option<String>,
    /// The parameters in the path.
    pub parameters: BTreeMap<String, String>,
    /// The subscription and the product.
    pub subscription: Option<String>,
    /// The API's egress addresses.
    pub leaves_from: Vec<IpAddr>,
    /// The proxy, and its address.
    pub through: Option<String>,
    /// The source address, if the request was sent.
    pub left_from: Option<SocketAddr>,
    /// The address that it was sent to, the third party's or the proxy's.
    pub went_to: Option<SocketAddr>,
    /// What each policy did, in order.
    pub steps: Vec<StepRow>,
    /// The request that the third party gets.
    pub sent: Option<MessageRow>,
    /// The response that the caller gets.
    pub answered: Option<MessageRow>,
    /// A remark on the result.
    pub note: Option<String>,
}

/// What one policy did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRow {
    /// `inbound`, `backend`, `outbound` or `on-error`.
    pub section: String,
    /// The scope of the policy.
    pub scope: String,
    /// The name of the policy.
    pub policy: String,
    /// The id that the configuration gives it.
    pub id: Option<String>,
    /// Whether it is in report mode.
    pub report: bool,
    /// What it did.
    pub did: String,
}

/// A request or a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageRow {
    /// Method and target, or status.
    pub start: String,
    /// The header fields of the message.
    pub headers: Vec<(String, String)>,
    /// Its body, if it is known and no secret.
    pub body: Option<String>,
    /// Whether the body is cut.
    pub cut: bool,
}

/// A server of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendRow {
    /// The backend to which the server belongs.
    pub backend: String,
    /// The address of the server.
    pub member: String,
    /// State of the circuit breaker: `closed` (requests are sent), `open` (none is sent) or `half-open` (one is sent as a test).
    pub breaker: String,
    /// Seconds until the breaker allows a request.
    pub open_for_seconds: f64,
    /// Why its health check fails, if it does.
    pub ill: Option<String>,
    /// Number of requests sent to it.
    pub requests: u64,
    /// Number of those that failed.
    pub failed: u64,
}

/// A subscription and how often it is used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubscriptionRow {
    /// The name of the subscription.
    pub subscription: String,
    /// The product of the subscription.
    pub product: String,
    /// The APIs in it.
    pub apis: Vec<String>,
    /// Number of requests since the process started.
    pub requests: u64,
    /// Seconds since the newest request.
    pub last_seconds_ago: Option<u64>,
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

/// A caller and its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Who it is.
    #[serde(flatten)]
    pub workload: Workload,
    /// The address that it connected to.
    pub original_destination: Option<SocketAddr>,
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

/// What was used of a limit, by one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LimitRow {
    /// `rate-limit`, `quota` or `limit-concurrency`.
    pub kind: String,
    /// The scope of the policy.
    pub scope: String,
    /// The id that the configuration gives it.
    pub id: Option<String>,
    /// The expression by which it counts.
    pub by: Option<String>,
    /// What that came to.
    pub key: String,
    /// How many calls, or requests at the moment.
    pub used: u64,
    /// How many there may be, once that is known.
    pub limit: Option<u64>,
    /// When the next one is given back, if time does that.
    pub more_in_seconds: Option<f64>,
    /// Whether other nodes count with this one.
    #[serde(default)]
    pub shared: bool,
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

/// What happens to connections to a destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationExplained {
    /// What decides, in order.
    pub steps: Vec<DestinationStep>,
    /// What happens to the connection.
    pub verdict: String,
    /// The generation of the configuration in force; absent where no gateway was asked.
    pub generation: Option<u32>,
}

/// A step of a decision about connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationStep {
    /// What is looked at.
    pub what: String,
    /// What was found.
    pub found: String,
    /// The key of the configuration that decides it.
    pub key: Option<String>,
    /// The file and line of the key; absent where its default holds.
    pub at: Option<String>,
}

/// A name of an API, and what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRow {
    /// The host name in lower case.
    pub name: String,
    /// The API that lists it, by its name or by a wildcard; absent for servers that Egret itself uses.
    pub api: Option<String>,
    /// `resolved` by Egret, `seen` in a caller's DNS response, or `seen_untrusted`: seen, but its server is not trusted.
    pub learnt: String,
    /// Whose connections to its addresses are captured: `everybody`, or `owner` for those of the owner alone.
    #[serde(default)]
    pub scope: String,
    /// The owner whose DNS response it was.
    pub owner: Option<String>,
    /// Its addresses, with the seconds until each is looked up again (`resolved`) or forgotten (`seen`).
    pub addresses: Vec<HostAddress>,
    /// Why Egret could not resolve it the last time.
    pub error: Option<String>,
}

/// An address of a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostAddress {
    /// The address of the name.
    pub address: IpAddr,
    /// Seconds until it is looked up again, or forgotten.
    pub ttl_seconds: Option<u64>,
    /// Running flows whose callers connected to it.
    pub flows: usize,
}

/// An answer, or a value, that policies have kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheRow {
    /// Whose answer it is; absent for a value.
    pub api: Option<String>,
    /// The request that it answers, with secrets masked, or the key of a value.
    pub key: String,
    /// The headers of the request by which answers to it differ.
    pub varies: Vec<String>,
    /// Of an answer.
    pub status: Option<u16>,
    /// Of its body, or of the value.
    pub bytes: usize,
    /// Since it came.
    pub age_seconds: Option<u64>,
    /// For how long it will be; 0 if it is no longer.
    pub fresh_for_seconds: u64,
    /// How often it was given.
    pub hits: Option<u64>,
}

/// An API and its hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiRow {
    /// The name of the API.
    pub name: String,
    /// Its hosts, with what resolution says of them.
    pub hosts: Vec<NameRow>,
    /// The ports that are captured.
    pub ports: Vec<u16>,
    /// The mode of the API.
    pub mode: String,
    /// Its fail mode.
    pub fail: String,
    /// The workloads that it is for, and what happens to others; absent where it is for all.
    #[serde(default)]
    pub workloads: Option<String>,
    /// What happens to connections to its addresses that name another host: `carry` or `refuse`.
    #[serde(default)]
    pub strangers: String,
    /// Where it leaves from.
    pub egress: Vec<IpAddr>,
    /// The proxy, and its address.
    pub proxy: Option<String>,
}

/// A listed host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NameRow {
    /// The host name itself.
    pub name: String,
    /// Its addresses, current first.
    pub addresses: Vec<IpAddr>,
    /// The addresses in the newest DNS response that it may not have, and why.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Why it could not be resolved the last time.
    pub error: Option<String>,
    /// The number of names below a wildcard that DNS responses to callers have taught.
    #[serde(default)]
    pub learnt: usize,
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
    /// Decisions of the kernel hooks, by reason.
    pub kernel: BTreeMap<String, u64>,
    /// DNS queries and responses, by what became of them; empty while Egret does not forward DNS.
    #[serde(default)]
    pub dns: BTreeMap<String, u64>,
    /// Number of captured connections between `connect` and `accept`.
    pub origins_used: usize,
}
