//! `quota` and `quota-by-key` as they are written.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Quota;
use crate::model::{CounterStore, Expression, Length, Periods, RateKind};
use crate::policy::engine::Kind as _;
use crate::syntax::{Form, Reader, Text, Wanted};

/// The shortest period.
const SHORTEST: Duration = Duration::from_secs(60);

/// A period that is no number of seconds.
const MONTH: &str = "month";

/// Refuses requests beyond a number, or a number of bytes, in a long period.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QuotaFile {
    /// The number of requests. At least one of `calls` and `bytes` is required. Default: none. Example: `10000`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub calls: Option<u64>,
    /// The number of bytes in the bodies of requests and responses. Transfers that run when they are used up continue to their
    /// end. Default: none. Example: `1073741824`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub bytes: Option<u64>,
    /// `month`, or a duration of at least 1m. Periods follow one another. Default: none, the quota never renews. Example:
    /// `1d`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub period: Option<Text>,
    /// The start of a period (RFC 3339). Default: the start of 1970 (UTC). Example: `2026-01-15T00:00:00+01:00`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub first_period_start: Option<Text>,
    /// For `quota-by-key`: an expression. Requests with different values are counted apart. Default: none. Example: `workload.unit`.
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
    /// A response header that receives the number of requests left. Default: none. Example: `X-Quota-Remaining`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub remaining_header: Option<Text>,
    /// A variable that receives the number of requests left. Default: none. Example: `left`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub remaining_variable: Option<Text>,
    /// Whether the limit is counted in `counters`, for all nodes together. If false, each node counts on its own. Default:
    /// false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub shared: Option<Spanned<bool>>,
}

impl Form for Quota {
    type File = QuotaFile;
    type Compiled = Self;
    const ABOUT: &'static str =
        "Refuses requests of a workload beyond a number in a long period (403). Counts outlive a restart.";

    fn compile(written: &Spanned<QuotaFile>, reader: &mut dyn Reader) -> Option<Self> {
        quota(written, RateKind::Workload, reader)
    }

    fn variables(file: &QuotaFile) -> Vec<(&Text, bool)> {
        file.remaining_variable.iter().map(|name| (name, false)).collect()
    }
}

/// The key `quota-by-key`.
#[derive(Debug)]
pub struct QuotaByKey;

impl Form for QuotaByKey {
    type File = QuotaFile;
    type Compiled = Quota;
    const ABOUT: &'static str = "Refuses requests beyond a number in a long period, counted by an expression (403). Counts outlive a restart.\n\
        Example: `{calls: 10000, period: 1d, key: workload.unit}`.";

    fn compile(written: &Spanned<QuotaFile>, reader: &mut dyn Reader) -> Option<Quota> {
        quota(written, RateKind::Key, reader)
    }

    fn variables(file: &QuotaFile) -> Vec<(&Text, bool)> {
        Quota::variables(file)
    }
}

fn quota(written: &Spanned<QuotaFile>, kind: RateKind, reader: &mut dyn Reader) -> Option<Quota> {
    let file = &written.value;
    let key = key_of(kind, ["quota", "quota-by-key"], written, file.key.as_ref(), reader);
    if file.calls.is_none() && file.bytes.is_none() {
        let help = "add calls: 10000, bytes: 1000000000, or both";
        reader.wrong(written, "this quota has neither `calls` nor `bytes`", help);
    }
    let (condition, by_answer) = counts_if(file.condition.as_ref(), file.shared.as_ref(), reader);
    Some(Quota {
        identity: reader.identity(Quota::NAME, key.as_ref()),
        kind,
        calls: file.calls,
        bytes: file.bytes,
        period: periods(file.period.as_ref(), file.first_period_start.as_ref(), reader),
        key,
        condition,
        by_answer,
        count: file.count.as_ref().and_then(|count| reader.expression(count, Wanted::Int)),
        remaining_header: file.remaining_header.as_ref().and_then(|name| reader.header(name)),
        remaining_variable: file.remaining_variable.as_ref().map(|name| reader.variable(name)),
        shared: counters(file.shared.as_ref(), reader),
    })
}

/// Compiles the key by which a limit counts, which one of two policies needs and the other must not have.
pub(in crate::policy::kinds) fn key_of<T>(
    kind: RateKind,
    [by_workload, by_key]: [&str; 2],
    place: &Spanned<T>,
    key: Option<&Text>,
    reader: &mut dyn Reader,
) -> Option<Expression> {
    match (kind, key) {
        (RateKind::Workload, Some(key)) => {
            let rule = format!("`{by_workload}` takes no `key`: it counts by workload");
            reader.wrong(key, rule, format!("use {by_key}, or remove `key`"));
        }
        (RateKind::Key, None) => {
            reader.wrong(place, "`key` is missing", "add `key`, an expression like workload.owner");
        }
        (RateKind::Workload, None) | (RateKind::Key, Some(_)) => {}
    }
    key.and_then(|key| reader.key(key))
}

/// Compiles the condition on requests that count, and returns whether it is known only with the response.
pub(in crate::policy::kinds) fn counts_if(
    written: Option<&Text>,
    shared: Option<&Spanned<bool>>,
    reader: &mut dyn Reader,
) -> (Option<Expression>, bool) {
    let Some(written) = written else { return (None, false) };
    let Some(condition) = reader.response_condition(written) else { return (None, false) };
    let by_answer = condition.program.references().has_variable("response");
    if condition.reads_response_body {
        let help = "use the status or the headers of the response: response.status < 400";
        reader.wrong(written, "this condition reads the body of the response, which a limit cannot do", help);
    }
    if let Some(shared) = shared.filter(|shared| shared.value && by_answer) {
        let help = "write a condition without `response`, or remove `shared`";
        reader.wrong(shared, "a shared limit cannot depend on the response", help);
    }
    (Some(condition), by_answer)
}

/// Returns the store in which a limit is counted for all nodes together, if it is.
pub(in crate::policy::kinds) fn counters(
    written: Option<&Spanned<bool>>,
    reader: &mut dyn Reader,
) -> Option<Arc<CounterStore>> {
    written.filter(|written| written.value).and_then(|written| reader.counters(written))
}

/// Compiles the periods of a quota.
pub(in crate::policy::kinds) fn periods(
    written: Option<&Text>,
    first: Option<&Text>,
    reader: &mut dyn Reader,
) -> Option<Periods> {
    let start = first.map_or(DateTime::UNIX_EPOCH, |first| {
        first.value.trim().parse::<DateTime<Utc>>().unwrap_or_else(|_| {
            let help = "write a date, a time and a zone, like 2026-01-15T00:00:00+01:00 (RFC 3339)";
            reader.wrong(first, format!("`{}` is not a time", first.value), help);
            DateTime::UNIX_EPOCH
        })
    });
    let Some(written) = written else {
        if let Some(first) = first {
            let help = "add a period, like period: month";
            reader.wrong(first, "`first_period_start` has no effect without `period`", help);
        }
        return None;
    };
    if written.value.trim() == MONTH {
        return Some(Periods { length: Length::Month, start });
    }
    if !written.value.trim().starts_with(|c: char| c.is_ascii_digit()) {
        let help = "write month, or a number and a unit, like 12h or 30d";
        reader.wrong(written, format!("`{}` is not a period", written.value), help);
        return None;
    }
    let length = reader.duration(written, SHORTEST);
    if length < SHORTEST {
        let help = "write at least 1m, or use a rate limit for shorter ones";
        reader.wrong(written, "this period is shorter than 1m", help);
    }
    Some(Periods { length: Length::Of(length), start })
}
