use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{
    Audience, CarriedPolicies, CounterStore, Egress, Host, KeySet, Listing, NamedValue, Otlp, Proxy, Reach, Rules,
    Secret, Service, Unlisted, Wildcard, WorkloadMatch,
};

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
    /// The version of this configuration.
    pub generation: Generation,
    /// The egress settings of APIs that have none of their own.
    pub egress: Egress,
    /// The third parties, in the order of the configuration; [`ApiId`] is the index.
    pub apis: Vec<Api>,
    /// The named values that templates of policies use.
    pub values: Vec<Arc<NamedValue>>,
    /// Servers that `set-backend` names.
    pub backends: Vec<Arc<Service>>,
    /// The server that counts limits for all nodes.
    pub counters: Option<Arc<CounterStore>>,
    /// Where metrics, traces and logs are sent.
    pub otlp: Option<Arc<Otlp>>,
    /// The key sets that policies check signatures with.
    pub keys: Vec<Arc<KeySet>>,
    /// What happens to connections that no API lists.
    pub unlisted: Unlisted,
    /// The bounds on what callers may use.
    pub limits: Limits,
    /// How long flows may go on when the process is replaced or stopped.
    pub drain: Drain,
    /// Findings that are valid but may not be what the author meant; each names file, line and remedy.
    pub warnings: Vec<String>,
}

impl Model {
    /// Returns the API with this index in this generation.
    pub fn api(&self, id: ApiId) -> Option<&Api> {
        self.apis.get(id.0 as usize)
    }

    /// Returns the API that lists this host with this port, and its index. The host itself goes before a wildcard, and a wildcard
    /// of a longer domain before one of a shorter.
    pub fn listing(&self, host: &Host, port: u16) -> Option<(ApiId, &Api)> {
        self.most_exact(host, |api| api.ports.contains(&port))
    }

    /// Returns the API that keeps bytes of another API, which Egret carries unseen, from an address with names of these listings: what is
    /// inside of them could be for itself, past its policies. It has policies, or is intercepted, and refuses strangers.
    pub fn guard(&self, carried: &Api, port: u16, there: &[Listing]) -> Option<&Api> {
        self.guards(carried, port, there).next()
    }

    /// Returns all such APIs.
    pub fn guards<'a, 'b>(
        &'a self,
        carried: &'b Api,
        port: u16,
        there: &'b [Listing],
    ) -> impl Iterator<Item = &'a Api> + use<'a, 'b> {
        let is_there = move |api: &Api| api.ports.contains(&port) && there.iter().any(|listing| api.has(listing));
        self.apis.iter().filter(move |api| api.guards_addresses() && api.name != carried.name && is_there(api))
    }

    /// Returns the API that lists this host with any port, and its index.
    pub fn api_of(&self, host: &Host) -> Option<(ApiId, &Api)> {
        self.most_exact(host, |_| true)
    }

    fn most_exact(&self, host: &Host, may: impl Fn(&Api) -> bool) -> Option<(ApiId, &Api)> {
        let exactness = |(id, api): (ApiId, &'_ Api)| Some((id, api.exactness(host)?));
        let listed = (0..).map(ApiId).zip(&self.apis).filter(|(_, api)| may(api)).filter_map(exactness);
        // The first one of the most exact.
        let (id, _) = listed.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        Some((id, self.api(id)?))
    }

    /// Returns the names that Egret must know the addresses of, and which addresses each may have: the hosts of third parties, and
    /// the servers that the configuration names (proxies, backends, counters, the collector, and those that policies send to).
    pub fn hosts(&self) -> BTreeMap<Host, Reach> {
        let mut hosts: BTreeMap<Host, Reach> = BTreeMap::new();
        for (host, api) in self.apis.iter().flat_map(|api| api.hosts.iter().map(move |host| (host, api))) {
            let reach = hosts.entry(host.clone()).or_insert_with(|| Reach::Public(Vec::new()));
            if let Reach::Public(allowed) = reach {
                allowed.extend_from_slice(&api.allow_addresses);
            }
        }
        let mut own = |host: &Host| {
            hosts.entry(host.clone()).or_insert(Reach::Own);
        };
        self.backends.iter().flat_map(|service| &service.members).for_each(|member| own(&member.endpoint.host));
        self.proxies().filter_map(|proxy| proxy.at.name()).for_each(&mut own);
        self.counters.iter().for_each(|counters| own(&counters.endpoint.host));
        self.otlp.iter().for_each(|otlp| own(&otlp.endpoint.host));
        let lists = self.apis.iter().filter_map(|api| api.rules.as_deref()).flat_map(Rules::each);
        for policies in lists.filter_map(CarriedPolicies::get) {
            policies.each_endpoint(&mut |endpoint| own(&endpoint.host));
        }
        hosts
    }

    /// Returns whether another configuration has the same rules for the connections of this API.
    pub fn same_rules(&self, id: ApiId, other: &Self) -> bool {
        let Some(api) = self.api(id) else { return false };
        let same = other.apis.iter().find(|other| other.name == api.name);
        // Policies are looked up for each request; that there are any is a matter of the connection.
        // What holds for strangers, and which addresses DNS may name, is no matter of this API's running connections.
        let but_for_policies =
            |api: &Api| Api { rules: None, strangers: Strangers::Carry, allow_addresses: Vec::new(), ..api.clone() };
        same.is_some_and(|same| {
            same.rules.is_some() == api.rules.is_some()
                && but_for_policies(same) == but_for_policies(api)
                && other.egress_of(same) == self.egress_of(api)
        })
    }

    /// Returns whether a stranger's connection that another configuration lets through may go on under this one: its host is still
    /// no API's, and no API has changed what it does with strangers.
    pub fn same_strangers(&self, other: &Self, host: &Host, port: u16) -> bool {
        let of = |model: &Self| model.apis.iter().map(|api| (Arc::clone(&api.name), api.strangers)).collect::<Vec<_>>();
        self.listing(host, port).is_none() && of(self) == of(other)
    }

    /// The proxies that something leaves through.
    fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        let all = self.apis.iter().filter_map(|api| api.egress.as_ref()).chain([&self.egress]);
        all.filter_map(|egress| egress.proxy.as_deref())
    }

    /// Returns the egress settings of an API: its own, or those of all APIs.
    pub fn egress_of<'a>(&'a self, api: &'a Api) -> &'a Egress {
        api.egress.as_ref().unwrap_or(&self.egress)
    }
}

/// A third party named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The unique name of the API.
    pub name: Arc<str>,
    /// The exact host names of the API.
    pub hosts: Vec<Host>,
    /// The wildcards of the API.
    pub wildcards: Vec<Wildcard>,
    /// Captured TCP ports.
    pub ports: Vec<u16>,
    /// Those of `ports` that carry bytes without looking at them.
    pub opaque_ports: Vec<u16>,
    /// The workloads that it is for; all, if absent.
    pub workloads: Option<Audience>,
    /// What happens to its connections.
    pub mode: Mode,
    /// What happens to them while Egret is not there.
    pub fail: FailMode,
    /// Egress settings of its own, if it has some.
    pub egress: Option<Egress>,
    /// The settings of TLS with the third party, in mode `intercept` and for plain HTTP of callers. Plain HTTP is forwarded
    /// without TLS where this is absent.
    pub backend: Option<Arc<Backend>>,
    /// The pool of connections to the third party.
    pub pool: Pool,
    /// What happens to callers that do not trust the CA, in mode `intercept`.
    pub on_refusal: OnRefusal,
    /// What happens to connections to its addresses whose name belongs to no API.
    pub strangers: Strangers,
    /// Addresses that its hosts may have although they are not public.
    pub allow_addresses: Vec<IpNet>,
    /// The workloads for which `on_refusal` holds; all, if empty.
    pub on_refusal_workloads: Vec<WorkloadMatch>,
    /// Protocols, beside WebSocket, to which callers may change a connection; with `websocket` also where policies need to see every
    /// request.
    pub upgrades: Vec<Arc<str>>,
    /// The policies and operations of the API; requests are forwarded unchanged where this is absent.
    pub rules: Option<Arc<Rules>>,
}

impl Api {
    /// Returns whether what callers ask of this API is looked at.
    pub fn is_seen(&self) -> bool {
        self.mode != Mode::Deny && (self.mode == Mode::Intercept || self.rules.is_some())
    }

    /// Returns whether this API keeps bytes that Egret cannot look at, of other APIs, from its addresses.
    pub fn guards_addresses(&self) -> bool {
        self.strangers == Strangers::Refuse && self.is_seen()
    }

    /// Returns whether the API lists this host, by its name or by a wildcard.
    pub fn lists(&self, host: &Host) -> bool {
        self.exactness(host).is_some()
    }

    /// Returns whether this is one of its hosts or wildcards.
    pub fn has(&self, listing: &Listing) -> bool {
        match listing {
            Listing::Host(host) => self.hosts.contains(host),
            Listing::Wildcard(wildcard) => self.wildcards.contains(wildcard),
        }
    }

    /// Returns its hosts and its wildcards.
    pub fn listings(&self) -> impl Iterator<Item = Listing> {
        let hosts = self.hosts.iter().cloned().map(Listing::Host);
        hosts.chain(self.wildcards.iter().cloned().map(Listing::Wildcard))
    }

    /// Returns how exactly the API lists a host, if it does: more for the name itself than for any wildcard.
    fn exactness(&self, host: &Host) -> Option<usize> {
        if self.hosts.contains(host) {
            return Some(usize::MAX);
        }
        let covering = self.wildcards.iter().filter(|wildcard| wildcard.covers(host));
        covering.map(|wildcard| wildcard.domain().as_str().len()).max()
    }
}

/// The third party's side where Egret speaks TLS with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its port for what came as plain HTTP (TLS origination).
    pub port: u16,
    /// Certificate authorities that may issue its certificate, in addition to the system's; DER.
    pub authorities: Vec<Vec<u8>>,
    /// The certificate that Egret presents to it (mTLS).
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
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl TlsVersion {
    /// The spelling in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// A client certificate that Egret presents.
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
    /// The kernel refuses the connection.
    Deny,
    /// The caller's TLS ends at Egret, which opens its own TLS connection to the third party and sees the requests.
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

impl OnRefusal {
    /// The spelling in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Passthrough => "passthrough",
        }
    }
}

/// What happens to a stranger: a connection to an API's address whose name belongs to no API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// It is carried to its original destination, from the address that the kernel chooses.
    Carry,
    /// It is refused.
    Refuse,
}

impl Strangers {
    /// The spelling in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Carry => "carry",
            Self::Refuse => "refuse",
        }
    }
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

/// How long running flows may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// After another process took over.
    pub hand_over: Duration,
    /// After SIGINT or SIGTERM.
    pub stop: Duration,
}

/// The bounds on what callers may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request of HTTP/1.1 to the end of its head.
    pub request_head: Duration,
    /// Silence on a connection.
    pub idle: Option<Duration>,
    /// Life of a connection.
    pub total: Option<Duration>,
    /// The most connections at once of an owner of callers; by default a share of the descriptors and ports there are.
    pub connections_per_workload: Option<u32>,
    /// From the start of a connection to its first byte, where Egret waits for what the caller says.
    pub first_byte: Duration,
    /// The most bytes of bodies that are held for policies at once. One owner may hold a quarter of them.
    pub buffered_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(30),
            idle: None,
            total: None,
            connections_per_workload: None,
            first_byte: Duration::from_secs(60),
            buffered_bytes: 512 << 20,
        }
    }
}
