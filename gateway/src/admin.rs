//! The unix socket that the CLI and the next process talk to: each request and each response is one line of JSON.
//!
//! The socket's mode is 0600, and its peer's credentials (`SO_PEERCRED`, unix(7)) must be root's or the daemon's own user.
//! Field names are those of the CLI's `--output json` and stay stable.

mod client;

mod hand_over;

mod protocol;

mod rows;

mod server;

pub use client::{Client, Error};
pub use hand_over::{Handed, HandedNamespace, HandedNamespaces, Predecessor, Sockets, Successor, take_over};
pub use protocol::{Request, Response};
pub use rows::{
    AllowlistAddress, AllowlistRow, ApiRow, BackendRow, BypassRow, CacheRow, Caller, DecisionRow, DestinationExplained,
    DestinationStep, Draining, EgressRow, Explained, FlowRow, HookRow, HostAddress, HostRow, KubernetesRow, LeaseRow,
    LimitRow, MessageRow, NameRow, NamespaceRow, NodeRow, Question, RedirectRow, RefusalRow, RequestRow, Status,
    StepRow, SubscriptionRow, UnlistedRow, WorkloadApi, WorkloadRow,
};
pub use server::{Handler, MAX_REQUEST, Responding, Server, SocketFile};
