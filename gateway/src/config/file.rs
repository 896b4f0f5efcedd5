//! The configuration as written. Its doc comments are the reference's text. Unknown keys are not serde's affair but
//! [`super::document`]'s.

mod counters;
mod egress;
mod openapi;
mod operation;
mod otlp;
pub(super) mod policies;
mod product;
pub(super) mod service;
mod unlisted;
mod value;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

pub(super) use crate::syntax::{ClientCertificateFile, TlsFile};
pub(super) use counters::CountersFile;
pub(super) use egress::{EgressFile, ProxyFile};
pub(super) use openapi::OpenApiFile;
pub(super) use operation::OperationFile;
pub(super) use otlp::OtlpFile;
use policies::{PoliciesFile, Step};
pub(super) use product::{ProductFile, SubscriptionFile};
use service::ServiceFile;
pub(super) use unlisted::{UnlistedFile, UnlistedRuleFile, UnlistedSection};
pub(super) use value::NamedValueFile;

use crate::syntax::{Text, WorkloadFile};

/// A configuration of Egret.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct File {
    /// The version of this format. Example: `1`.
    #[schemars(range(min = 1, max = 1))]
    pub(super) version: u32,
    /// The fixed addresses from which connections leave the node, and the proxy on the way. Example: `{addresses:
    /// [192.0.2.10]}`.
    #[serde(default)]
    pub(super) egress: Option<EgressFile>,
    /// Forward proxies by name. `egress.proxy` names one of them. Example: `{office: {url: http://proxy.acme.example:3128}}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ProxyFile>")]
    pub(super) proxies: BTreeMap<String, Spanned<ProxyFile>>,
    /// The third parties whose connections Egret captures. Example: `[{name: partner, hosts: [api.partner.example]}]`.
    #[serde(default)]
    pub(super) apis: Vec<ApiFile>,
    /// Policies that apply to the requests of all APIs. Example: `{inbound: [{rate-limit: {calls: 100, period: 1m}}]}`.
    #[serde(default)]
    pub(super) policies: Option<PoliciesFile>,
    /// Products: sets of APIs with their subscribers and policies. Example: `[{name: trading, apis: [partner]}]`.
    #[serde(default)]
    pub(super) products: Vec<ProductFile>,
    /// Lists of policies by name, for `include-fragment`. Example: `{limits: [{rate-limit: {calls: 100, period: 1m}}]}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<Step>>")]
    pub(super) fragments: BTreeMap<String, Vec<Spanned<Step>>>,
    /// Servers by name, for `set-backend`. Example: `{sandbox: {url: https://sandbox.partner.example}}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ServiceFile>")]
    pub(super) backends: BTreeMap<String, Spanned<ServiceFile>>,
    /// The server that counts limits with `shared: true` for all nodes together. Example: `{url:
    /// rediss://counters.example:6380}`.
    #[serde(default)]
    #[schemars(with = "Option<CountersFile>")]
    pub(super) counters: Option<Spanned<CountersFile>>,
    /// Named values, usually secrets. Templates refer to them as `{{name}}`. Example: `{partner-key: {file:
    /// /etc/egret/partner.key}}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, NamedValueFile>")]
    pub(super) values: BTreeMap<String, Spanned<NamedValueFile>>,
    /// Which processes Egret captures, and where it pins its hooks.
    #[serde(default)]
    pub(super) capture: Option<CaptureFile>,
    /// The kubelet's directories on the node. Egret finds the namespace, name and service account of a pod there.
    #[serde(default)]
    pub(super) kubelet: Option<KubeletFile>,
    /// The Kubernetes API server, which knows more about the pods of the node than the kubelet's directories.
    #[serde(default)]
    pub(super) kubernetes: Option<KubernetesFile>,
    /// The certificate authority that signs the certificates Egret presents to callers of intercepted APIs.
    #[serde(default)]
    pub(super) ca: Option<CaFile>,
    /// The socket on which the running gateway accepts the commands of the command line.
    #[serde(default)]
    pub(super) admin: Option<AdminFile>,
    /// Where Egret stores what outlives the process.
    #[serde(default)]
    pub(super) state: Option<StateFile>,
    /// How Egret resolves host names.
    #[serde(default)]
    pub(super) resolver: Option<ResolverFile>,
    /// How Egret treats the DNS queries of callers.
    #[serde(default)]
    pub(super) dns: Option<DnsFile>,
    /// Metrics, health endpoints, the access log, and the export to a collector.
    #[serde(default)]
    pub(super) telemetry: Option<TelemetryFile>,
    /// Limits on what callers can use up.
    #[serde(default)]
    pub(super) limits: Option<LimitsFile>,
    /// How long connections may continue in the old process after another process has taken over. Default: 10m. Example:
    /// `10m`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) drain: Option<Spanned<String>>,
    /// How long connections may continue after SIGINT or SIGTERM. Default: 5s. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) stop: Option<Spanned<String>>,
}

impl File {
    /// With what another file of the directory, or the environment, adds.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            version: self.version,
            egress: both(self.egress, other.egress, EgressFile::and),
            proxies: self.proxies.into_iter().chain(other.proxies).collect(),
            apis: self.apis.into_iter().chain(other.apis).collect(),
            policies: self.policies.or(other.policies),
            products: self.products.into_iter().chain(other.products).collect(),
            fragments: self.fragments.into_iter().chain(other.fragments).collect(),
            backends: self.backends.into_iter().chain(other.backends).collect(),
            counters: self.counters.or(other.counters),
            values: self.values.into_iter().chain(other.values).collect(),
            capture: self.capture.or(other.capture),
            kubelet: self.kubelet.or(other.kubelet),
            kubernetes: self.kubernetes.or(other.kubernetes),
            ca: self.ca.or(other.ca),
            admin: self.admin.or(other.admin),
            state: self.state.or(other.state),
            resolver: self.resolver.or(other.resolver),
            dns: self.dns.or(other.dns),
            telemetry: both(self.telemetry, other.telemetry, TelemetryFile::and),
            limits: self.limits.or(other.limits),
            drain: self.drain.or(other.drain),
            stop: self.stop.or(other.stop),
        }
    }
}

/// A section that a file has in part and the environment for the rest.
fn both<T>(one: Option<T>, other: Option<T>, and: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(and(one, other)),
        (one, other) => one.or(other),
    }
}

/// A third party whose connections Egret captures.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ApiFile {
    /// Unique name of the API. Logs, metrics and commands show it. Example: `partner`.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Host names of the third party. `*.partner.example` stands for all names below `partner.example`, at any depth, but not for
    /// `partner.example` itself. A name goes before a wildcard, a longer wildcard before a shorter one. Egret learns the addresses
    /// below a wildcard from the callers' DNS responses, and dials its own resolution. Example: `[api.partner.example]`.
    #[schemars(with = "Vec<String>")]
    pub(super) hosts: Vec<Spanned<String>>,
    /// The TCP ports that Egret captures. Default: 80 and 443. Example: `[443, 8443]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<u16>>", inner(range(min = 1)))]
    pub(super) ports: Option<Vec<Spanned<u16>>>,
    /// Those of `ports` whose bytes Egret carries without inspecting them, for protocols other than TLS and HTTP. Default:
    /// none. Example: `[5432]`.
    #[serde(default)]
    #[schemars(with = "Vec<u16>")]
    pub(super) opaque_ports: Vec<Spanned<u16>>,
    /// What Egret does with connections to the API. `passthrough`: Egret carries the connection and leaves TLS end to end.
    /// `intercept`: Egret terminates TLS with a certificate of its CA, which callers must trust, and opens its own TLS
    /// connection to the third party. `bind`: the kernel sets the source address and Egret does not carry the connection.
    /// `deny`: connections are refused. Default: `passthrough`. Example: `intercept`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) mode: Option<Spanned<String>>,
    /// In mode `intercept`, what happens after a program has refused Egret's certificate for a host. `fail`: its connections keep
    /// failing. `passthrough`: its next connections to that host are carried without interception, until `egret trust forget` or a
    /// restart, where the same owner runs the same program. No policy sees them: an API with policies must name the workloads for
    /// which this holds in `on_refusal_workloads`. `egret inspect refusals` lists such programs. Default: `fail`. Example:
    /// `passthrough`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) on_refusal: Option<Spanned<String>>,
    /// What happens to strangers: connections to an address of this API that name a host (SNI, Host) which no API lists, as happens
    /// on the shared addresses of a CDN. `carry`: they go to their original destination from the address that the kernel chooses,
    /// never from an egress address or through a proxy, and only if Egret's own resolution of the name contains that address
    /// (otherwise `name_mismatch`). `refuse`: they are refused (`stranger_refused`), which is the answer to domain fronting: a
    /// caller names another customer of the CDN and asks for this API inside of TLS. Connections that name no host are refused
    /// then, too (`no_name`), except on `opaque_ports`. Where several APIs share an address, one `refuse` is enough. An API with
    /// policies or in mode `intercept` that has `refuse` keeps bytes of other APIs that Egret cannot look at (TLS in mode
    /// `passthrough` or `bind`) from its addresses, too: they go to the other addresses of their host, or are refused
    /// (`shared_address`). Mode `bind` does not see names. In mode `deny`, `carry` denies by name instead of by address. Default:
    /// `refuse` in mode `deny` and where `egress.proxy` is used, otherwise `carry`. Example: `refuse`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) strangers: Option<Spanned<String>>,
    /// Addresses, or prefixes of addresses, that the hosts may have although they are not public unicast addresses. Otherwise
    /// private, shared, metadata and other special addresses in DNS responses are neither captured nor connected to. Addresses of
    /// the node itself, and loopback, link-local and multicast addresses, are never accepted. Default: none. Example:
    /// `[10.20.0.0/16, 'fd12:3456::/32']`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) allow_addresses: Vec<Spanned<String>>,
    /// The workloads for which `on_refusal: passthrough` holds; connections of all others keep failing. Required for an API with
    /// policies, because each of these workloads can switch the policies off for itself. Default: all workloads. Example: `[{unit:
    /// legacy.service}]`.
    #[serde(default)]
    pub(super) on_refusal_workloads: Option<Vec<WorkloadFile>>,
    /// The workloads that the API is for. Egret decides when it has accepted a connection, by the same facts as `workload-filter`.
    /// Default: all workloads. Example: `{allow: [{unit: billing.service}], others: deny}`.
    #[serde(default)]
    #[schemars(with = "Option<AudienceFile>")]
    pub(super) workloads: Option<Spanned<AudienceFile>>,
    /// What happens to connections while Egret or its egress address is missing. `closed`: they are refused. `open`: they go
    /// directly to the third party, from another address. Default: `closed`. Example: `open`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) fail: Option<Spanned<String>>,
    /// The API's own egress addresses or proxy. What is not written here is as in the top-level `egress`. Example:
    /// `{addresses: [192.0.2.11]}`.
    #[serde(default)]
    pub(super) egress: Option<EgressFile>,
    /// How Egret reaches the third party over TLS, for plain HTTP of the application and in mode `intercept`. Default: plain HTTP
    /// leaves as plain HTTP, and intercepted HTTPS as HTTPS with the system's authorities. Example: `{scheme: https}`.
    #[serde(default)]
    #[schemars(with = "Option<BackendFile>")]
    pub(super) backend: Option<Spanned<BackendFile>>,
    /// Connections to the third party that Egret keeps open for the next requests.
    #[serde(default)]
    pub(super) pool: Option<PoolFile>,
    /// Policies that apply to the requests of this API: in mode `intercept`, and for plain HTTP. Example: `{inbound:
    /// [{rate-limit: {calls: 100, period: 1m}}]}`.
    #[serde(default)]
    pub(super) policies: Option<PoliciesFile>,
    /// Whether the policies of all APIs (top-level `policies`) apply to this API. Default: true.
    #[serde(default)]
    pub(super) inherit: Option<bool>,
    /// OpenAPI document (3.0 or 3.1, YAML or JSON) that describes the operations of the API, beside those of `operations`: its
    /// path, or a section with the path and `strict`. Default: none. Example: `partner.openapi.yaml`.
    #[serde(default)]
    #[schemars(schema_with = "openapi::schema")]
    pub(super) openapi: Option<Spanned<OpenApiFile>>,
    /// Operations of the API, with their own policies. Example: `[{name: list-prices, method: GET, path: /prices}]`.
    #[serde(default)]
    pub(super) operations: Vec<OperationFile>,
    /// Whether requests that match none of the API's operations are refused (404). Default: false.
    #[serde(default)]
    pub(super) only_operations: bool,
    /// The largest body in bytes that a policy may read. Larger bodies are refused where a policy needs the whole body.
    /// Default: 1048576. Example: `4194304`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1073741824))]
    pub(super) max_body: Option<u32>,
    /// How spellings of paths that servers read in different ways are treated. `strict` refuses such a request (400,
    /// `path_not_allowed`): dot segments, `//`, `\`, an encoded slash or backslash, `;`, control characters, a segment that ends with
    /// a dot or a space, an encoded `%XX`, bytes that are not UTF-8, and capitals that alone keep a request from being one of the
    /// operations. `lenient` forwards it. Without this, Egret is strict where the path decides which policies run: with
    /// `only_operations`, an operation with `policies` of its own, or a condition that looks at `request.path`. Example: `strict`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) paths: Option<Spanned<String>>,
    /// The protocols to which a caller may change a connection (`Upgrade`, HTTP/1.1). What follows is a tunnel that no policy sees.
    /// Without this, WebSocket is allowed where no policy needs to see every request. Policies that do are those that count, limit
    /// concurrency, validate or change bodies, and operations with `policies` of their own or with `only_operations`. There Egret
    /// refuses a WebSocket (403, `upgrade_not_allowed`) unless `websocket` is listed. Egret ignores the wish for any other protocol
    /// that is not listed. Default: none. Example: `[websocket]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) upgrades: Vec<Spanned<String>>,
    /// Whether Egret may send secrets to the third party without TLS. Default: false.
    #[serde(default)]
    pub(super) plain_secrets: bool,
}

/// The workloads that an API is for, and what happens to connections of the others. It holds in every mode. The kernel cannot decide
/// it: in modes `bind` and `deny` Egret carries or refuses the connections itself. While Egret is not there, `fail` holds for all
/// workloads.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AudienceFile {
    /// The workloads that the API is for. Exactly one of `allow` and `forbid` is required. Default: none. Example: `[{unit:
    /// billing.service}]`.
    #[serde(default)]
    pub(super) allow: Option<Vec<WorkloadFile>>,
    /// The workloads that the API is not for; it is for all others. Default: none. Example: `[{unit: batch.service}]`.
    #[serde(default)]
    pub(super) forbid: Option<Vec<WorkloadFile>>,
    /// What happens to connections of workloads that the API is not for. `deny`: they are refused (`workload_not_allowed`; 403 in
    /// plain HTTP). `untouched`: they go to the address that the caller connected to, from the address that the kernel chooses and
    /// never from an egress address, without policies and without interception. A workload of which it is not known whether the API is
    /// for it is refused in both cases. UDP to the API's addresses and ports is refused for all workloads. Default: `deny`. Example:
    /// `untouched`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) others: Option<Spanned<String>>,
}

/// How Egret reaches the third party: over TLS. The application may speak plain HTTP: it needs no change and no certificate.
/// Without `backend`, plain HTTP of the application leaves as plain HTTP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("x-renamed" = {
        "ca": "tls.ca",
        "client_certificate": "tls.client_certificate",
        "min_tls": "tls.min_version",
        "pins": "tls.pins",
    })
)]
pub(super) struct BackendFile {
    /// The scheme that Egret uses: `https`. Default: `https`, the only one. Example: `https`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) scheme: Option<Spanned<String>>,
    /// The third party's port. Default: 443. Example: `8443`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) port: Option<u16>,
    /// TLS settings for connections to the third party, also in mode `intercept`.
    #[serde(default)]
    pub(super) tls: Option<TlsFile>,
}

/// Connections to the third party that Egret keeps open for the next requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PoolFile {
    /// The number of idle connections that Egret keeps, each for at most one minute. 0 keeps none. Default: 64. Example: `8`.
    #[serde(default)]
    #[schemars(range(max = 10000))]
    pub(super) idle: Option<u16>,
    /// Whether requests of different workloads never use the same connection. Default: false.
    #[serde(default)]
    pub(super) isolate_workloads: bool,
}

/// Which processes Egret captures, and where it pins its hooks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CaptureFile {
    /// The cgroup (v2) whose processes Egret captures. Default: the root of the hierarchy, which is all processes. Example:
    /// `/sys/fs/cgroup/system.slice`.
    #[serde(default)]
    pub(super) cgroup: Option<PathBuf>,
    /// The directory, on a bpffs, in which Egret pins its hooks. Default: `/sys/fs/bpf/egret`. Example: `/sys/fs/bpf/egret`.
    #[serde(default)]
    pub(super) pins: Option<PathBuf>,
    /// What happens to connections that no API lists: `allow`, `report` or `deny`, or a section with exceptions and rules for single
    /// workloads. Default: `allow`. Example: `report`.
    #[serde(default)]
    #[schemars(schema_with = "unlisted::schema")]
    pub(super) unlisted: Option<Spanned<UnlistedFile>>,
}

/// The kubelet's directories on the node, from which Egret reads the facts about pods. Only root can write there. Where a
/// directory does not exist, Egret knows nothing about pods.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct KubeletFile {
    /// The directory that has a directory with the volumes of each pod, named by the pod's uid. Egret reads the service
    /// account there. If Egret runs in a container, mount it with `mountPropagation: HostToContainer`. Default:
    /// `/var/lib/kubelet/pods`. Example: `/var/lib/kubelet/pods`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) pods: Option<Spanned<String>>,
    /// The directory that has a directory with the logs of each pod, named `NAMESPACE_NAME_UID`. Egret reads the namespace and
    /// name of the pod there. Default: `/var/log/pods`. Example: `/var/log/pods`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) logs: Option<Spanned<String>>,
    /// The cgroup below which the kubelet creates `kubepods` (its `cgroupRoot`), as a path below the root of the cgroup hierarchy.
    /// Egret recognises pods there, at the root of the hierarchy, and in the units of containerd, k0s, k3s and RKE2. A cgroup
    /// elsewhere that is only named like a pod's is not a pod. Default: the root. Example: `/kubelet.slice`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) cgroup: Option<Spanned<String>>,
}

/// What the Kubernetes API server says of the pods of this node: labels, annotations, the controller, and the name and image of each
/// container, beside what the kubelet's directories say. Egret watches the node's pods, with the rights to list and watch pods. While
/// the API server cannot be reached, Egret keeps what it was told last.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct KubernetesFile {
    /// Whether Egret asks the API server. Default: false. Example: `true`.
    #[serde(default)]
    pub(super) api: bool,
    /// The name of this node in Kubernetes. Default: the value of the environment variable `NODE_NAME`, else the host's name. Example:
    /// `node-7.example`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) node: Option<Spanned<String>>,
    /// A kubeconfig file with the address of the API server, its CA and Egret's credentials. Default: the service account of the pod
    /// that Egret runs in. Example: `/etc/egret/kubeconfig`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) kubeconfig: Option<Spanned<String>>,
    /// Whether Egret reports this node to the others, in a Lease of the namespace that it runs in, with the rights to create, get, list
    /// and patch Leases there: `egret fleet` and `egret allowlist` then show all nodes. Default: false. Example: `true`.
    #[serde(default)]
    #[schemars(with = "Option<bool>")]
    pub(super) fleet: Option<Spanned<bool>>,
}

/// The certificate authority of intercepted APIs. If neither file exists, Egret creates both when it first needs them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CaFile {
    /// PEM file of the CA's certificate, followed by the intermediate certificates up to the root. Default:
    /// `/var/lib/egret/ca.pem`. Example: `/etc/egret/ca.pem`.
    #[serde(default)]
    pub(super) certificate: Option<PathBuf>,
    /// PEM file of the CA's private key. Default: `/var/lib/egret/ca-key.pem`. Example: `/etc/egret/ca-key.pem`.
    #[serde(default)]
    pub(super) key: Option<PathBuf>,
}

/// Limits on what callers can use up. Egret closes a connection that exceeds a limit. Its record, and the metric
/// `egret_flows_total`, name the limit as the `outcome`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LimitsFile {
    /// The longest time from the first byte of an HTTP/1.1 request to the end of its head (outcome `slow_request`). Default:
    /// 30s. Example: `10s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) request_head: Option<Spanned<String>>,
    /// The longest time without a byte in either direction: between requests, within a body, or in a WebSocket (outcome
    /// `idle`). Default: none. Example: `5m`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) idle: Option<Spanned<String>>,
    /// The longest lifetime of a connection (outcome `too_old`). Default: none. Example: `1h`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) total: Option<Spanned<String>>,
    /// The longest time from the start of a connection to its first byte, where Egret waits for the caller's first byte: in mode
    /// `intercept`, with `backend`, and with policies (outcome `no_first_byte`). Default: 60s. Example: `10s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) first_byte: Option<Spanned<String>>,
    /// The most connections at once of the callers of one owner: a systemd unit, a container, a pod
    /// (`too_many_connections`). Default: an eighth of the descriptors that Egret may open, and of the source ports of the
    /// loopback; 3528 with Linux's defaults. An eighth of them may speak HTTP/2, and together they may have as many requests
    /// of HTTP/2 at once as there may be connections.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) connections_per_workload: Option<u32>,
    /// The most bytes of bodies that are held for policies at once, over all requests. The callers of one owner may hold a
    /// quarter of them; a request beyond gets status 503 (`buffers_full`). The same number bounds, apart from bodies, the
    /// connections of HTTP/2 with wide windows: 4 MiB each. Default 536870912 (512 MiB).
    #[serde(default)]
    #[schemars(range(min = 4194304))]
    pub(super) buffered_bytes: Option<u64>,
}

/// The socket on which the running gateway accepts the commands of the command line.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AdminFile {
    /// Path of the unix socket. Default: `/run/egret/admin.sock`. Example: `/run/egret/admin.sock`.
    #[serde(default)]
    pub(super) socket: Option<PathBuf>,
}

/// Where Egret stores what outlives the process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct StateFile {
    /// The directory for the counts of quotas, and for refresh tokens that login servers have issued. Default:
    /// `/var/lib/egret`. Example: `/var/lib/egret`.
    #[serde(default)]
    pub(super) directory: Option<PathBuf>,
}

/// How Egret resolves host names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ResolverFile {
    /// DNS servers, as `ADDRESS` or `ADDRESS:PORT`. Default: those of `/etc/resolv.conf`. Example: `[192.0.2.53]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) servers: Vec<Spanned<String>>,
    /// Further DNS servers whose responses count for all callers, beside `servers` and those of the node's `/etc/resolv.conf`: Egret
    /// captures connections to the addresses that they give for listed hosts. Responses of any other server count only for the owner
    /// (systemd unit, container, pod) that asked it. Default: none. Example: `[10.96.0.10]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) trusted_servers: Vec<Spanned<String>>,
    /// The most names that Egret learns from DNS responses to callers. One owner has at most a quarter of them; the oldest ones
    /// make room. Default: 65536. Example: `200000`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4_000_000))]
    pub(super) max_names: Option<u32>,
    /// How long Egret captures an address after it has disappeared from DNS, for clients that cache addresses. Default: 1h.
    /// Example: `2h`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) keep: Option<Spanned<String>>,
    /// The most addresses of one name that Egret captures at the same time, the newest first. Further ones are counted in the metric
    /// `egret_dns_addresses_dropped_total`. Default: 256. Example: `1024`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4096))]
    pub(super) max_addresses: Option<u16>,
}

/// How Egret treats the DNS queries of callers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DnsFile {
    /// Whether DNS queries of captured processes in Egret's network namespace go through Egret, over UDP and TCP. Egret forwards each
    /// query to the server that the process asked, and captures the addresses of listed hosts before the process gets the response.
    /// While Egret is not there, queries go directly. Without it, a process that gets other addresses for a listed host than Egret
    /// connects directly, and nothing below a wildcard is captured. Default: true. Example: `false`.
    #[serde(default)]
    pub(super) forward: Option<bool>,
}

/// Metrics, health endpoints, the access log, and the export to a collector.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct TelemetryFile {
    /// The address and port on which Egret serves `/metrics`, `/healthz` and `/readyz`. Default: the environment variable
    /// `EGRET_TELEMETRY_ADDRESS`, else none. Example: `127.0.0.1:9464`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) address: Option<Spanned<String>>,
    /// Where Egret writes the access log, one JSON line per connection: `stdout`, `off`, or the path of a file. Default:
    /// `stdout`. Example: `/var/log/egret/access.log`.
    #[serde(default)]
    pub(super) access_log: Option<String>,
    /// Whether the access log also has a line for each request that Egret sees. Default: false.
    #[serde(default)]
    pub(super) log_requests: bool,
    /// The collector of OpenTelemetry to which Egret sends metrics, traces and logs. Default: none. Example: `{endpoint:
    /// https://otel.example:4318}`.
    #[serde(default)]
    pub(super) otlp: Option<OtlpFile>,
}

impl TelemetryFile {
    /// With what the environment adds to the keys that are here.
    fn and(self, other: Self) -> Self {
        Self {
            address: self.address.or(other.address),
            access_log: self.access_log.or(other.access_log),
            log_requests: self.log_requests || other.log_requests,
            otlp: self.otlp.or(other.otlp),
        }
    }
}

/// A socket address, or an address with this port.
pub(super) fn socket_address(text: &str, port: u16) -> Option<std::net::SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| (ip, port).into()))
}
