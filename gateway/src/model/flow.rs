use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::{ApiId, Generation, Host, Scope, Workload};

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
    pub command: Arc<str>,
    /// CLOCK_MONOTONIC time of the `connect`.
    pub time: Duration,
    /// Generation of the rule that captured it.
    pub generation: Generation,
    /// The API whose address it is, in that generation.
    pub api: ApiId,
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
