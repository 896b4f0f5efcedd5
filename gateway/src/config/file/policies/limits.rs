use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Refuses requests beyond so many at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LimitConcurrencyFile {
    /// How many.
    #[schemars(with = "u32", range(min = 1))]
    pub(in crate::config) max: Spanned<u32>,
    /// An expression: what is counted on its own. Default: everything together.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
}

/// Refuses calls beyond so many in a long period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct QuotaFile {
    /// How many calls. This, `bytes`, or both.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) calls: Option<u64>,
    /// How many bytes, of the bodies of requests and answers. What is under way when they are used up goes on to its end.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) bytes: Option<u64>,
    /// `month`, or a time like 1d, at least 1m; periods follow one another. Default: for ever.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) period: Option<Text>,
    /// When one of them begins, like 2026-01-15T00:00:00+01:00 (RFC 3339). Default: the start of 1970 (UTC).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) first_period_start: Option<Text>,
    /// An expression: what is counted on its own. For `quota-by-key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// An expression: whether a call counts. If it is about the `response`, what the caller gets decides (where the third party
    /// gives no answer, 502 or 504); until then, and where that cannot be said, the call counts. Default: each does.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// An expression: how many calls one counts as, a whole number. Default 1; one that counts as 0 is let through.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) count: Option<Text>,
    /// Header of the answer that says how many calls are left.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
    /// The variable that says so.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_variable: Option<Text>,
    /// Whether it is counted in `counters`, for all nodes together. Default: each node counts on its own.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) shared: Option<Spanned<bool>>,
}

/// Refuses calls beyond so many in a period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RateLimitFile {
    /// How many.
    #[schemars(with = "u32", range(min = 1))]
    pub(in crate::config) calls: Spanned<u32>,
    /// In any time of this length, like 1m; at most 1h.
    #[schemars(with = "String")]
    pub(in crate::config) period: Text,
    /// An expression: what is counted on its own. For `rate-limit-by-key`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// An expression: whether a call counts. If it is about the `response`, what the caller gets decides (where the third party
    /// gives no answer, 502 or 504); until then, and where that cannot be said, the call counts. Default: each does.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// An expression: how many calls one counts as, a whole number. Default 1; one that counts as 0 is let through.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) count: Option<Text>,
    /// Header of the answer that says how many calls are left.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
    /// The variable that says so.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_variable: Option<Text>,
    /// Header of the answer that says how many calls there are in all.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) total_header: Option<Text>,
    /// Whether it is counted in `counters`, for all nodes together. Default: each node counts on its own.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) shared: Option<Spanned<bool>>,
}
