use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// Answers GET and HEAD requests from the cache (RFC 9111), as fresh as the caller's Cache-Control demands. A stale response
/// is revalidated (If-None-Match, If-Modified-Since) if the third party gave it a validator. The caller receives the response
/// as `cache-store` stored it: outbound does not run again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupFile {
    /// Request headers that select between cached responses, beside those that the third party names (Vary). Default: none.
    /// Example: `[Accept-Language]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) vary_by_header: Vec<Text>,
    /// Query parameters that select between cached responses. Default: all. Example: `[page]`.
    #[serde(default)]
    pub(in crate::config) vary_by_query_parameter: Option<Vec<String>>,
    /// Whether each owner (unit, container or pod) has cached responses of its own. Default: false.
    #[serde(default)]
    pub(in crate::config) vary_by_workload: bool,
    /// Whether callers with credentials share responses. Otherwise they share those that the third party says are for all
    /// (`public`, `must-revalidate`, `s-maxage`). Of the others Egret stores none to a request with credentials of the caller
    /// (Authorization, Cookie, Proxy-Authorization, a header with a word like key, token or session in its name), unless
    /// `vary_by_header` names them all. Where Egret adds a credential or shows a certificate, callers of the same owner (unit,
    /// container or pod) share them. Default: false.
    #[serde(default)]
    pub(in crate::config) share_authorized: bool,
    /// The longest time to wait for the same response while it is on its way to another caller. Egret then requests it once,
    /// if it may be cached. Default: none, each caller's request is forwarded. Example: `10s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) wait: Option<Text>,
}

/// Caches the response of a GET request that `cache-lookup` looked up, if it has status 200, is complete and sets no cookie. A
/// successful request to the same path with a method other than GET, HEAD, OPTIONS or TRACE removes its cached responses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreFile {
    /// How long the response is fresh, whatever the third party says. Default: as long as the third party says (Cache-Control,
    /// Expires, Age). Example: `5m`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) duration: Option<Text>,
    /// How long after that the response is used while the third party does not respond, or responds with a status of 500 or
    /// more. Without `duration`, the third party's `must-revalidate`, `proxy-revalidate`, `s-maxage` and `no-cache` forbid it.
    /// Default: as long as the third party says (`stale-if-error`), else 0s. Example: `1h`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) stale_if_error: Option<Text>,
}

/// Reads a cached value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupValueFile {
    /// An expression for the key of the value. Example: `'"token-" + workload.owner'`.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// A name under which all APIs and callers that give it share the value. Default: the value belongs to this API and to the owner
    /// of the caller (its unit, container or pod). Example: `partner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) shared: Option<Text>,
    /// The name of the variable that receives the value. Example: `token`.
    #[schemars(with = "String")]
    pub(in crate::config) variable: Text,
    /// Whether the value is a secret. A secret is masked wherever people read it, and never goes to a caller, to a record or
    /// to a server without TLS. Default: false.
    #[serde(default)]
    pub(in crate::config) secret: bool,
    /// An expression for the value if there is none in the cache. Default: null. Example: `'"none"'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) default: Option<Text>,
}

/// Caches a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreValueFile {
    /// An expression for the key of the value. Example: `'"token-" + workload.owner'`.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// A name under which all APIs and callers that give it share the value. Default: the value belongs to this API and to the owner
    /// of the caller (its unit, container or pod). Example: `partner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) shared: Option<Text>,
    /// An expression for the value. Example: `variables.token`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// How long the value stays in the cache. Example: `5m`.
    #[schemars(with = "String")]
    pub(in crate::config) duration: Text,
}

/// Removes a cached value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheRemoveValueFile {
    /// An expression for the key of the value. Example: `'"token-" + workload.owner'`.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// A name under which all APIs and callers that give it share the value. Default: the value belongs to this API and to the owner
    /// of the caller (its unit, container or pod). Example: `partner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) shared: Option<Text>,
}
