//! At most so many calls in any period of a length: a log of the calls that were let through, so that the promise holds over
//! every period, not over those that begin on the minute.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::counters::{Subject, Within};
use super::expression;
use super::keyed::{Keyed, short};
use super::uses::LimitUse;
use super::world::State;
use crate::model::{RateLimit, Reason};

/// The calls that were let through, by limit and key.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<Keyed<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    times: VecDeque<Duration>,
    period: Duration,
    limit: u32,
}

impl Rates {
    /// Lets one through: how many are left then; or how long to wait until the next.
    fn take(&self, limit: &RateLimit, key: String, now: Duration) -> Result<u32, Duration> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over =
            |calls: &mut Calls| calls.times.back().is_none_or(|last| now.saturating_sub(*last) >= calls.period);
        let calls = kept.entry((Arc::clone(&limit.identity), key), now, is_over, Calls::default);
        (calls.period, calls.limit) = (limit.period, limit.calls);
        while calls.times.front().is_some_and(|first| now.saturating_sub(*first) >= limit.period) {
            calls.times.pop_front();
        }
        let used = u32::try_from(calls.times.len()).unwrap_or(u32::MAX);
        if used < limit.calls {
            calls.times.push_back(now);
            return Ok(limit.calls - used - 1);
        }
        // After a change to fewer calls there may be more of them than are allowed: all but the newest must be over.
        let first = calls.times.get(calls.times.len() - usize::try_from(limit.calls).unwrap_or(usize::MAX));
        Err(first.map_or(limit.period, |first| limit.period.saturating_sub(now.saturating_sub(*first))))
    }

    /// What was used of each limit in the period that ends now.
    pub(super) fn uses(&self, now: Duration) -> Vec<LimitUse> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |((identity, key), calls): (&(Arc<str>, String), &Calls)| {
            let mut within = calls.times.iter().filter(|time| now.saturating_sub(**time) < calls.period);
            let first = within.next()?;
            let used = u64::try_from(within.count()).unwrap_or(u64::MAX).saturating_add(1);
            Some(LimitUse {
                limit: Some(calls.limit.into()),
                more_in: Some(calls.period.saturating_sub(now.saturating_sub(*first))),
                ..LimitUse::new("rate-limit", identity, key, used)
            })
        };
        kept.iter().filter_map(one).collect()
    }
}

/// Counts a call at the time at which it is made, or refuses it: its caller may have begun to speak long before.
pub(super) async fn run(limit: &RateLimit, call: &mut Call<'_>, state: &State, at: Duration) -> Result<(), Box<Fault>> {
    if let Some(condition) = &limit.condition
        && !expression::holds(condition, call)?
    {
        call.note(|| "does not count".to_owned());
        return Ok(());
    }
    let key = match &limit.key {
        Some(key) => short(expression::text(key, call)?),
        None => call.workload.cgroup.to_string(),
    };
    let shown = if call.steps.is_some() { key.clone() } else { String::new() };
    let subject = Subject { kind: "rate-limit", identity: &limit.identity, key: &key };
    let shared = match &limit.shared {
        Some(store) => {
            let count = subject.count(Within::Any(limit.period), limit.calls.into(), 1);
            subject.shared(store, count, call, state).await?
        }
        None => None,
    };
    let taken = match shared {
        Some(Ok(left)) => Ok(u32::try_from(left).unwrap_or(u32::MAX)),
        Some(Err(wait)) => Err(wait.unwrap_or(limit.period)),
        None => state.rates.take(limit, key, at),
    };
    let left = *taken.as_ref().unwrap_or(&0);
    call.note(|| format!("{shown}: {left} of {} left", limit.calls));
    for (name, number) in [(&limit.remaining_header, left), (&limit.total_header, limit.calls)] {
        if let Some(name) = name.as_deref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok()) {
            call.later.push((name, HeaderValue::from(number)));
        }
    }
    taken.map(drop).map_err(|wait| {
        let message = format!("more than {} calls in {:?}", limit.calls, limit.period);
        Fault::new(Reason::RateLimitExceeded, 429, message).after(wait)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Rates;
    use crate::model::{RateKind, RateLimit};

    fn limit(calls: u32, period: u64) -> RateLimit {
        RateLimit {
            kind: RateKind::Workload,
            identity: "limit".into(),
            calls,
            period: Duration::from_millis(period),
            key: None,
            condition: None,
            remaining_header: None,
            total_header: None,
            shared: None,
        }
    }

    /// A generator of numbers that has the same ones each time (xorshift).
    fn numbers() -> impl Iterator<Item = u64> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
    }

    #[test]
    fn no_period_has_more_and_none_is_refused_that_need_not_be() {
        let mut numbers = numbers();
        let mut next = |below: u64| numbers.next().unwrap_or_default() % below;
        for _ in 0..200 {
            let limit = limit(u32::try_from(1 + next(20)).unwrap(), 1 + next(1000));
            let (rates, start) = (Rates::default(), Duration::from_secs(1));
            let (mut time, mut through) = (0, Vec::<u64>::new());
            for _ in 0..500 {
                time += next(100);
                let period = u64::try_from(limit.period.as_millis()).unwrap();
                let within = through.iter().filter(|before| time - **before < period).count();
                let taken = rates.take(&limit, String::new(), start + Duration::from_millis(time));
                assert_eq!(taken.is_ok(), within < limit.calls as usize, "the model lets through as many");
                match taken {
                    Ok(left) => {
                        assert_eq!(left as usize, limit.calls as usize - within - 1);
                        through.push(time);
                    }
                    Err(wait) => {
                        let later = start + Duration::from_millis(time) + wait;
                        assert!(wait > Duration::ZERO && wait <= limit.period);
                        let before = later - Duration::from_millis(1);
                        let still = through
                            .iter()
                            .filter(|passed| before - (start + Duration::from_millis(**passed)) < limit.period);
                        assert!(still.count() >= limit.calls as usize, "a moment before, it would be refused still");
                    }
                }
            }
        }
    }

    #[test]
    fn callers_at_once_get_no_more() {
        let (rates, limit, now) = (Arc::new(Rates::default()), Arc::new(limit(1000, 60_000)), Duration::from_secs(1));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (rates, limit) = (Arc::clone(&rates), Arc::clone(&limit));
                std::thread::spawn(move || (0..1000).filter(|_| rates.take(&limit, String::new(), now).is_ok()).count())
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 1000);
    }

    #[test]
    fn a_change_holds_for_the_calls_before_it() {
        let (rates, now) = (Rates::default(), Duration::from_secs(1));
        for _ in 0..10 {
            rates.take(&limit(10, 1000), String::new(), now).unwrap();
        }
        let later = now + Duration::from_millis(400);
        assert_eq!(rates.take(&limit(5, 1000), String::new(), later), Err(Duration::from_millis(600)));
        assert_eq!(rates.take(&limit(11, 1000), String::new(), later), Ok(0));
    }

    #[test]
    fn what_is_used_can_be_seen() {
        let (rates, limit, now) = (Rates::default(), limit(3, 1000), Duration::from_secs(1));
        for milliseconds in [0, 400] {
            rates.take(&limit, "a".to_owned(), now + Duration::from_millis(milliseconds)).unwrap();
        }
        let uses = |milliseconds| {
            let uses = rates.uses(now + Duration::from_millis(milliseconds));
            uses.into_iter().map(|one| (one.key, one.used, one.limit, one.more_in)).collect::<Vec<_>>()
        };
        let milliseconds = |count| Some(Duration::from_millis(count));
        assert_eq!(uses(500), [("a".to_owned(), 2, Some(3), milliseconds(500))]);
        assert_eq!(uses(1000), [("a".to_owned(), 1, Some(3), milliseconds(400))]);
        assert_eq!(uses(1400), []);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (rates, now) = (Rates::default(), Duration::from_secs(1));
        for key in 0..50_000_u64 {
            let _ = rates.take(&limit(1, 10), key.to_string(), now + Duration::from_millis(key));
        }
        assert!(rates.uses(now).len() <= 20_000);
    }
}
