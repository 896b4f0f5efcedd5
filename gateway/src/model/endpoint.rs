use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Backend, Host};

/// A server that Egret sends requests to, in addition to the third party that a request is for. The configuration contains its
/// name: no request decides where Egret connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The name of the server.
    pub host: Host,
    /// The port of the server.
    pub port: u16,
    /// The settings of TLS with it; requests are sent without TLS where this is absent.
    pub tls: Option<Arc<Backend>>,
}

impl Endpoint {
    /// Returns the URL scheme of the server: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Returns the value of `Host` (RFC 9110 §7.2): the name, and the port where it is not the scheme's default.
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

/// A named group of servers that offer the same service (`backends`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The unique name of the group.
    pub name: Arc<str>,
    /// The servers of the group, at least one.
    pub members: Vec<Member>,
    /// The circuit breaker of each member, if there is one.
    pub breaker: Option<Breaker>,
    /// The health check of each member, if there is one.
    pub health: Option<Health>,
}

/// One of a service's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The server itself.
    pub endpoint: Arc<Endpoint>,
    /// The path that precedes the path of each request, without a slash at its end.
    pub base: Arc<str>,
    /// Its share of the requests among members of the same priority: 1 to 1000.
    pub weight: u32,
    /// Members of a higher number get requests only while none of a lower one can.
    pub priority: u32,
}

/// A circuit breaker: when a member gets no requests because it has failed too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// The number of failures that opens the breaker.
    pub failures: u32,
    /// The time within which failures are counted.
    pub window: Duration,
    /// How long the member gets no requests; then one request decides. A longer `Retry-After` of the member takes precedence.
    pub open: Duration,
    /// The ranges of response statuses that are failures. No response is always a failure.
    pub statuses: Vec<(u16, u16)>,
}

/// A health check of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The path of the `GET` request; a response with a status from 200 to 399 means healthy.
    pub path: Arc<str>,
    /// The time between two checks.
    pub interval: Duration,
    /// The longest wait for a response.
    pub timeout: Duration,
}
