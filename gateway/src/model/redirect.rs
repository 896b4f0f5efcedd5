use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{ApiId, FailMode, Generation};

/// One row of the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
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
}

/// How often a row of the kernel's table matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    /// The number of connections and datagrams.
    pub hits: u64,
    /// The time since the newest one.
    pub last: Option<Duration>,
}
