use serde::{Deserialize, Serialize};

use super::rows::{
    AllowlistRow, ApiRow, BackendRow, BypassRow, CacheRow, Caller, DecisionRow, DestinationExplained, Explained,
    FlowRow, HookRow, HostRow, LimitRow, NamespaceRow, NodeRow, Question, RedirectRow, RefusalRow, RequestRow, Status,
    SubscriptionRow, UnlistedRow, WorkloadRow,
};

/// A request to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The addresses that each third party must list, of all nodes.
    Allowlist,
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
    /// The nodes that run Egret.
    Fleet,
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
    /// The response to [`Request::Allowlist`].
    Allowlist {
        /// The rows of the listing.
        rows: Vec<AllowlistRow>,
        /// What may be missing in it, and why.
        notes: Vec<String>,
    },
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
    /// The response to [`Request::Fleet`].
    Fleet(Vec<NodeRow>),
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
