//! Policies that tell, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Adds to a counter, `egret_custom_NAME_total` of the metrics.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct EmitMetricFile {
    /// Letters, digits and _; it does not begin with a digit.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// An expression: how much, zero or more. Default 1.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Name and value of at most 5 labels by which it is counted on its own. At most 1000 combinations of values are; what
    /// has another one is counted with the value `other` for each of them, and in `egret_series_dropped_total`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) dimensions: BTreeMap<String, Text>,
}

/// Puts the request or the answer on record.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LogFile {
    /// What is said beside it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) message: Option<Text>,
    /// Whether its body is on record, too, if it is not compressed. That of a request is read as a whole then, of at most
    /// `max_body` bytes; of an answer only what is on record. Default false.
    #[serde(default)]
    pub(in crate::config) body: bool,
    /// Bytes of the body that are. Default 4096.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1, max = 1_048_576))]
    pub(in crate::config) max_bytes: Option<Spanned<u32>>,
    /// What is masked, beside Authorization, Cookie and others that always are. A body in which nothing could be masked,
    /// because it is longer than `max_body`, or not the JSON it should be, is not on record.
    #[serde(default)]
    #[schemars(with = "Option<RedactFile>")]
    pub(in crate::config) redact: Option<Spanned<RedactFile>>,
}

/// What is masked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RedactFile {
    /// Headers.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) headers: Vec<Text>,
    /// Places in a body of JSON (RFC 6901), like `/card/number`; `*` stands for each part: `/items/*/price`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) json: Vec<Text>,
    /// Regular expressions: what matches, in the path, in headers and in the body.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) text: Vec<Text>,
}

/// Says something.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct TraceFile {
    /// `debug`, `info` (default), `warning` or `error`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) severity: Option<Text>,
    /// Who says it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) source: Option<Text>,
    /// What.
    #[schemars(with = "String")]
    pub(in crate::config) message: Text,
    /// Name and value.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) metadata: BTreeMap<String, Text>,
}
