use std::fmt;

use ipnet::IpNet;

use super::{FailMode, WorkloadMatch};

/// What happens to connections to destinations that no API lists (`capture.unlisted`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// What happens where no rule says something else.
    pub otherwise: UnlistedClass,
    /// The rules. The first one that selects a workload decides.
    pub rules: Vec<UnlistedRule>,
    /// What happens to denied connections while Egret is not there.
    pub fail: FailMode,
}

/// What happens to connections of some workloads to destinations that no API lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlistedRule {
    /// The workloads that the rule selects.
    pub workloads: Vec<WorkloadMatch>,
    /// What happens to their connections.
    pub class: UnlistedClass,
}

/// An action, and the destinations that it does not concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlistedClass {
    /// What happens to a connection.
    pub action: UnlistedAction,
    /// The destinations that are always reached.
    pub except: Vec<Destinations>,
}

/// What happens to a connection to an unlisted destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnlistedAction {
    /// It passes without a report.
    #[default]
    Allow,
    /// It passes, and is reported.
    Report,
    /// It is refused.
    Deny,
}

/// Addresses, with one port or with all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destinations {
    /// The addresses of the destinations.
    pub net: IpNet,
    /// The port; all if absent.
    pub port: Option<u16>,
}

impl Unlisted {
    /// Returns whether every connection passes without a report.
    pub fn is_off(&self) -> bool {
        self.classes().all(|class| class.action == UnlistedAction::Allow)
    }

    /// Returns the class of workloads that no rule selects, then those of the rules.
    pub fn classes(&self) -> impl Iterator<Item = &UnlistedClass> {
        std::iter::once(&self.otherwise).chain(self.rules.iter().map(|rule| &rule.class))
    }
}

impl Default for Unlisted {
    fn default() -> Self {
        let otherwise = UnlistedClass { action: UnlistedAction::Allow, except: Vec::new() };
        Self { otherwise, rules: Vec::new(), fail: FailMode::Closed }
    }
}

impl UnlistedAction {
    /// The spelling in the configuration and in the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Report => "report",
            Self::Deny => "deny",
        }
    }
}

impl Destinations {
    /// Returns whether an address and port is one of them.
    pub fn contains(&self, address: std::net::IpAddr, port: u16) -> bool {
        self.net.contains(&address) && self.port.is_none_or(|own| own == port)
    }
}

impl fmt::Display for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { net, port } = self;
        let net = if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
        match port {
            None => f.write_str(&net),
            Some(port) if net.contains(':') => write!(f, "[{net}]:{port}"),
            Some(port) => write!(f, "{net}:{port}"),
        }
    }
}

/// The classes of a cgroup, by their number in [`Unlisted::classes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes {
    /// The class of its own processes.
    pub own: usize,
    /// The class of processes in cgroups below it that are not known.
    pub below: usize,
}

/// The index that the origin of a connection to an unlisted destination has in place of an API's.
pub const UNLISTED: super::ApiId = super::ApiId(u32::MAX - 3);
