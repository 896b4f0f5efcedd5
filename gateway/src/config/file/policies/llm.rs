//! Tokens of language models, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Refuses requests of those who have used their tokens up. What an answer has cost is known when it has ended: it says so
/// itself (`usage`); for a stream that does not, each event counts one, and each four bytes of the request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LlmTokenLimitFile {
    /// In any minute; beyond, requests are refused (429).
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) tokens_per_minute: Option<u64>,
    /// In a period; beyond, requests are refused (403); a restart forgets none.
    #[serde(default)]
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub(in crate::config) token_quota: Option<Spanned<u64>>,
    /// `month`, or a time like 1d, at least 1m; periods follow one another from the start of 1970 (UTC). Default: for ever.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) period: Option<Text>,
    /// An expression: what is counted on its own. Default: each workload.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// Whether a request is refused, too, whose prompt alone, by its length, has more tokens than are left of the minute.
    /// It is read as a whole then. Default false.
    #[serde(default)]
    pub(in crate::config) estimate_prompt: bool,
    /// Header of the answer that says how many tokens were left.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
}

/// Counts tokens in `egret_custom_NAME_total`, by `kind`: `prompt` or `completion`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LlmTokenMetricFile {
    /// As of `emit-metric`. Default `llm_tokens`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) name: Option<Text>,
    /// Name and value of at most 4 more labels.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) dimensions: BTreeMap<String, Text>,
}
