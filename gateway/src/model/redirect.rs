use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{ApiId, FailMode, Generation};

/// The callers that something holds for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// It holds for all callers.
    #[default]
    Everybody,
    /// It holds for the callers of one owner, by the id of its cgroup. They are in it or below it.
    Owner(u64),
}

/// One row of the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The callers whose connections it is for.
    pub scope: Scope,
    /// Captured TCP destination, canonical (no `::ffff:`).
    pub destination: SocketAddr,
    /// What happens to a connection there.
    pub action: Action,
    /// What happens while Egret is not there.
    pub fail: FailMode,
    /// The API it is for; where several share the address, the first in the configuration.
    pub api: ApiId,
    /// The configuration that wants it.
    pub generation: Generation,
}

/// The kernel's verdicts on a captured connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set this source address and let it go.
    Bind(IpAddr),
    /// Refuse the connection.
    Deny,
    /// Send it to the listener.
    Redirect,
    /// Do what the row of the caller's owner says, and nothing if it has none.
    Scoped,
}

/// How often a row of the kernel's table matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    /// The number of connections and datagrams.
    pub hits: u64,
    /// The time since the newest one.
    pub last: Option<Duration>,
}
