//! Tokens of language models, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Refuses requests of callers that have used up their tokens. The tokens of a request are known when its response has ended,
/// from its `usage`. For a stream without `usage`, each event counts as one token, and each four bytes of the request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LlmTokenLimitFile {
    /// The number of tokens in any minute; beyond it, requests are refused (429). Default: none. Example: `10000`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(in crate::config) tokens_per_minute: Option<u64>,
    /// The number of tokens in a period; beyond it, requests are refused (403). Counts outlive a restart. Default: none.
    /// Example: `1000000`.
    #[serde(default)]
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub(in crate::config) token_quota: Option<Spanned<u64>>,
    /// `month`, or a duration of at least 1m. Periods follow one another from the start of 1970 (UTC). Default: none, the
    /// quota never renews. Example: `1d`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) period: Option<Text>,
    /// An expression. Requests with different values are counted apart. Default: each workload. Example: `subscription.name`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) key: Option<Text>,
    /// Whether Egret also refuses a request whose prompt alone, by its length, has more tokens than are left of the minute. It
    /// then reads the whole request. Default: false.
    #[serde(default)]
    pub(in crate::config) estimate_prompt: bool,
    /// A response header that receives the number of tokens left before the request. Default: none. Example:
    /// `X-Tokens-Remaining`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) remaining_header: Option<Text>,
}

/// Counts tokens in the metric `egret_custom_NAME_total`, with the label `kind`: `prompt` or `completion`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LlmTokenMetricFile {
    /// The name in the metric's name: letters, digits and `_`. Default: `llm_tokens`. Example: `assistant_tokens`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) name: Option<Text>,
    /// Names and values (templates) of at most 4 more labels. Default: none. Example: `{unit: "${workload.unit}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) dimensions: BTreeMap<String, Text>,
}
