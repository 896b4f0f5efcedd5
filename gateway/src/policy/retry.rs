use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::call::{Call, Fault};
use super::expression;
use crate::model::Retry;

/// Whether it is done again, after so many times, and after which pause.
///
/// # Errors
/// Its condition cannot be said.
pub(super) fn pause(
    retry: &Retry,
    call: &Call<'_>,
    failed: Option<&Fault>,
    times: u32,
) -> Result<Option<Duration>, Box<Fault>> {
    if times >= retry.count || !(retry.any_method || is_idempotent(call)) {
        return Ok(None);
    }
    let again = match (&retry.condition, &call.response) {
        (_, None) => failed.is_some_and(|fault| fault.unanswered.is_some()),
        (Some(condition), Some(_)) => expression::holds(condition, call)?,
        (None, Some(response)) => matches!(response.status.as_u16(), 502..=504),
    };
    if !again {
        return Ok(None);
    }
    if let Some(told) = call.response.as_ref().and_then(|response| told(&response.headers)) {
        // Longer than its owner waits: the caller is told.
        return Ok((told <= retry.max_interval).then_some(told));
    }
    let grown = retry.interval.saturating_mul(1 << times.min(20)).min(retry.max_interval);
    // From a half to the whole, so that callers who failed together do not come together.
    let chance =
        f64::from(u32::try_from(RandomState::new().hash_one(times) >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    Ok(Some(grown.mul_f64(0.5 + chance / 2.0)))
}

/// RFC 9110 §9.2.2.
fn is_idempotent(call: &Call<'_>) -> bool {
    matches!(call.request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// In seconds (RFC 9110 §10.2.3); dates are left alone.
pub(super) fn told(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
