//! The configuration as written. Its doc comments are the reference's text. Unknown keys are not serde's affair but
//! [`super::document`]'s.

mod counters;
mod egress;
mod openapi;
mod operation;
pub(super) mod policies;
mod product;
mod tls;
mod value;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

pub(super) use counters::CountersFile;
pub(super) use egress::{EgressFile, ProxyFile};
pub(super) use openapi::OpenApiFile;
pub(super) use operation::OperationFile;
use policies::{PoliciesFile, ServiceFile, Step};
pub(super) use product::{ProductFile, SubscriptionFile};
pub(super) use tls::{ClientCertificateFile, TlsFile};
pub(super) use value::NamedValueFile;

type Text = Spanned<String>;

/// The configuration of Egret.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct File {
    /// Version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub(super) version: u32,
    /// The way out: the fixed source addresses.
    #[serde(default)]
    pub(super) egress: Option<EgressFile>,
    /// Forward proxies by name, for `egress.proxy`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ProxyFile>")]
    pub(super) proxies: BTreeMap<String, Spanned<ProxyFile>>,
    /// The third parties.
    #[serde(default)]
    pub(super) apis: Vec<ApiFile>,
    /// What is done with the requests of all APIs.
    #[serde(default)]
    pub(super) policies: Option<PoliciesFile>,
    /// APIs for those who have subscribed to them.
    #[serde(default)]
    pub(super) products: Vec<ProductFile>,
    /// Policies by name, for `include-fragment`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<Step>>")]
    pub(super) fragments: BTreeMap<String, Vec<Spanned<Step>>>,
    /// Servers by name, for `set-backend`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ServiceFile>")]
    pub(super) backends: BTreeMap<String, Spanned<ServiceFile>>,
    /// Where limits that say `shared: true` are counted, for all nodes together.
    #[serde(default)]
    #[schemars(with = "Option<CountersFile>")]
    pub(super) counters: Option<Spanned<CountersFile>>,
    /// Values by name, as a rule secrets: templates say `{{name}}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, NamedValueFile>")]
    pub(super) values: BTreeMap<String, Spanned<NamedValueFile>>,
    /// What is captured, and where the hooks are kept.
    #[serde(default)]
    pub(super) capture: Option<CaptureFile>,
    /// Where the kubelet keeps what it knows of the node's pods.
    #[serde(default)]
    pub(super) kubelet: Option<KubeletFile>,
    /// The CA that vouches for leaves of intercepted APIs.
    #[serde(default)]
    pub(super) ca: Option<CaFile>,
    /// The socket of the command line.
    #[serde(default)]
    pub(super) admin: Option<AdminFile>,
    /// What outlives the process.
    #[serde(default)]
    pub(super) state: Option<StateFile>,
    /// How host names are resolved.
    #[serde(default)]
    pub(super) resolver: Option<ResolverFile>,
    /// Metrics, health and the access log.
    #[serde(default)]
    pub(super) telemetry: Option<TelemetryFile>,
    /// What a caller may use up.
    #[serde(default)]
    pub(super) limits: Option<LimitsFile>,
    /// How long running flows may go on after another process took over. Default 10m.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) drain: Option<Spanned<String>>,
    /// How long running flows may go on after SIGINT or SIGTERM. Default 5s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) stop: Option<Spanned<String>>,
}

impl File {
    /// With what another file of the directory adds.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            version: self.version,
            egress: self.egress.or(other.egress),
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
            ca: self.ca.or(other.ca),
            admin: self.admin.or(other.admin),
            state: self.state.or(other.state),
            resolver: self.resolver.or(other.resolver),
            telemetry: self.telemetry.or(other.telemetry),
            limits: self.limits.or(other.limits),
            drain: self.drain.or(other.drain),
            stop: self.stop.or(other.stop),
        }
    }
}

/// A third party.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ApiFile {
    /// Unique name, for people, logs and metrics.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Exact host names.
    #[schemars(with = "Vec<String>")]
    pub(super) hosts: Vec<Spanned<String>>,
    /// The TCP ports that Egret captures. Default: 80 and 443. Example: `[443, 8443]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<u16>>", inner(range(min = 1)))]
    pub(super) ports: Option<Vec<Spanned<u16>>>,
    /// Ports among `ports` whose bytes are carried without looking at them.
    #[serde(default)]
    #[schemars(with = "Vec<u16>")]
    pub(super) opaque_ports: Vec<Spanned<u16>>,
    /// `passthrough` (default): carried by the proxy, TLS left as it is. `intercept`: TLS ends at the proxy, whose CA
    /// callers must trust, and which speaks its own to the third party. `bind`: the kernel sets the source address, no
    /// proxy hop. `deny`: refused.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) mode: Option<Spanned<String>>,
    /// In mode `intercept`, for a workload that refuses Egret's certificate for a host: `fail` (default) gives it no
    /// connection; `passthrough` carries its next connections to that host untouched, until `egret trust forget` or a
    /// restart. `egret inspect refusals` lists such workloads.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) on_refusal: Option<Spanned<String>>,
    /// While Egret or its egress address is not there: `closed` (default) refuses, `open` lets the connection go
    /// direct.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) fail: Option<Spanned<String>>,
    /// A way out of its own; what is not said here is as for all.
    #[serde(default)]
    pub(super) egress: Option<EgressFile>,
    /// How Egret reaches the third party over TLS, for plain HTTP of the application and in mode `intercept`. Default: plain HTTP
    /// leaves as plain HTTP, and intercepted HTTPS as HTTPS with the system's authorities. Example: `{scheme: https}`.
    #[serde(default)]
    #[schemars(with = "Option<BackendFile>")]
    pub(super) backend: Option<Spanned<BackendFile>>,
    /// Connections to the third party, which requests use one after the other.
    #[serde(default)]
    pub(super) pool: Option<PoolFile>,
    /// What is done with its requests: in mode `intercept`, and for plain HTTP.
    #[serde(default)]
    pub(super) policies: Option<PoliciesFile>,
    /// Whether the policies of all APIs hold for this one. Default true.
    #[serde(default)]
    pub(super) inherit: Option<bool>,
    /// OpenAPI document (3.0 or 3.1, YAML or JSON) that describes the operations of the API, beside those of `operations`: its
    /// path, or a section with the path and `strict`. Default: none. Example: `partner.openapi.yaml`.
    #[serde(default)]
    #[schemars(schema_with = "openapi::schema")]
    pub(super) openapi: Option<Spanned<OpenApiFile>>,
    /// What it offers to do, with policies of their own.
    #[serde(default)]
    pub(super) operations: Vec<OperationFile>,
    /// Whether requests that are none of `operations` are refused (404). Default false.
    #[serde(default)]
    pub(super) only_operations: bool,
    /// Most bytes of a body that a policy may look at. Default 1048576.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1073741824))]
    pub(super) max_body: Option<u32>,
    /// Whether secrets may be sent without TLS. Default false.
    #[serde(default)]
    pub(super) plain_secrets: bool,
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

/// Connections to the third party, which requests use one after the other.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PoolFile {
    /// How many are kept while they have no request, for a minute at most. Default 64; 0 keeps none.
    #[serde(default)]
    #[schemars(range(max = 10000))]
    pub(super) idle: Option<u16>,
    /// Whether requests of different workloads never share one. Default false.
    #[serde(default)]
    pub(super) isolate_workloads: bool,
}

/// What is captured, and where the hooks are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CaptureFile {
    /// The cgroup (v2) whose processes are captured. Default: the root of the hierarchy, all processes.
    #[serde(default)]
    pub(super) cgroup: Option<PathBuf>,
    /// Directory, on a bpffs, for the pins of `egret run --persist`. Default /sys/fs/bpf/egret.
    #[serde(default)]
    pub(super) pins: Option<PathBuf>,
}

/// Where the kubelet keeps what it knows of the node's pods: who a workload is in Kubernetes is read there. Root alone can. Where
/// the directories are not, nothing is known.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct KubeletFile {
    /// A directory for each pod, called by its uid, with its volumes: its service account. In a container, mount it with
    /// `mountPropagation: HostToContainer`. Default /var/lib/kubelet/pods.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) pods: Option<Spanned<String>>,
    /// A directory for each pod, called `NAMESPACE_NAME_UID`, with its logs: its namespace and its name. Default /var/log/pods.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) logs: Option<Spanned<String>>,
    /// The cgroup below which the kubelet makes `kubepods`, as a path below the root of the cgroup hierarchy, like
    /// `/kubelet.slice`: the kubelet's `cgroupRoot`. Pods are recognised there, at the root of the hierarchy, and in the units
    /// of containerd, k0s, k3s and RKE2; a cgroup that is only named like a pod's is not one elsewhere. Default: the root.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) cgroup: Option<Spanned<String>>,
}

/// The CA that vouches for leaves of intercepted APIs. Where neither file is, both are made at the first need.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CaFile {
    /// PEM file of its certificate, and of those between it and the root. Default /var/lib/egret/ca.pem.
    #[serde(default)]
    pub(super) certificate: Option<PathBuf>,
    /// PEM file of its private key. Default /var/lib/egret/ca-key.pem.
    #[serde(default)]
    pub(super) key: Option<PathBuf>,
}

/// What a caller may use up. A connection beyond a limit is ended; its record, and the metric `egret_flows_total`, say by which
/// of them (`outcome`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LimitsFile {
    /// From the first byte of a request of HTTP/1.1 to the end of its head (`slow_request`). Default 30s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) request_head: Option<Spanned<String>>,
    /// Longest silence on a connection, both ways: between requests, in a body, in a WebSocket (`idle`). Default: none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) idle: Option<Spanned<String>>,
    /// Longest life of a connection (`too_old`). Default: none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) total: Option<Spanned<String>>,
    /// From the start of a connection to its first byte, where Egret waits for what the caller says: in mode `intercept`, with
    /// `backend`, and with policies (`no_first_byte`). Default 60s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) first_byte: Option<Spanned<String>>,
    /// The most connections at once of the callers of one owner: a systemd unit, a container, a pod
    /// (`too_many_connections`). Default: an eighth of the descriptors that Egret may open, and of the source ports of the
    /// loopback; 3528 with Linux's defaults.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) connections_per_workload: Option<u32>,
    /// The most bytes of bodies that are held for policies at once, over all requests. The callers of one owner may hold a
    /// quarter of them; a request beyond gets status 503 (`buffers_full`). Default 536870912 (512 MiB).
    #[serde(default)]
    #[schemars(range(min = 4194304))]
    pub(super) buffered_bytes: Option<u64>,
}

/// The socket of the command line.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AdminFile {
    /// Path of the unix socket. Default /run/egret/admin.sock.
    #[serde(default)]
    pub(super) socket: Option<PathBuf>,
}

/// What outlives the process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct StateFile {
    /// Directory of the counts of quotas, and of refresh tokens that login servers have given. Default /var/lib/egret.
    #[serde(default)]
    pub(super) directory: Option<PathBuf>,
}

/// How host names are resolved.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ResolverFile {
    /// DNS servers, `ADDRESS` or `ADDRESS:PORT`. Default: those of /etc/resolv.conf.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) servers: Vec<Spanned<String>>,
    /// How long an address is captured after DNS has dropped it, for clients that cache. Default 1h.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) keep: Option<Spanned<String>>,
}

/// Metrics, health and the access log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct TelemetryFile {
    /// Where `/metrics`, `/healthz` and `/readyz` are, `ADDRESS:PORT`. Default: nowhere.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) address: Option<Spanned<String>>,
    /// `stdout` (default), `off`, or the path of a file: one JSON line per flow.
    #[serde(default)]
    pub(super) access_log: Option<String>,
    /// Whether the access log has a line for each request, too, where requests are seen. Default false.
    #[serde(default)]
    pub(super) log_requests: bool,
}

/// A socket address, or an address with this port.
pub(super) fn socket_address(text: &str, port: u16) -> Option<std::net::SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| (ip, port).into()))
}
