use std::sync::Arc;
use std::time::Duration;

use super::{Endpoint, Template};

/// Where Egret sends metrics, traces and logs, and which of them (OTLP over HTTP, in protobuf).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The server that collects.
    pub endpoint: Arc<Endpoint>,
    /// The path before `/v1/metrics` and the others, without a slash at its end.
    pub base: Arc<str>,
    /// Header fields of each export: names, and values of text and named values.
    pub headers: Vec<(http::HeaderName, Template)>,
    /// Time between two exports of metrics.
    pub interval: Duration,
    /// How many of a million requests get a span, where their callers have not decided that.
    pub sampling: u32,
    /// Whether the request to the third party says to which trace it belongs.
    pub propagate: bool,
    /// Which signals are sent, in the order of [`Signal::ALL`].
    pub signals: [bool; Signal::ALL.len()],
}

impl Otlp {
    /// The sampling at which every request gets a span.
    pub const EVERY_REQUEST: u32 = 1_000_000;

    /// Returns whether this signal is sent.
    pub fn sends(&self, signal: Signal) -> bool {
        self.signals[signal as usize]
    }
}

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// All metrics that `/metrics` has.
    Metrics,
    /// One span for each sampled request.
    Traces,
    /// The lines of the access log.
    Logs,
}

impl Signal {
    /// Every signal, in one order.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// Returns its name in the configuration, in metrics, and at the end of the URL.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}
