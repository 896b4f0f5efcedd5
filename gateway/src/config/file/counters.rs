use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::TlsFile;

/// A server that speaks the Redis protocol: one Redis (5 or later) or Valkey server, not a cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CountersFile {
    /// The server's URL. `rediss://` uses TLS, `redis://` does not. The default port is 6379; the path is the number of a
    /// database. Egret connects to the server from any address of the node. Example: `rediss://counters.example:6380/0`.
    #[schemars(with = "String")]
    pub(in crate::config) url: Spanned<String>,
    /// The user name for the server. Default: the server's default user. Example: `egret`.
    #[serde(default)]
    pub(in crate::config) username: Option<String>,
    /// The password for the server, usually a `{{named value}}`. Default: none. Example: `"{{counters-password}}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) password: Option<Spanned<String>>,
    /// TLS settings for the server.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// The longest time to wait for a count, from 1ms to 5s. After that, the server counts as unreachable. Default: 100ms.
    /// Example: `50ms`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Spanned<String>>,
    /// What happens while the server is unreachable. `count_here`: each node counts on its own, and records say so. `refuse`:
    /// requests are refused (503). Default: `count_here`. Example: `refuse`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) on_failure: Option<Spanned<String>>,
}
