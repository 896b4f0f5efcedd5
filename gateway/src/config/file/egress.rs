use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

/// The way out.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct EgressFile {
    /// Addresses of the node: one of IPv4, one of IPv6, or one of each.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) addresses: Vec<Spanned<String>>,
    /// One of `proxies`, through which all leaves, what policies send, too; or `none`. The third party then sees the proxy's
    /// address, and the proxy the egress address. Default: none; in an API, as for all.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) proxy: Option<Spanned<String>>,
}

/// A forward proxy. It is asked for a tunnel to the third party's name and port (CONNECT), for plain HTTP, too, and must allow
/// that; TLS with the third party is as without it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ProxyFile {
    /// `http://proxy.acme.example:3128`, or with an address instead of the name. `https://` is not supported. On this node it must run
    /// outside of `capture.cgroup`: else its own connections come back to it.
    #[schemars(with = "String")]
    pub(in crate::config) url: Spanned<String>,
    /// Who Egret is there (Proxy-Authorization: Basic); without a colon.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) username: Option<Spanned<String>>,
    /// Proof of it, as a rule `{{named value}}`. It is sent without TLS: say `plain_secrets: true`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) password: Option<Spanned<String>>,
    /// Whether the password may be sent without TLS. Default false.
    #[serde(default)]
    pub(in crate::config) plain_secrets: bool,
    /// Names that it does not lead to, and that are connected to straight: `hooks.acme.example`, or `*.acme.example` for all
    /// below that.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) except: Vec<Spanned<String>>,
}
