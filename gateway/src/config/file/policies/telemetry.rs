//! Policies that tell, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Text;

/// Adds to the counter `egret_custom_NAME_total` of the metrics.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct EmitMetricFile {
    /// The name in the metric's name: letters, digits and `_`, not beginning with a digit. Example: `orders`.
    #[schemars(with = "String")]
    pub(in crate::config) name: Text,
    /// An expression for the number that is added, zero or more. Default: 1. Example: `size(request.body)`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) value: Option<Text>,
    /// Names and values (templates) of at most 5 labels. At most 1000 combinations of values have a series of their own. Other
    /// values are counted as `other`, and in `egret_series_dropped_total`. Default: none. Example: `{unit:
    /// "${workload.unit}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) dimensions: BTreeMap<String, Text>,
}

/// Writes the request or the response to the access log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct LogFile {
    /// A text beside it, a template. Default: none. Example: `"order of ${workload.unit}"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) message: Option<Text>,
    /// Whether the record contains the body, if it is not compressed. A request's body is then read whole, up to `max_body`
    /// bytes; of a response's body Egret reads only what it records. Default: false.
    #[serde(default)]
    pub(in crate::config) body: bool,
    /// The number of bytes of the body that are recorded. Default: 4096. Example: `1024`.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1, max = 1_048_576))]
    pub(in crate::config) max_bytes: Option<Spanned<u32>>,
    /// What Egret masks, beside Authorization, Cookie and other headers that it always masks. A body that cannot be masked,
    /// because it is longer than `max_body` or not JSON where `json` is set, is not recorded.
    #[serde(default)]
    #[schemars(with = "Option<RedactFile>")]
    pub(in crate::config) redact: Option<Spanned<RedactFile>>,
}

/// What Egret masks in records.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RedactFile {
    /// Names of headers. Default: none. Example: `[X-Customer]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) headers: Vec<Text>,
    /// Places in a JSON body (RFC 6901); `*` stands for each part. Default: none. Example: `[/card/number, /items/*/price]`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) json: Vec<Text>,
    /// Regular expressions: what matches is masked in the path, in headers and in the body. Default: none. Example:
    /// `['[0-9]{16}']`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) text: Vec<Text>,
}

/// Writes a message.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct TraceFile {
    /// `debug`, `info`, `warning` or `error`. Default: `info`. Example: `warning`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) severity: Option<Text>,
    /// The origin of the message. Default: none. Example: `billing`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) source: Option<Text>,
    /// The message, a template. Example: `"called by ${workload.unit}"`.
    #[schemars(with = "String")]
    pub(in crate::config) message: Text,
    /// Names and values (templates). Default: none. Example: `{tenant: "${variables.tenant}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) metadata: BTreeMap<String, Text>,
}
