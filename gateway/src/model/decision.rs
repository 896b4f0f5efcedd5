use std::net::IpAddr;
use std::time::SystemTime;

use super::Origin;

/// What the kernel half decided about a connection that the listener never sees: it was refused, or left directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The caller and what it asked for.
    pub origin: Origin,
    /// When it was made.
    pub time: SystemTime,
    /// The spelling of the reason in logs, metrics and the CLI.
    pub reason: &'static str,
    /// Source address that was set, in mode `bind`.
    pub source: Option<IpAddr>,
    /// Whether it was a datagram to the port of QUIC.
    pub quic: bool,
}
