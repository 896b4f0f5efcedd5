use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Refuses requests beyond a number of concurrent ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LimitConcurrencyFile {
    /// The number of concurrent requests. Example: `10`.
    #[schemars(with = "u32", range(min = 1))]
    pub(in crate::config) max: Spanned<u32>,
    /// An expression: requests with different values are counted apart. Default: all requests together. Example:
    /// `workload.owner`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
}

/// Refuses requests beyond a number, or a number of bytes, in a long period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct QuotaFile {
    /// The number of requests. At least one of `calls` and `bytes` is required. Default: none. Example: `10000`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) calls: Option<u64>,
    /// The number of bytes in the bodies of requests and responses. Transfers that run when they are used up continue to their
    /// end. Default: none. Example: `1073741824`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) bytes: Option<u64>,
    /// `month`, or a duration of at least 1m. Periods follow one another. Default: none, the quota never renews. Example:
    /// `1d`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) period: Option<Text>,
    /// The start of a period (RFC 3339). Default: the start of 1970 (UTC). Example: `2026-01-15T00:00:00+01:00`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) first_period_start: Option<Text>,
    /// For `quota-by-key`: an expression. Requests with different values are counted apart. Default: none. Example: `workload.unit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// A condition, an expression: whether a request counts. If it refers to the `response`, the response that the caller
    /// receives decides (502 or 504 where the third party does not respond). Until then, and where the condition fails to
    /// evaluate, the request counts. Default: each request counts. Example: `'response.status < 400'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// An expression for the number that a request counts as, a whole number. A request that counts as 0 is always allowed.
    /// Default: 1. Example: `size(request.body) / 1000 + 1`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) count: Option<Text>,
    /// A response header that receives the number of requests left. Default: none. Example: `X-Quota-Remaining`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
    /// A variable that receives the number of requests left. Default: none. Example: `left`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_variable: Option<Text>,
    /// Whether the limit is counted in `counters`, for all nodes together. If false, each node counts on its own. Default:
    /// false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) shared: Option<Spanned<bool>>,
}

/// Refuses requests beyond a number in a period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RateLimitFile {
    /// The number of requests. Example: `100`.
    #[schemars(with = "u32", range(min = 1))]
    pub(in crate::config) calls: Spanned<u32>,
    /// The length of the sliding window, at most 1h. Example: `1m`.
    #[schemars(with = "String")]
    pub(in crate::config) period: Text,
    /// For `rate-limit-by-key`: an expression. Requests with different values are counted apart. Default: none. Example: `workload.unit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// A condition, an expression: whether a request counts. If it refers to the `response`, the response that the caller
    /// receives decides (502 or 504 where the third party does not respond). Until then, and where the condition fails to
    /// evaluate, the request counts. Default: each request counts. Example: `'response.status < 400'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// An expression for the number that a request counts as, a whole number. A request that counts as 0 is always allowed.
    /// Default: 1. Example: `size(request.body) / 1000 + 1`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) count: Option<Text>,
    /// A response header that receives the number of requests left. Default: none. Example: `X-RateLimit-Remaining`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
    /// A variable that receives the number of requests left. Default: none. Example: `left`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_variable: Option<Text>,
    /// A response header that receives the number of requests allowed. Default: none. Example: `X-RateLimit-Limit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) total_header: Option<Text>,
    /// Whether the limit is counted in `counters`, for all nodes together. If false, each node counts on its own. Default:
    /// false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) shared: Option<Spanned<bool>>,
}
