use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Text, TlsFile};

/// A collector of OpenTelemetry, to which Egret sends metrics, traces and logs (OTLP over HTTP, in protobuf). A change is live without a
/// restart. No request waits for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct OtlpFile {
    /// The URL of the collector, to which Egret adds `/v1/metrics`, `/v1/traces` and `/v1/logs`. Egret connects to it from any address
    /// of the node. Example: `https://otel.example:4318`.
    #[schemars(with = "String")]
    pub(in crate::config) endpoint: Text,
    /// Header fields of each export, such as a token. A value may have `{{named values}}`, whose files Egret reads again when they
    /// change. Default: none. Example: `{Authorization: "Bearer {{otlp-token}}"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(in crate::config) headers: BTreeMap<String, Text>,
    /// TLS settings for the collector.
    #[serde(default)]
    pub(in crate::config) tls: Option<TlsFile>,
    /// The time between two exports of metrics, from 1s to 1h. Default: 1m. Example: `15s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(in crate::config) interval: Option<Text>,
    /// The share of requests that get a span, from 0 to 1. A request that belongs to a trace already (`traceparent`) gets one exactly
    /// if its caller sampled that trace. Default: 0.01. Example: `0.1`.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub(in crate::config) sampling: Option<Spanned<f64>>,
    /// Whether Egret tells the third party to which trace a request belongs: it sets `traceparent` to its own span (W3C Trace Context).
    /// Without it, Egret does not change the request, and a `traceparent` of the caller is forwarded as it is. Default: false.
    /// Example: `true`.
    #[serde(default)]
    pub(in crate::config) propagate: bool,
    /// What Egret sends: `metrics`, `traces` (one span for each sampled request of an API), `logs` (the lines of the access log).
    /// Default: all of them. Example: `[traces]`.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub(in crate::config) signals: Option<Vec<Text>>,
}
