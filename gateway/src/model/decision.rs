use std::net::IpAddr;
use std::time::SystemTime;

use super::Origin;

/// A decision of the kernel half about connections that the listener never sees: they were refused, or left directly.
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
    /// Whether it was UDP.
    pub udp: bool,
    /// How many equal decisions this is.
    pub times: u64,
}
