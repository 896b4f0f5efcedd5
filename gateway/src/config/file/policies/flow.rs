use std::collections::BTreeMap;

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

/// Forwards the request to the third party.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ForwardFile {
    /// The longest time to wait for the head of the response; after that, the error is `upstream_timeout` (504). Default:
    /// none. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// Whether a response with a status of 400 or more is a failure, for on-error. Default: false.
    #[serde(default)]
    pub(in crate::config) fail_on_error_status: bool,
    /// How many redirects to the third party itself Egret follows. Redirects to other servers go to the caller. A request with
    /// a body is only sent again if a policy reads the body. Default: 0. Example: `3`.
    #[serde(default)]
    #[schemars(range(max = 20))]
    pub(in crate::config) follow_redirects: u32,
    /// Whether Egret reads the whole body, of at most `max_body` bytes, before it forwards the request: a slow caller does not
    /// hold a connection to the third party. Default: false.
    #[serde(default)]
    pub(in crate::config) buffer_request: bool,
    /// Whether Egret reads the whole response before it responds to the caller. One that breaks off is a failure, for
    /// on-error, `retry` and `stale_if_error`. A response of more than `max_body` bytes is streamed. Do not use it for
    /// server-sent events. Default: false.
    #[serde(default)]
    pub(in crate::config) buffer_response: bool,
}

/// A response.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ReplyFile {
    /// The status. Default: 200. Example: `503`.
    #[serde(default)]
    #[schemars(range(min = 200, max = 599))]
    pub(in crate::config) status: Option<u16>,
    /// Names and values of headers. Default: none. Example: `{Retry-After: "60"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) headers: BTreeMap<String, Text>,
    /// The body, a template. Default: empty. Example: `"Closed until Monday"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) body: Option<Text>,
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

/// Stores a value for later expressions.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetVariableFile {
    /// The name of the variable: expressions refer to it as `variables.NAME`. Example: `tenant`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// An expression for the value. Example: `'request.headers["x-tenant"]'`.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// Whether the value is a secret. A secret is masked wherever people read it, and never goes to a caller, to a record or
    /// to a server without TLS. Default: false.
    #[serde(default)]
    pub(in crate::config) secret: bool,
}
