use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::RequestSnapshot;
use crate::model::Workload;

/// A request as a line of the access log, which Egret writes and `egret check --against` reads. Facts that only a request has are
/// under `request`. The names are an interface: programs read them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestLine<'a> {
    /// Time in seconds since 1970.
    pub time: f64,
    /// The number of its flow.
    #[serde(default)]
    pub flow: u64,
    /// `ok`, or the reason why it was refused or failed.
    pub outcome: Cow<'a, str>,
    /// The name of the API.
    pub api: Cow<'a, str>,
    /// The workload that called.
    #[serde(flatten)]
    pub workload: Cow<'a, Workload>,
    /// What only a request has.
    pub request: RequestFacts<'a>,
}

/// The facts of a request in a line of the access log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestFacts<'a> {
    /// `http` or `https`.
    pub scheme: Option<Cow<'a, str>>,
    /// The port that the caller connected to.
    pub port: Option<u16>,
    /// The method of the request.
    pub method: Cow<'a, str>,
    /// The host and the path, without the query, which may have secrets.
    pub target: Cow<'a, str>,
    /// The operation of the API.
    pub operation: Option<Cow<'a, str>>,
    /// Status of the response; 0 if there was none.
    pub status: u16,
    /// The policy that refused it.
    pub policy: Option<Cow<'a, str>>,
    /// What policies in report mode would have done.
    #[serde(default)]
    pub reports: Cow<'a, [String]>,
    /// Microseconds that policies took.
    #[serde(default)]
    pub policies_us: u64,
    /// Microseconds until the third party's response began, for all attempts.
    pub upstream_us: u64,
    /// Microseconds until the response began.
    #[serde(default)]
    pub first_byte_us: u64,
    /// Microseconds until the response ended.
    pub total_us: u64,
}

impl<'a> From<&'a RequestSnapshot> for RequestLine<'a> {
    fn from(request: &'a RequestSnapshot) -> Self {
        let time = request.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            time: time.as_secs_f64(),
            flow: request.flow,
            outcome: request.outcome.into(),
            api: (*request.api).into(),
            workload: Cow::Borrowed(&request.workload),
            request: RequestFacts {
                scheme: Some(request.scheme.into()),
                port: Some(request.port),
                method: request.method.as_str().into(),
                target: request.target.as_str().into(),
                operation: request.operation.as_deref().map(Cow::from),
                status: request.status,
                policy: request.policy.map(Cow::from),
                reports: request.reports.as_slice().into(),
                policies_us: micros(request.policies),
                upstream_us: micros(request.upstream),
                first_byte_us: micros(request.first_byte),
                total_us: micros(request.total),
            },
        }
    }
}
