use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::TlsFile;

/// A server that speaks Redis's protocol: Redis (5 or later) or Valkey, one server, no cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CountersFile {
    /// `rediss://counters.example:6380/0`: with TLS, the port (default 6379), the number of a database. `redis://` is without
    /// TLS. Egret's connection to it leaves from any address of the node.
    #[schemars(with = "String")]
    pub(in crate::config) url: Spanned<String>,
    /// Who Egret is there. Default: the server's default user.
    #[serde(default)]
    pub(in crate::config) username: Option<String>,
    /// Proof of it, as a rule `{{named value}}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) password: Option<Spanned<String>>,
    /// TLS with it.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// Longest wait for a count; beyond, the server does not answer. Default 100ms.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Spanned<String>>,
    /// While it does not answer: `count_here` (default), each node counts on its own, and it is on record; `refuse`, calls are
    /// answered 503.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) on_failure: Option<Spanned<String>>,
}
