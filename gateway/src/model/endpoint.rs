use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Host};

/// A server that requests may be sent to beside the one that they were for. Its name is in the configuration, as all names
/// that Egret asks for: nothing that a request says leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// TLS with it; in the clear, if absent.
    pub tls: Option<Arc<Backend>>,
}

impl Endpoint {
    /// What speaks to it: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// As in `Host` (RFC 9110 §7.2): its port, where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

/// Servers that do the same, by a name of the configuration's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique.
    pub name: Arc<str>,
    /// At least one.
    pub members: Vec<Member>,
    /// When a member is left alone for a while.
    pub breaker: Option<Breaker>,
    /// How a member is asked whether it is well.
    pub health: Option<Health>,
}

/// One of a service's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// Before the path of each request; without a slash at its end.
    pub base: Arc<str>,
    /// Its share of the requests among members of the same priority: 1 to 1000.
    pub weight: u32,
    /// Members of a higher number get requests only while none of a lower one can.
    pub priority: u32,
}

/// When a member has failed too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many failures...
    pub failures: u32,
    /// ...within this time...
    pub window: Duration,
    /// ...and it gets no requests for so long; then one, which decides. A longer `Retry-After` of its own is kept to.
    pub open: Duration,
    /// Which answers are failures; to give none is one, always.
    pub statuses: Vec<(u16, u16)>,
}

/// How a member is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// With `GET` for this path; an answer of 200 to 399 is a good one.
    pub path: Arc<str>,
    /// How often.
    pub interval: Duration,
    /// Longest wait.
    pub timeout: Duration,
}
