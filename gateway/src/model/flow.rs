use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::{ApiId, Generation, Host, Scope};

/// The address a workload asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginalDst(pub SocketAddr);

impl fmt::Display for OriginalDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kernel's record of a captured socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address that the caller asked for.
    pub original_dst: OriginalDst,
    /// Cgroup v2 id (inode of its directory).
    pub cgroup: u64,
    /// The callers that the rule which captured it is for.
    pub scope: Scope,
    /// The process id in the root pid namespace.
    pub pid: u32,
    /// User id, in the root user namespace.
    pub uid: u32,
    /// Command name of the calling thread, at most 15 bytes.
    pub command: String,
    /// CLOCK_MONOTONIC time of the `connect`.
    pub time: Duration,
    /// Generation of the rule that captured it.
    pub generation: Generation,
    /// The API whose address it is, in that generation.
    pub api: ApiId,
}

/// Who the caller is, attested by the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The owner: `pod UID`, `container ID`, a systemd unit, or the path of the outermost cgroup. A caller cannot forge it,
    /// and no cgroup that a caller makes below its own changes it: limits, caps, pools and caches tell callers apart by it.
    pub owner: Arc<str>,
    /// What a person calls the owner: `NAMESPACE/POD` where Kubernetes names it, else the same text.
    pub name: Arc<str>,
    /// The unit, container or pod that the caller's innermost cgroup is named for, where that is not the owner. A caller names
    /// its own cgroups, so this decides nothing.
    pub claimed_name: Option<Arc<str>>,
    /// The path of its cgroup below the root of the hierarchy, or `#<id>` if it is gone.
    pub cgroup: Arc<str>,
    /// The unit of the node's systemd that it belongs to; a user's units are in `user@1000.service`.
    pub unit: Option<Arc<str>>,
    /// The full id of its container, where the caller cannot have forged it.
    pub container: Option<Arc<str>>,
    /// The uid of its Kubernetes pod, where the kubelet made its cgroup.
    pub pod: Option<Arc<str>>,
    /// The namespace of its pod.
    pub namespace: Option<Arc<str>>,
    /// The name of its pod.
    pub pod_name: Option<Arc<str>>,
    /// The name of its pod's service account, in that namespace.
    pub service_account: Option<Arc<str>>,
    /// The process id of the caller.
    pub pid: u32,
    /// The user id of the caller.
    pub uid: u32,
    /// The user's name on the node, or the number.
    pub user: Arc<str>,
    /// The command name of the calling thread.
    pub command: String,
    /// The path of what it runs, where the node has this very file there; absent where that cannot be known, as in most
    /// containers. A process can run something else any time.
    pub executable: Option<Arc<str>>,
    /// What could not be found out about it.
    pub unknown: Unknown,
}

/// Facts about a workload that could not be found out. The executable is not among them: it is unknown wherever it is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// The path of its cgroup, and with it the unit, the container and the pod.
    pub cgroup: bool,
    /// The namespace and the name of its pod.
    pub pod: bool,
    /// The service account of its pod.
    pub service_account: bool,
    /// Whether its user has a name.
    pub user: bool,
}

/// One captured connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Number of the flow in this process, from 1.
    pub id: u64,
    /// The address that the caller asked for.
    pub original_dst: OriginalDst,
    /// The callers that the rule which captured it is for. Where that is the caller's owner alone, the owner chose the address, and
    /// Egret never dials it for an API.
    pub scope: Scope,
    /// The workload that opened the connection.
    pub workload: Workload,
    /// Generation of the rule that captured it.
    pub generation: Generation,
    /// The API whose address it is.
    pub api: ApiId,
}

/// The protocol of a connection, detected from its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// An HTTP/1 request with this Host, without port; `None` if absent or no name.
    Http1 {
        /// The name in `Host` or the absolute target.
        host: Option<Host>,
    },
    /// The HTTP/2 connection preface, in the clear.
    Http2,
    /// Bytes we do not understand and only carry, or nothing said in time.
    Opaque,
    /// A TLS ClientHello with this server name.
    Tls {
        /// The name in the server_name extension (RFC 6066 §3).
        sni: Option<Host>,
        /// What the caller would speak inside.
        alpn: Alpn,
    },
}

/// What a caller offers to speak inside TLS (ALPN, RFC 7301): of HTTP, the versions that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alpn {
    /// Whether `http/1.1` is offered; also true where nothing is offered.
    pub http1: bool,
    /// Whether `h2` is offered.
    pub http2: bool,
}

impl Alpn {
    /// An offer of HTTP/1.1 alone.
    pub const HTTP1: Self = Self { http1: true, http2: false };
    /// An offer of HTTP/2 alone.
    pub const HTTP2: Self = Self { http1: false, http2: true };

    /// An offer of both versions.
    pub const BOTH: Self = Self { http1: true, http2: true };

    /// Parses the names on the wire; `None` means that there was no offer.
    pub fn offered<'a>(names: Option<impl Iterator<Item = &'a [u8]>>) -> Self {
        let Some(names) = names else { return Self::HTTP1 };
        names.fold(Self { http1: false, http2: false }, |alpn, name| Self {
            http1: alpn.http1 || name == b"http/1.1",
            http2: alpn.http2 || name == b"h2",
        })
    }

    /// Returns the names on the wire, the preferred one first.
    pub fn names(self) -> Vec<Vec<u8>> {
        let names = [(self.http2, &b"h2"[..]), (self.http1, b"http/1.1")];
        names.into_iter().filter(|(offered, _)| *offered).map(|(_, name)| name.to_vec()).collect()
    }
}

impl Protocol {
    /// The spelling in logs, metrics and the CLI.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Http1 { .. } => "http1",
            Self::Http2 => "http2",
            Self::Opaque => "opaque",
            Self::Tls { .. } => "tls",
        }
    }

    /// Returns the host name that the caller asked for, if any.
    pub fn authority(&self) -> Option<&Host> {
        match self {
            Self::Http1 { host } => host.as_ref(),
            Self::Tls { sni, .. } => sni.as_ref(),
            Self::Http2 | Self::Opaque => None,
        }
    }
}

/// Marks a socket of ours, before it connects, so that the hooks leave it alone.
pub type Exempt = Arc<dyn Fn(BorrowedFd<'_>) -> io::Result<()> + Send + Sync>;
