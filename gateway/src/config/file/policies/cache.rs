use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;

/// Answers from what is kept (RFC 9111), to GET and HEAD, as fresh as the caller wants it (Cache-Control of the request). What is
/// not is asked for only if it is another one (If-None-Match, If-Modified-Since), where the third party has said which it is. An
/// answer is given as `cache-store` found it: outbound does not run for it again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupFile {
    /// Headers of the request by which answers differ, beside those that the third party names (Vary).
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) vary_by_header: Vec<Text>,
    /// The parameters of the query by which answers differ. Default: all.
    #[serde(default)]
    pub(in crate::config) vary_by_query_parameter: Option<Vec<String>>,
    /// Whether workloads do not share answers. Default false.
    #[serde(default)]
    pub(in crate::config) vary_by_workload: bool,
    /// Whether callers with an Authorization of their own share answers. Default false: only those of which the third party says
    /// that all may have them (`public`, `must-revalidate`, `s-maxage`).
    #[serde(default)]
    pub(in crate::config) share_authorized: bool,
    /// Longest wait for the same answer where it is on its way to another caller already: then it is asked for once, if it may be
    /// kept. Default: none is waited for, each is asked for.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) wait: Option<Text>,
}

/// Keeps the answer, if it is a 200 to a GET that was looked up, no part, and sets no cookie. What is kept of a path is forgotten
/// when a request with another method than GET, HEAD, OPTIONS or TRACE succeeds there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreFile {
    /// How long it is fresh, whatever the third party says of that. Default: as long as it says (Cache-Control, Expires, Age).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) duration: Option<Text>,
    /// How long after that it is given where the third party gives none, or one of 500 and more. Default: as long as the third
    /// party says (`stale-if-error`), else 0s. Without `duration` its `must-revalidate`, `proxy-revalidate`, `s-maxage` and
    /// `no-cache` forbid it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) stale_if_error: Option<Text>,
}

/// Reads a value that was kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheLookupValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// The variable that it goes to.
    #[schemars(with = "String")]
    pub(in crate::config) variable: Text,
    /// Whether it is a secret: what comes of it is masked where people read, and goes to no caller, no record and no server
    /// without TLS. Default false.
    #[serde(default)]
    pub(in crate::config) secret: bool,
    /// An expression: what it is if there is none. Default: null.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) default: Option<Text>,
}

/// Keeps a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheStoreValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// How long, like 5m.
    #[schemars(with = "String")]
    pub(in crate::config) duration: Text,
}

/// Forgets a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct CacheRemoveValueFile {
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) key: Text,
}
