//! Tokens of language models: `llm-token-limit`, `llm-emit-token-metric`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::keyed::{Keyed, short};
use super::quota::{Counter, Quotas};
use super::{emit_metric, expression, meter, quota};
use crate::model::{Counted, LlmTokenLimit, LlmTokenMetric, Reason, Told};

/// Tokens of the last minute, by limit and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent(Arc<Mutex<Windows>>);

type Windows = Keyed<Window>;

/// When, and how many.
type Window = VecDeque<(Duration, u64)>;

const MINUTE: Duration = Duration::from_secs(60);

impl Spent {
    /// How many are left; or how long to wait until some are.
    fn left(&self, limit: &LlmTokenLimit, most: u64, key: &str, now: Duration) -> Result<u64, Duration> {
        let mut all = self.lock();
        let Some(window) = all.find((Arc::clone(&limit.identity), key.to_owned())) else { return Ok(most) };
        forget(window, now);
        let mut spent: u128 = window.iter().map(|(_, tokens)| u128::from(*tokens)).sum();
        if let Some(left) = u64::try_from(spent).ok().and_then(|spent| most.checked_sub(spent)).filter(|left| *left > 0)
        {
            return Ok(left);
        }
        // The first of those after whose minute it is below the limit again.
        for (at, tokens) in window.iter() {
            spent -= u128::from(*tokens);
            if spent < most.into() {
                return Err((*at + MINUTE).saturating_sub(now));
            }
        }
        Err(MINUTE)
    }

    fn add(&self, identity: &Arc<str>, key: &str, tokens: u64, now: Duration) {
        let is_over = |window: &mut Window| {
            forget(window, now);
            window.is_empty()
        };
        if tokens > 0 {
            let mut all = self.lock();
            let window = all.entry((Arc::clone(identity), key.to_owned()), now, is_over, Window::new);
            window.push_back((now, tokens));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(window: &mut Window, now: Duration) {
    while window.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= MINUTE) {
        window.pop_front();
    }
}

/// Refuses a request whose key has used its tokens up; counts what its answer will have cost.
pub(super) fn limit(
    limit: &LlmTokenLimit,
    call: &mut Call<'_>,
    spent: &Spent,
    quotas: &Quotas,
) -> Result<(), Box<Fault>> {
    let key = match &limit.key {
        Some(key) => short(expression::text(key, call)?),
        None => call.workload.cgroup.to_string(),
    };
    let guessed = match (&call.request_body, limit.estimate_prompt) {
        (Some(body), true) => meter::guess(body.len() as u64),
        _ => 0,
    };
    let mut left = u64::MAX;
    if let Some(most) = limit.tokens_per_minute {
        let now = spent.left(limit, most, &key, call.at).map_err(|wait| refused(most).after(wait))?;
        if guessed > now {
            return Err(refused(most).after(MINUTE));
        }
        left = now;
    }
    let identity = format!("{}/tokens", limit.identity);
    let counter = limit.quota.map(|(most, period)| (most, Counter::new(&identity, &key, most, period, call.now)));
    if let Some((most, counter)) = &counter {
        left = left.min(quotas.take(counter, 0).map_err(|wait| quota::used_up(*most, "tokens", wait))?);
    }
    call.note(|| format!("{key}: {left} tokens left"));
    if let Some(name) = limit.remaining_header.as_deref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    {
        call.later.push((name, HeaderValue::from(left.saturating_sub(guessed))));
    }
    watch(call);
    let (spent, quotas, identity) = (spent.clone(), quotas.clone(), Arc::clone(&limit.identity));
    call.meters.add(move |passed| {
        let tokens = passed.usage.total();
        spent.add(&identity, &key, tokens, passed.at);
        if let Some((_, counter)) = &counter {
            quotas.add(counter, tokens);
        }
        Vec::new()
    });
    Ok(())
}

/// Counts them in the metrics.
pub(super) fn emit(metric: &LlmTokenMetric, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let dimensions = emit_metric::filled(&metric.dimensions, call)?;
    call.note(|| format!("egret_custom_{}_total", metric.name));
    watch(call);
    let name = Arc::clone(&metric.name);
    call.meters.add(move |passed| {
        let kinds = [("prompt", passed.usage.prompt), ("completion", passed.usage.completion)];
        let counted = |(kind, tokens): (&str, u64)| {
            let mut dimensions = dimensions.clone();
            dimensions.push(("kind".into(), kind.to_owned()));
            Told::Metric(Counted { name: Arc::clone(&name), value: tokens as f64, dimensions })
        };
        kinds.into_iter().map(counted).collect()
    });
    Ok(())
}

/// What is compressed cannot be read as it passes.
fn watch(call: &mut Call<'_>) {
    call.request.headers.remove(ACCEPT_ENCODING);
    call.meters.reads_tokens();
}

fn refused(most: u64) -> Box<Fault> {
    Fault::new(Reason::RateLimitExceeded, 429, format!("more than {most} tokens in a minute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_after_their_minute() {
        let (spent, at) = (Spent::default(), Duration::from_secs);
        let limit = LlmTokenLimit {
            identity: "limit".into(),
            key: None,
            tokens_per_minute: Some(100),
            quota: None,
            estimate_prompt: false,
            remaining_header: None,
        };
        assert_eq!(spent.left(&limit, 100, "a", at(0)), Ok(100));
        spent.add(&limit.identity, "a", 30, at(0));
        spent.add(&limit.identity, "a", 90, at(10));
        assert_eq!(spent.left(&limit, 100, "a", at(20)), Err(at(40)));
        assert_eq!(spent.left(&limit, 100, "b", at(20)), Ok(100));
        assert_eq!(spent.left(&limit, 100, "a", at(60)), Ok(10));
        assert_eq!(spent.left(&limit, 100, "a", at(70)), Ok(100));
        // Whatever a third party says.
        spent.add(&limit.identity, "a", u64::MAX, at(80));
        spent.add(&limit.identity, "a", u64::MAX, at(81));
        assert_eq!(spent.left(&limit, 100, "a", at(90)), Err(at(51)));
    }
}
