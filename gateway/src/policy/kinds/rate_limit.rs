//! `rate-limit` and `rate-limit-by-key`: calls in any period of a length. A log of the calls makes the limit hold for every period, not
//! only for those that begin on the minute.

pub(in crate::policy) mod written;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::model::{CounterStore, Expression, LimitId, OfPlace, Pending, RateKind, Reason, Within};
use crate::policy::engine::counters::{Subject, unavailable};
use crate::policy::engine::counting::{self, Counts};
use crate::policy::engine::keyed::{Kept, Keyed, Lapse, Name, short};
use crate::policy::engine::uses::LimitUse;
use crate::policy::engine::window::Window;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, SometimesTimed, State, Traits, WhenReported,
    World, expression,
};

/// Refuses calls beyond a number in any period of a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Which of the two policies it is.
    pub kind: RateKind,
    /// What its counts are stored under, across reloads.
    pub identity: OfPlace<LimitId>,
    /// The most calls in a period.
    pub calls: u32,
    /// The length of the period.
    pub period: Duration,
    /// Calls with different values are counted apart; workloads are, if absent.
    pub key: Option<Expression>,
    /// The condition on calls that count; all count, if absent.
    pub condition: Option<Expression>,
    /// Whether the condition is known only with the response: until then a call counts.
    pub by_answer: bool,
    /// How many calls one counts as; one, if absent.
    pub count: Option<Expression>,
    /// The field of the response that says how many calls are left.
    pub remaining_header: Option<Arc<str>>,
    /// The variable that says how many calls are left.
    pub remaining_variable: Option<Arc<str>>,
    /// The field of the response that says how many calls there are in all.
    pub total_header: Option<Arc<str>>,
    /// The store in which nodes count together; each counts on its own, if absent.
    pub shared: Option<Arc<CounterStore>>,
}

impl Kind for RateLimit {
    const NAME: &'static str = "rate-limit";
    const SECTIONS: Sections = Sections::INBOUND;

    fn name(&self) -> &'static str {
        match self.kind {
            RateKind::Workload => Self::NAME,
            RateKind::Key => "rate-limit-by-key",
        }
    }

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: self.key.iter().chain(&self.condition).chain(&self.count).collect(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: self.by_answer,
            needs_every_request: true,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: self.key.iter().chain(&self.condition).chain(&self.count).collect(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

/// The calls that were let through, by limit and key.
#[derive(Debug, Default)]
pub(in crate::policy) struct Rates(Mutex<Keyed<Calls>>);

/// The calls of one key in the period that ends now.
#[derive(Clone, Debug, Default)]
struct Calls {
    window: Window,
    period: Duration,
    limit: u32,
}

impl Lapse for Calls {
    fn is_over(&mut self, now: Duration) -> bool {
        self.window.is_over(now, self.period)
    }
}

impl Rates {
    /// Lets a call through that counts as this many. Returns how many are left then, or how long to wait until it fits.
    fn take(&self, limit: &RateLimit, name: &Name, now: Duration, count: u32) -> Result<u32, Duration> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = kept.entry(name, now, Calls::default);
        (calls.period, calls.limit) = (limit.period, limit.calls);
        calls.window.forget(now, limit.period);
        let (most, with_it) = (u128::from(limit.calls), calls.window.sum() + u128::from(count));
        if with_it <= most {
            if count > 0 {
                calls.window.add(now, count.into(), limit.period);
            }
            return Ok(u32::try_from(most - with_it).unwrap_or(u32::MAX));
        }
        // After a change to fewer calls there may be more of them than are allowed.
        Err(calls.window.frees(with_it - most, now, limit.period).unwrap_or(limit.period))
    }

    /// Returns a copy that counts on its own.
    pub(in crate::policy) fn copied(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    /// Undoes a call that was let through.
    fn take_back(&self, name: &Name, at: Duration, count: u32) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, calls)) = kept.find(name) {
            calls.window.take_back(at, count.into(), calls.period);
        }
    }

    /// Returns what was used of each limit in the period that ends now.
    pub(in crate::policy) fn uses(&self, now: Duration) -> Vec<LimitUse> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.each(|calls| calls.window.forget(now, calls.period));
        let one = |Kept { limit, key, value: calls, .. }: Kept<'_, Calls>| {
            let first = calls.window.first()?;
            Some(LimitUse {
                limit: Some(calls.limit.into()),
                more_in: Some(calls.period.saturating_sub(now.saturating_sub(first))),
                ..LimitUse::new("rate-limit", limit, key, u64::try_from(calls.window.sum()).unwrap_or(u64::MAX))
            })
        };
        kept.iter().filter_map(one).collect()
    }
}

impl Now for RateLimit {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        let at = world.at().max(call.context.at);
        // Without a store that nodes share, nothing waits.
        let counted = run(self, call, world.state(), at).now_or_never();
        counted.unwrap_or_else(|| Err(unavailable())).map(|()| Outcome::Continue)
    }
}

impl SometimesTimed for RateLimit {
    fn waits(&self) -> bool {
        self.shared.is_some()
    }

    fn run_timed<'a>(
        &'a self,
        _: Site<'a>,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move {
            let at = world.at().max(call.context.at);
            run(self, call, world.state(), at).await.map(|()| Outcome::Continue)
        })
    }
}

/// Counts a call at the time at which it is made, or refuses it: its caller may have begun to speak long before.
async fn run(limit: &RateLimit, call: &mut Call<'_>, state: &State, at: Duration) -> Result<(), Box<Fault>> {
    let RateLimit { by_answer, identity: OfPlace(identity), .. } = limit;
    let counts = Counts { condition: limit.condition.as_ref(), by_answer: *by_answer, count: limit.count.as_ref() };
    let count = u32::try_from(counts.now(call)?).unwrap_or(u32::MAX);
    if count == 0 && limit.remaining_variable.is_none() {
        return Ok(());
    }
    let key = match &limit.key {
        Some(key) => short(expression::text(key, call)?),
        None => call.context.workload.identity.owner.to_string(),
    };
    let shown = if call.effects.steps.is_some() { key.clone() } else { String::new() };
    let subject = Subject { kind: "rate-limit", identity, key: &key };
    let name =
        Name { limit: identity.clone(), key: key.clone(), owner: Arc::clone(&call.context.workload.identity.owner) };
    let shared = match &limit.shared {
        Some(store) => {
            let count = subject.count(Within::Any(limit.period), limit.calls.into(), count.into());
            subject.shared(store, count, call, state).await?
        }
        None => None,
    };
    let taken = match shared {
        Some(Ok(left)) => Ok(u32::try_from(left).unwrap_or(u32::MAX)),
        Some(Err(wait)) => Err(wait.unwrap_or(limit.period)),
        None => state.of::<Rates>().take(limit, &name, at, count),
    };
    let left = *taken.as_ref().unwrap_or(&0);
    call.note(|| format!("{shown}: {left} of {} left", limit.calls));
    counting::tell(call, left.into(), limit.remaining_header.as_deref(), limit.remaining_variable.as_ref());
    counting::tell(call, limit.calls.into(), limit.total_header.as_deref(), None);
    if count == 0 {
        return Ok(());
    }
    taken.map_err(|wait| {
        let message = format!("more than {} calls in {:?}", limit.calls, limit.period);
        Fault::new(Reason::RateLimitExceeded, 429, message).after(wait)
    })?;
    counts.until_answered(call, move |state| state.of::<Rates>().take_back(&name, at, count));
    Ok(())
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::RateLimit;
    use super::{Name, Rates};
    use crate::model::{LimitId, OfPlace, RateKind};

    fn limit(calls: u32, period: u64) -> RateLimit {
        RateLimit {
            kind: RateKind::Workload,
            identity: OfPlace(LimitId::saved("limit")),
            calls,
            period: Duration::from_millis(period),
            key: None,
            condition: None,
            by_answer: false,
            count: None,
            remaining_header: None,
            remaining_variable: None,
            total_header: None,
            shared: None,
        }
    }

    fn name(key: &str) -> Name {
        Name { limit: LimitId::saved("limit"), key: key.to_owned(), owner: "owner".into() }
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

    /// Calls of several weights, some of which are taken back, against a model that keeps them all.
    #[test]
    fn no_period_has_more_and_none_is_refused_that_need_not_be() {
        let mut numbers = numbers();
        let mut next = |below: u64| numbers.next().unwrap_or_default() % below;
        for heaviest in [1, 1, 1, 4] {
            for _ in 0..100 {
                let limit = limit(u32::try_from(1 + next(20)).unwrap(), 1 + next(1000));
                let (rates, start) = (Rates::default(), Duration::from_secs(1));
                let period = u64::try_from(limit.period.as_millis()).unwrap();
                let (mut time, mut through) = (0, Vec::<(u64, u32)>::new());
                for _ in 0..500 {
                    time += next(100);
                    let count = u32::try_from(1 + next(heaviest)).unwrap();
                    let used = |through: &[(u64, u32)], now: u64| {
                        through.iter().filter(|(before, _)| now - before < period).map(|(_, count)| count).sum::<u32>()
                    };
                    let within = used(&through, time);
                    let at = start + Duration::from_millis(time);
                    let taken = rates.take(&limit, &name(""), at, count);
                    assert_eq!(taken.is_ok(), within + count <= limit.calls, "the model lets through as many");
                    match taken {
                        Ok(left) => {
                            assert_eq!(left, limit.calls - within - count);
                            if next(4) == 0 {
                                rates.take_back(&name(""), at, count);
                            } else {
                                through.push((time, count));
                            }
                        }
                        Err(wait) => {
                            assert!(wait > Duration::ZERO && wait <= limit.period);
                            let later = time + u64::try_from(wait.as_millis()).unwrap();
                            let still = used(&through, later - 1) + count;
                            assert!(still > limit.calls, "a moment before, it would be refused still");
                            if count <= limit.calls {
                                assert!(used(&through, later) + count <= limit.calls, "then it is let through");
                            }
                        }
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
                std::thread::spawn(move || (0..1000).filter(|_| rates.take(&limit, &name(""), now, 1).is_ok()).count())
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 1000);
    }

    #[test]
    fn a_change_holds_for_the_calls_before_it() {
        let (rates, now) = (Rates::default(), Duration::from_secs(1));
        for _ in 0..10 {
            rates.take(&limit(10, 1000), &name(""), now, 1).unwrap();
        }
        let later = now + Duration::from_millis(400);
        assert_eq!(rates.take(&limit(5, 1000), &name(""), later, 1), Err(Duration::from_millis(600)));
        assert_eq!(rates.take(&limit(11, 1000), &name(""), later, 1), Ok(0));
    }

    #[test]
    fn what_is_used_can_be_seen() {
        let (rates, limit, now) = (Rates::default(), limit(3, 1000), Duration::from_secs(1));
        for milliseconds in [0, 400] {
            rates.take(&limit, &name("a"), now + Duration::from_millis(milliseconds), 1).unwrap();
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
            let _ = rates.take(&limit(1, 10), &name(&key.to_string()), now + Duration::from_millis(key), 1);
        }
        assert!(rates.uses(now).len() <= 20_000);
    }
}
