//! Servers by name, as they are written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Text, TlsFile};

/// One server, or several that do the same, for `set-backend`. It has exactly one of `url` and `pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ServiceFile {
    /// The URL of the only server. Its path comes before the path of the request. Default: none. Example:
    /// `https://sandbox.partner.example/v2`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) url: Option<Text>,
    /// Several servers. Default: none. Example: `[{url: https://one.example}, {url: https://two.example}]`.
    #[serde(default)]
    pub(in crate::config) pool: Vec<MemberFile>,
    /// TLS settings for servers that have none of their own.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// When Egret stops sending requests to a failing server for a while. Default: never.
    #[serde(default)]
    pub(in crate::config) circuit_breaker: Option<BreakerFile>,
    /// How Egret checks the health of each server, from `egress.addresses`. Default: not at all.
    #[serde(default)]
    pub(in crate::config) health: Option<HealthFile>,
}

/// One of the servers of a backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct MemberFile {
    /// The URL of the server. Its path comes before the path of the request. Example: `https://one.example`.
    #[schemars(with = "String")]
    pub(in crate::config) url: Text,
    /// The server's share of the requests among those of the same priority. Default: 1. Example: `3`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) weight: Option<u32>,
    /// A server receives requests only while no server with a lower number can. Default: 1. Example: `2`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) priority: Option<u32>,
    /// TLS settings for the server.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
}

/// When Egret stops sending requests to a failing server for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BreakerFile {
    /// The number of failures. A request without a response is a failure. Example: `5`.
    #[schemars(with = "u32", range(min = 1, max = 10000))]
    pub(in crate::config) failures: Spanned<u32>,
    /// The time within which the failures occur. Default: 1m. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) window: Option<Text>,
    /// How long the server receives no requests, or as long as its Retry-After says, if that is longer. After that, one
    /// request decides. Default: 30s. Example: `10s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) open: Option<Text>,
    /// Statuses, and ranges of them, that are failures. Default: `500-599`. Example: `['429', 500-599]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) statuses: Option<Vec<Text>>,
}

/// How Egret checks the health of a server. While no server is healthy, all receive requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HealthFile {
    /// The path of a GET request; a status from 200 to 399 is healthy. Example: `/health`.
    #[schemars(with = "String")]
    pub(in crate::config) path: Text,
    /// The time between checks, at least 1s. Default: 10s. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// The longest time to wait for the response. Default: 2s. Example: `1s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
}
