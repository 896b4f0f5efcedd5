use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// The source addresses of connections to third parties, and the proxy on the way.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct EgressFile {
    /// Addresses of the node: one IPv4 address, one IPv6 address, or one of each. Default: in an API, those of the top-level
    /// `egress`; there, those of the environment variable `EGRET_EGRESS_ADDRESSES`. Example: `[192.0.2.10]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) addresses: Vec<Spanned<String>>,
    /// The name of a forward proxy in `proxies`, through which all connections leave, also those that policies open; or
    /// `none`. The third party then sees the proxy's address, and the proxy sees the egress address. Default: `none`; in an
    /// API, that of the top-level `egress`. Example: `office`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) proxy: Option<Spanned<String>>,
}

impl EgressFile {
    /// With what the environment adds to the keys that are here.
    pub(super) fn and(self, other: Self) -> Self {
        let addresses = if self.addresses.is_empty() { other.addresses } else { self.addresses };
        Self { addresses, proxy: self.proxy.or(other.proxy) }
    }
}

/// A forward proxy. Egret requests a tunnel (CONNECT) to the third party's name and port, also for plain HTTP, and the proxy
/// must allow that. TLS with the third party passes through the tunnel unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProxyFile {
    /// The proxy's URL, with a name or an address. `https://` is not supported. A proxy on this node must run outside of
    /// `capture.cgroup`: otherwise Egret captures its connections. Example: `http://proxy.acme.example:3128`.
    #[schemars(with = "String")]
    pub(in crate::config) url: Spanned<String>,
    /// The user name for the proxy (Proxy-Authorization: Basic), without a colon. Default: none. Example: `egret`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) username: Option<Spanned<String>>,
    /// The password for the proxy, usually a `{{named value}}`. Egret sends it without TLS: this needs `plain_secrets: true`.
    /// Default: none. Example: `"{{proxy-password}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) password: Option<Spanned<String>>,
    /// Whether Egret may send the password without TLS. Default: false.
    #[serde(default)]
    pub(in crate::config) plain_secrets: bool,
    /// Names to which Egret connects directly instead of through the proxy. `*.acme.example` stands for all names below
    /// `acme.example`. Default: none. Example: `["*.acme.example"]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) except: Vec<Spanned<String>>,
}
