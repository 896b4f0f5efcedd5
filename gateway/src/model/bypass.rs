use std::net::SocketAddr;

use super::{ApiId, Generation, Origin};

/// A connection to a captured destination that does not go through Egret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// The API whose rule captures new connections to this destination.
    pub api: ApiId,
    /// Configuration version of that rule.
    pub generation: Generation,
    /// Why it does not go through Egret.
    pub cause: BypassCause,
    /// The caller and the destination. Where the kernel hooks have not seen the connection, process and command are empty.
    pub origin: Origin,
    /// Number of its network namespace.
    pub namespace: u64,
    /// Whether it is a connected UDP socket.
    pub udp: bool,
    /// The address that it leaves from.
    pub local: SocketAddr,
    /// A number that no other socket has.
    pub cookie: u64,
    /// Whether it was closed now, or why not.
    pub closed: Option<Result<(), String>>,
}

/// Why a connection does not go through Egret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BypassCause {
    /// It was open when this process of Egret started.
    Older,
    /// It was opened when no API listed the host, or when Egret did not know the address: the caller has it from elsewhere.
    NotKnown,
    /// It was opened while Egret was gone, and the API fails open.
    GatewayGone,
    /// Its network namespace has no listener, and the API fails open.
    ForeignNamespace,
    /// Its socket is bound to a device, and the API fails open.
    BoundDevice,
}

impl BypassCause {
    /// The causes in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Older, Self::NotKnown, Self::GatewayGone, Self::ForeignNamespace, Self::BoundDevice];

    /// The spelling in metrics and in the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::NotKnown => "address_not_known",
            Self::GatewayGone => "gateway_gone_open",
            Self::ForeignNamespace => "foreign_namespace_open",
            Self::BoundDevice => "bound_device_open",
        }
    }

    /// What an owner can do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Older => "`egret inspect bypasses --close`: the application connects again, through Egret",
            Self::NotKnown => {
                "`--close`, once; and let the caller use a DNS server that Egret sees (`dns: {forward: true}`, \
                 `resolver.trusted_servers`), not one of its own and not DNS over HTTPS"
            }
            Self::GatewayGone => "`--close`: Egret is there again; or `fail: closed`",
            Self::ForeignNamespace => {
                "see `egret inspect decisions`: Egret does not listen in its network namespace; or `fail: closed`"
            }
            Self::BoundDevice => "do not bind the socket to a device, or `fail: closed`",
        }
    }
}
