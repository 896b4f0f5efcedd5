//! `rate-limit` and `rate-limit-by-key` as they are written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::RateLimit;
use crate::model::RateKind;
use crate::policy::engine::Kind as _;
use crate::policy::kinds::quota::written::{counters, counts_if, key_of};
use crate::syntax::{Form, Reader, Text, Wanted};

/// The longest period.
const LONGEST: Duration = Duration::from_secs(3600);

/// Refuses requests beyond a number in a period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RateLimitFile {
    /// The number of requests. Example: `100`.
    #[schemars(with = "u32", range(min = 1))]
    pub calls: Spanned<u32>,
    /// The length of the sliding window, at most 1h. Example: `1m`.
    #[schemars(with = "String")]
    pub period: Text,
    /// For `rate-limit-by-key`: an expression. Requests with different values are counted apart. Default: none. Example: `workload.unit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key: Option<Text>,
    /// A condition, an expression: whether a request counts. If it refers to the `response`, the response that the caller
    /// receives decides (502 or 504 where the third party does not respond). Until then, and where the condition fails to
    /// evaluate, the request counts. Default: each request counts. Example: `'response.status < 400'`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub condition: Option<Text>,
    /// An expression for the number that a request counts as, a whole number. A request that counts as 0 is always allowed.
    /// Default: 1. Example: `size(request.body) / 1000 + 1`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub count: Option<Text>,
    /// A response header that receives the number of requests left. Default: none. Example: `X-RateLimit-Remaining`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub remaining_header: Option<Text>,
    /// A variable that receives the number of requests left. Default: none. Example: `left`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub remaining_variable: Option<Text>,
    /// A response header that receives the number of requests allowed. Default: none. Example: `X-RateLimit-Limit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub total_header: Option<Text>,
    /// Whether the limit is counted in `counters`, for all nodes together. If false, each node counts on its own. Default:
    /// false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub shared: Option<Spanned<bool>>,
}

impl Form for RateLimit {
    type File = RateLimitFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Refuses requests of a workload beyond a number in a period (429).";

    fn compile(written: &Spanned<RateLimitFile>, reader: &mut dyn Reader) -> Option<Self> {
        rate_limit(&written.value, RateKind::Workload, reader)
    }

    fn variables(file: &RateLimitFile) -> Vec<(&Text, bool)> {
        file.remaining_variable.iter().map(|name| (name, false)).collect()
    }
}

/// The key `rate-limit-by-key`.
#[derive(Debug)]
pub struct RateLimitByKey;

impl Form for RateLimitByKey {
    type File = RateLimitFile;
    type Compiled = RateLimit;
    const ABOUT: &'static str = "Refuses requests beyond a number in a period, counted by an expression (429).\n\
        Example: `{calls: 100, period: 1m, key: workload.unit}`.";

    fn compile(written: &Spanned<RateLimitFile>, reader: &mut dyn Reader) -> Option<RateLimit> {
        rate_limit(&written.value, RateKind::Key, reader)
    }

    fn variables(file: &RateLimitFile) -> Vec<(&Text, bool)> {
        RateLimit::variables(file)
    }
}

fn rate_limit(file: &RateLimitFile, kind: RateKind, reader: &mut dyn Reader) -> Option<RateLimit> {
    let key = key_of(kind, ["rate-limit", "rate-limit-by-key"], &file.calls, file.key.as_ref(), reader);
    let period = reader.duration(&file.period, Duration::from_secs(60));
    if period.is_zero() || period > LONGEST {
        let help = "write a period from 1ms to 1h, or use a quota for longer ones";
        reader.wrong(&file.period, "this period is not from 1ms to 1h", help);
    }
    let (condition, by_answer) = counts_if(file.condition.as_ref(), file.shared.as_ref(), reader);
    Some(RateLimit {
        identity: reader.identity(RateLimit::NAME, key.as_ref()),
        kind,
        calls: file.calls.value,
        period,
        key,
        condition,
        by_answer,
        count: file.count.as_ref().and_then(|count| reader.expression(count, Wanted::Int)),
        remaining_header: file.remaining_header.as_ref().and_then(|name| reader.header(name)),
        remaining_variable: file.remaining_variable.as_ref().map(|name| reader.variable(name)),
        total_header: file.total_header.as_ref().and_then(|name| reader.header(name)),
        shared: counters(file.shared.as_ref(), reader),
    })
}
