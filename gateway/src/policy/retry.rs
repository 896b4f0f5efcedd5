use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::call::{Call, Fault};
use super::expression;
use crate::model::Retry;

/// What may still be sent again: each request adds its share, each further sending takes one. So a third party that is down
/// gets little more than the requests that there are.
#[derive(Debug, Default)]
pub(super) struct Budgets(Mutex<HashMap<Arc<str>, u32>>);

/// In hundredths of a sending: what there is at first, so that a few requests can be sent again at any time...
const RESERVE: u32 = 10 * ONE;
/// ...and at most.
const MOST: u32 = 100 * ONE;
const ONE: u32 = 100;

impl Budgets {
    /// A request.
    pub(super) fn earn(&self, retry: &Retry) {
        let Some(share) = retry.budget else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.entry(Arc::clone(&retry.identity)).or_insert(RESERVE);
        *left = left.saturating_add(share).min(MOST);
    }

    /// Takes one, if there is one.
    pub(super) fn spend(&self, retry: &Retry) -> bool {
        if retry.budget.is_none() {
            return true;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.entry(Arc::clone(&retry.identity)).or_insert(RESERVE);
        let enough = *left >= ONE;
        *left -= if enough { ONE } else { 0 };
        enough
    }
}

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
    if let Some(told) = call.response.as_ref().and_then(|response| told(&response.headers, call.now)) {
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

/// How long from now (RFC 9110 §10.2.3): in seconds, or until a time.
pub(super) fn told(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || httpdate::parse_http_date(value).ok().map(|time| time.duration_since(now).unwrap_or_default());
    value.parse().ok().map(Duration::from_secs).or_else(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_party_says_when_to_come_again() {
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:58:59 GMT").unwrap();
        let told = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static(value))]);
            super::told(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(told("120"), Some(120));
        assert_eq!(told("Fri, 31 Dec 1999 23:59:59 GMT"), Some(60));
        assert_eq!(told("Fri, 31 Dec 1999 22:59:59 GMT"), Some(0));
        assert_eq!(told("soon"), None);
    }

    #[test]
    fn a_third_party_that_is_down_gets_little_more_than_there_is() {
        let retry = Retry {
            condition: None,
            count: 3,
            interval: Duration::ZERO,
            max_interval: Duration::ZERO,
            any_method: false,
            identity: "retry".into(),
            budget: Some(20),
            policies: Vec::new(),
        };
        let budgets = Budgets::default();
        let mut again = 0;
        for _ in 0..1000 {
            budgets.earn(&retry);
            again += (0..retry.count).filter(|_| budgets.spend(&retry)).count();
        }
        assert_eq!(again, 10 + 1000 / 5);
        let unbounded = Retry { budget: None, ..retry };
        assert!((0..1000).all(|_| budgets.spend(&unbounded)));
    }
}
