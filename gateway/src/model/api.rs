use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{CounterStore, Egress, Host, KeySet, NamedValue, Policies, Proxy, Rules, Secret, Service};

/// Version of the compiled configuration; rises by one with every accepted change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Index of an API in [`Model::apis`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiId(pub u32);

/// The compiled configuration. Immutable; a connection keeps the one it started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Which version this is.
    pub generation: Generation,
    /// The way out of APIs that have none of their own.
    pub egress: Egress,
    /// The third parties, in the order of the configuration; [`ApiId`] is the index.
    pub apis: Vec<Api>,
    /// What policies' templates name.
    pub values: Vec<Arc<NamedValue>>,
    /// Servers that `set-backend` names.
    pub backends: Vec<Arc<Service>>,
    /// Where limits are counted that nodes share.
    pub counters: Option<Arc<CounterStore>>,
    /// What policies check signatures with.
    pub keys: Vec<Arc<KeySet>>,
    /// What a caller may use up.
    pub limits: Limits,
    /// How long flows may go on when the process is replaced or stopped.
    pub drain: Drain,
    /// What is valid, but may not be what its author meant; each with file, line and remedy.
    pub warnings: Vec<String>,
}

impl Model {
    /// The API with this index in this generation.
    pub fn api(&self, id: ApiId) -> Option<&Api> {
        self.apis.get(id.0 as usize)
    }

    /// The API that lists this host, and its index.
    pub fn api_of(&self, host: &Host) -> Option<(ApiId, &Api)> {
        (0..).map(ApiId).zip(&self.apis).find(|(_, api)| api.hosts.contains(host))
    }

    /// The names that Egret must know the addresses of: those of the third parties, of proxies on the way to them, and those
    /// that policies send to.
    pub fn hosts(&self) -> BTreeSet<Host> {
        let mut hosts: BTreeSet<_> = self.apis.iter().flat_map(|api| &api.hosts).cloned().collect();
        let lists = self.apis.iter().filter_map(|api| api.rules.as_deref()).flat_map(Rules::each);
        let members = self.backends.iter().flat_map(|service| &service.members);
        hosts.extend(members.map(|member| member.endpoint.host.clone()));
        hosts.extend(self.proxies().filter_map(|proxy| proxy.at.name().cloned()));
        hosts.extend(self.counters.iter().map(|counters| counters.endpoint.host.clone()));
        for policy in lists.flat_map(Policies::sections).flatten() {
            policy.statement.each_endpoint(&mut |endpoint| {
                hosts.insert(endpoint.host.clone());
            });
        }
        hosts
    }

    /// Whether another configuration has the same rules for the connections of an API of this one.
    pub fn same_rules(&self, id: ApiId, other: &Self) -> bool {
        let Some(api) = self.api(id) else { return false };
        let same = other.apis.iter().find(|other| other.name == api.name);
        // Policies are looked up for each request; that there are any is a matter of the connection.
        let but_for_policies = |api: &Api| Api { rules: None, ..api.clone() };
        same.is_some_and(|same| {
            same.rules.is_some() == api.rules.is_some()
                && but_for_policies(same) == but_for_policies(api)
                && other.egress_of(same) == self.egress_of(api)
        })
    }

    /// The proxies that something leaves through.
    fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        let all = self.apis.iter().filter_map(|api| api.egress.as_ref()).chain([&self.egress]);
        all.filter_map(|egress| egress.proxy.as_deref())
    }

    /// How flows of this API leave.
    pub fn egress_of<'a>(&'a self, api: &'a Api) -> &'a Egress {
        api.egress.as_ref().unwrap_or(&self.egress)
    }
}

/// A third party named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Unique name.
    pub name: Arc<str>,
    /// Exact host names.
    pub hosts: Vec<Host>,
    /// Captured TCP ports.
    pub ports: Vec<u16>,
    /// Those of `ports` that carry bytes without looking at them.
    pub opaque_ports: Vec<u16>,
    /// What happens to its connections.
    pub mode: Mode,
    /// What happens to them while Egret is not there.
    pub fail: FailMode,
    /// A way out of its own.
    pub egress: Option<Egress>,
    /// How Egret speaks TLS with it: for plain HTTP of its callers, which goes on as it came without this, and in mode
    /// `intercept`.
    pub backend: Option<Arc<Backend>>,
    /// Connections to it.
    pub pool: Pool,
    /// What happens to callers that do not trust the CA, in mode `intercept`.
    pub on_refusal: OnRefusal,
    /// What is done with its requests; nothing, if absent.
    pub rules: Option<Arc<Rules>>,
}

/// The third party's side where Egret speaks TLS with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its port for what came as plain HTTP (TLS origination).
    pub port: u16,
    /// Authorities that may vouch for it, beside the system's; DER.
    pub authorities: Vec<Vec<u8>>,
    /// What Egret shows to it (mTLS).
    pub client: Option<Arc<ClientCertificate>>,
    /// The keys of which its certificate must have one; any, if there are none.
    pub pins: Vec<Pin>,
    /// Least version of TLS.
    pub min_tls: TlsVersion,
}

/// Connections to a third party, which requests use one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How many are kept without a request.
    pub idle: usize,
    /// Whether workloads never share one.
    pub isolate_workloads: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self { idle: 64, isolate_workloads: false }
    }
}

/// SHA-256 of a SubjectPublicKeyInfo (RFC 7469 §2.4).
pub type Pin = [u8; 32];

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// A certificate that Egret shows.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate first; DER.
    pub chain: Vec<Vec<u8>>,
    /// Its private key; DER.
    pub key: Secret,
}

impl Default for Backend {
    fn default() -> Self {
        Self { port: 443, authorities: Vec::new(), client: None, pins: Vec::new(), min_tls: TlsVersion::V1_2 }
    }
}

/// What happens to an API's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The kernel sets the source address; no proxy hop.
    Bind,
    /// Refused.
    Deny,
    /// TLS ends at the proxy, which speaks its own to the third party: what is said can be seen.
    Intercept,
    /// Carried by the proxy; TLS is left as it is.
    Passthrough,
}

impl Mode {
    /// The spelling in configuration, logs and the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Deny => "deny",
            Self::Intercept => "intercept",
            Self::Passthrough => "passthrough",
        }
    }
}

/// What happens to a workload that does not trust the CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefusal {
    /// It gets no connection.
    #[default]
    Fail,
    /// Its next connections to that host are carried as in mode `passthrough`.
    Passthrough,
}

/// What happens to an API's connections while Egret, or its egress IP, is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailMode {
    /// Refused at once.
    Closed,
    /// Left directly, from whichever address the node chooses.
    Open,
}

impl FailMode {
    /// The spelling in configuration, logs and the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// How long flows may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// After another process took over.
    pub hand_over: Duration,
    /// After SIGINT or SIGTERM.
    pub stop: Duration,
}

/// What a caller may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request of HTTP/1.1 to the end of its head.
    pub request_head: Duration,
    /// Silence on a connection.
    pub idle: Option<Duration>,
    /// Life of a connection.
    pub total: Option<Duration>,
    /// Connections at once of a workload.
    pub connections_per_workload: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_head: Duration::from_secs(30), idle: None, total: None, connections_per_workload: None }
    }
}
