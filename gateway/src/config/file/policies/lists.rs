//! Policies that contain lists of policies, as they are written.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Step, Text};

/// A condition and the policies that run if it holds. It has `when` and `then`, or `otherwise`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BranchFile {
    /// A condition, an expression. Default: none. Example: `'request.method == "POST"'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) when: Option<Text>,
    /// Policies that run if the condition holds. Default: none. Example: `[{set-method: PUT}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) then: Option<Vec<Spanned<Step>>>,
    /// Policies that run if no condition before it holds. It is the last branch. Default: none. Example: `[{return-response:
    /// {status: 405}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) otherwise: Option<Vec<Spanned<Step>>>,
}

/// Runs its policies again while a condition holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RetryFile {
    /// A condition, an expression. Default: there was no response, or one with status 502, 503 or 504. Example:
    /// `'response.status == 429'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// The number of retries after the first attempt. Example: `2`.
    #[schemars(with = "u32", range(min = 1, max = 50))]
    pub(in crate::config) count: Spanned<u32>,
    /// The first pause. Each further one is twice as long, minus a random part of up to a half. Egret waits for the response's
    /// `Retry-After` instead, if that is not longer than `max_interval`. Default: 100ms. Example: `200ms`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// The longest pause. Default: 10s. Example: `5s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) max_interval: Option<Text>,
    /// Whether requests are retried whose method is not idempotent (POST, PATCH). Default: false.
    #[serde(default)]
    pub(in crate::config) any_method: bool,
    /// The number of retries for each hundred requests, beside ten at any time, so that a failing third party does not receive
    /// many times the requests. 0 means no bound. Default: 20. Example: `10`.
    #[serde(default)]
    #[schemars(range(max = 5000))]
    pub(in crate::config) budget: Option<u32>,
    /// The policies that run. Default: `forward-request`. Example: `[{forward-request: {timeout: 5s}}]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) policies: Option<Vec<Spanned<Step>>>,
}
