use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Step, Text};

/// A condition and its policies.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct BranchFile {
    /// An expression.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) when: Option<Text>,
    /// What is done where it holds.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) then: Option<Vec<Spanned<Step>>>,
    /// What is done where none before it holds; the last of the list.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) otherwise: Option<Vec<Spanned<Step>>>,
}

/// Sends the request to the third party.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ForwardFile {
    /// Longest wait for the head of the answer; beyond, error `upstream_timeout` (504). Default: none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) timeout: Option<Text>,
    /// Whether an answer of 400 or more is an error, for on-error. Default false.
    #[serde(default)]
    pub(in crate::config) fail_on_error_status: bool,
    /// How many redirects to the third party itself are followed; those that lead elsewhere go to the caller. What has a body is
    /// only sent again if a policy looks at it. Default 0.
    #[serde(default)]
    #[schemars(range(max = 20))]
    pub(in crate::config) follow_redirects: u32,
    /// Whether the request is sent only when its body is there as a whole, of at most `max_body` bytes: a slow caller keeps no
    /// connection to the third party. Default false.
    #[serde(default)]
    pub(in crate::config) buffer_request: bool,
    /// Whether the caller gets the answer only when it is there as a whole; one that breaks off is none then, for on-error, `retry`
    /// and `stale_if_error`. What has more than `max_body` bytes is streamed. Not for server-sent events. Default false.
    #[serde(default)]
    pub(in crate::config) buffer_response: bool,
}

/// An answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct ReplyFile {
    /// Default 200.
    #[serde(default)]
    #[schemars(range(min = 200, max = 599))]
    pub(in crate::config) status: Option<u16>,
    /// Name and value.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) headers: BTreeMap<String, Text>,
    /// What it says. Default: nothing.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) body: Option<Text>,
}

/// Does its policies again while a condition holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RetryFile {
    /// An expression. Default: there was no answer, or one of 502, 503 or 504.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) condition: Option<Text>,
    /// How many times more.
    #[schemars(with = "u32", range(min = 1, max = 50))]
    pub(in crate::config) count: Spanned<u32>,
    /// The first pause; each further one is twice as long, less up to a half by chance. An answer's `Retry-After` is
    /// waited for instead, if it is not longer than `max_interval`. Default 100ms.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// The longest pause. Default 10s.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) max_interval: Option<Text>,
    /// Whether also requests that are not safe to be sent twice (POST, PATCH). Default false.
    #[serde(default)]
    pub(in crate::config) any_method: bool,
    /// Of a hundred requests so many may be sent again, beside ten at any time: a third party that is down is not asked many
    /// times as often. 0 is no bound. Default 20.
    #[serde(default)]
    #[schemars(range(max = 5000))]
    pub(in crate::config) budget: Option<u32>,
    /// What is done. Default: `forward-request`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Step>>")]
    pub(in crate::config) policies: Option<Vec<Spanned<Step>>>,
}

/// Keeps a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct SetVariableFile {
    /// Expressions say `variables.NAME`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// An expression.
    #[schemars(with = "String")]
    pub(in crate::config) value: Text,
    /// Whether it is a secret: what comes of it is masked where people read, and goes to no caller, no record and no server
    /// without TLS. Default false.
    #[serde(default)]
    pub(in crate::config) secret: bool,
}
