//! `quota` and `quota-by-key`: calls and bytes in a long period, like a day or a month. Periods follow one another from the start of 1970
//! (UTC); counts outlive the process.

pub(in crate::policy) mod written;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;

use crate::model::{
    Count, CountedPart, CounterStore, Expression, Left, LimitId, OfPlace, Pending, Periods, RateKind, Reason, Within,
};
use crate::policy::engine::counters::{Subject, unavailable};
use crate::policy::engine::counting::{self, Counts};
use crate::policy::engine::keyed::{Kept, Keyed, Lapse, Name, short};
use crate::policy::engine::uses::LimitUse;
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, SometimesTimed, State, Traits, WhenReported,
    World, expression,
};

/// Refuses calls beyond a number, or bytes beyond a number, in a long period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which of the two policies it is.
    pub kind: RateKind,
    /// What its counts are stored under, across reloads and restarts.
    pub identity: OfPlace<LimitId>,
    /// The most calls in a period.
    pub calls: Option<u64>,
    /// The most bytes of bodies, of requests and responses together, in a period.
    pub bytes: Option<u64>,
    /// The period; for ever, if absent.
    pub period: Option<Periods>,
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
    /// The store in which nodes count together; each counts on its own, if absent.
    pub shared: Option<Arc<CounterStore>>,
}

impl Kind for Quota {
    const NAME: &'static str = "quota";
    const SECTIONS: Sections = Sections::INBOUND;

    fn name(&self) -> &'static str {
        match self.kind {
            RateKind::Workload => Self::NAME,
            RateKind::Key => "quota-by-key",
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

/// What was used of quotas, by quota and key.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Quotas(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    used: Keyed<Used>,
    /// The counts that have changed since they were saved, each once, in the order of their changes.
    changed: VecDeque<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    count: u64,
    /// The second since 1970 at which the count is forgotten; never, if absent.
    until: Option<u64>,
    /// The periods that it is of, once they are known.
    periods: Option<Periods>,
    /// The limit, once it is known.
    limit: Option<u64>,
    /// Whether it is in the list of changed counts.
    changed: bool,
}

/// A count as it is saved: the quota, the key, the count, the second since 1970 at which it is forgotten, and the owner whose
/// call added the key.
pub type QuotaRow = (String, String, u64, Option<u64>, String);

impl Lapse for Used {
    fn is_over(&mut self, now: Duration) -> bool {
        self.until.is_some_and(|until| until <= now.as_secs())
    }

    fn is_open_ended(&self) -> bool {
        self.until.is_none()
    }
}

impl All {
    fn used(&mut self, counter: &Counter) -> &mut Used {
        self.used.entry(&counter.name, Duration::from_secs(counter.seconds), || counter.unused())
    }

    /// Changes a count, and adds it to the changed ones if it differs then.
    fn change<T>(&mut self, counter: &Counter, change: impl FnOnce(&mut Used) -> T) -> T {
        let used = self.used(counter);
        let before = used.count;
        let outcome = change(used);
        if used.count != before && !std::mem::replace(&mut used.changed, true) {
            self.changed.push_back(counter.name.clone());
        }
        outcome
    }
}

/// A count of a period, and its limit.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Counter {
    name: Name,
    most: u64,
    seconds: u64,
    until: Option<u64>,
    periods: Option<Periods>,
}

impl Counter {
    /// Returns the counter of the period that this moment is in.
    pub(in crate::policy) fn new(name: Name, most: u64, periods: Option<Periods>, now: SystemTime) -> Self {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let until = periods.map(|periods| periods.end(now.into()));
        Self { name, most, seconds, until, periods }
    }

    fn unused(&self) -> Used {
        Used { count: 0, until: self.until, periods: self.periods, limit: None, changed: false }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { kind: "quota", identity: &self.name.limit, key: &self.name.key }
    }

    /// Returns the count for the shared store, with so many more.
    fn shared(&self, add: u64) -> Count {
        self.subject().count(Within::Until(self.until), self.most, add)
    }

    /// Counts so many, unless all are used up, with other nodes where there is a store: how many are left then; or how long
    /// to wait for the next period.
    async fn taken(
        &self,
        add: u64,
        store: Option<&Arc<CounterStore>>,
        call: &mut Call<'_>,
        state: &State,
    ) -> Result<Left, Box<Fault>> {
        let shared = match store {
            Some(store) => self.subject().shared(store, self.shared(add), call, state).await?,
            None => None,
        };
        Ok(shared.unwrap_or_else(|| state.of::<Quotas>().take(self, add)))
    }
}

impl Quotas {
    /// Counts this many, if so many are left, and for none, if one is. Returns how many are left then, or how long to wait for
    /// the next period.
    pub(in crate::policy) fn take(&self, counter: &Counter, count: u64) -> Result<u64, Option<Duration>> {
        self.lock().change(counter, |used| {
            // Of two at once the later may have been counted first: the period that has begun goes on.
            let is_late = used.periods == counter.periods && used.until > counter.until;
            if used.until != counter.until && !is_late {
                // Another period, or periods of another length.
                *used = Used { changed: used.changed, ..counter.unused() };
            }
            (used.limit, used.periods) = (Some(counter.most), counter.periods);
            if used.count.saturating_add(count.max(1)) > counter.most {
                return Err(used.until.map(|until| Duration::from_secs(until.saturating_sub(counter.seconds))));
            }
            used.count = used.count.saturating_add(count);
            Ok(counter.most.saturating_sub(used.count))
        })
    }

    /// Counts this many, even if fewer were left.
    pub(in crate::policy) fn add(&self, counter: &Counter, count: u64) {
        self.lock().change(counter, |used| {
            // What ends after its period counts in none.
            if used.until == counter.until {
                used.count = used.count.saturating_add(count);
            }
        });
    }

    /// Undoes the count of this many.
    fn take_back(&self, counter: &Counter, count: u64) {
        self.lock().change(counter, |used| {
            if used.until == counter.until {
                used.count = used.count.saturating_sub(count);
            }
        });
    }

    /// Returns at most this many of the counts that have changed since they were returned.
    pub(in crate::policy) fn changed(&self, most: usize) -> Vec<QuotaRow> {
        let mut all = self.lock();
        let many = most.min(all.changed.len());
        let names: Vec<_> = all.changed.drain(..many).collect();
        let row = |name: &Name| {
            let (key, used) = all.used.find(name)?;
            used.changed = false;
            Some((name.limit.to_string(), key.to_owned(), used.count, used.until, name.owner.to_string()))
        };
        names.iter().filter_map(row).collect()
    }

    /// Returns all counts that are not over.
    pub(in crate::policy) fn rows(&self, now: SystemTime) -> Vec<QuotaRow> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let all = self.lock();
        let running = all.used.iter().filter(|kept| kept.value.until.is_none_or(|until| until > seconds));
        let row = |Kept { limit, key, owner, value }: Kept<'_, Used>| {
            (limit.to_string(), key.to_owned(), value.count, value.until, owner.to_string())
        };
        running.map(row).collect()
    }

    /// Restores these counts, of which a later one replaces an earlier one.
    pub(in crate::policy) fn restore(&self, rows: Vec<QuotaRow>, now: SystemTime) {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut all = self.lock();
        for (limit, key, count, until, owner) in rows {
            if until.is_none_or(|until| until > seconds) {
                let name = Name { limit: LimitId::saved(&limit), key, owner: owner.into() };
                let used = Used { count, until, periods: None, limit: None, changed: false };
                all.used.restore(name, used, Duration::from_secs(seconds));
            }
        }
    }

    /// Returns what was used of each quota whose period is not over.
    pub(in crate::policy) fn uses(&self, now: SystemTime) -> Vec<LimitUse> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let all = self.lock();
        let running = all.used.iter().filter(|kept| kept.value.until.is_none_or(|until| until > seconds));
        let kind = |counted| match counted {
            CountedPart::Calls => "quota",
            CountedPart::Bytes => "quota of bytes",
            CountedPart::Tokens => "llm-token-limit",
        };
        let one = |Kept { limit, key, value: used, .. }: Kept<'_, Used>| LimitUse {
            limit: used.limit,
            more_in: used.until.map(|until| Duration::from_secs(until.saturating_sub(seconds))),
            ..LimitUse::new(kind(limit.counted()), limit, key, used.count)
        };
        running.map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now for Quota {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
        let at = world.at().max(call.context.at);
        // Without a store that nodes share, nothing waits.
        let counted = run(self, call, world.state(), at).now_or_never();
        counted.unwrap_or_else(|| Err(unavailable())).map(|()| Outcome::Continue)
    }
}

impl SometimesTimed for Quota {
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

/// Counts a call at the time at which it is made, or refuses it.
async fn run(quota: &Quota, call: &mut Call<'_>, state: &State, at: Duration) -> Result<(), Box<Fault>> {
    let (condition, count) = (quota.condition.as_ref(), quota.count.as_ref());
    let counts = Counts { condition, by_answer: quota.by_answer, count };
    let count = counts.now(call)?;
    if count == 0 && quota.remaining_variable.is_none() {
        return Ok(());
    }
    let key = match &quota.key {
        Some(key) => short(expression::text(key, call)?),
        None => call.context.workload.identity.owner.to_string(),
    };
    let (now, owner) =
        (call.context.time + at.saturating_sub(call.context.at), Arc::clone(&call.context.workload.identity.owner));
    let OfPlace(identity) = &quota.identity;
    let period = |limit: LimitId, most| {
        Counter::new(Name { limit, key: key.clone(), owner: Arc::clone(&owner) }, most, quota.period, now)
    };
    // First what is only looked at: a call that is refused counts nowhere.
    let bytes = quota.bytes.filter(|_| count > 0).map(|most| period(identity.part(CountedPart::Bytes), most));
    let store = quota.shared.as_ref();
    if let Some(bytes) = &bytes {
        let left = bytes.taken(0, store, call, state).await?.map_err(|wait| used_up(bytes.most, "bytes", wait))?;
        call.note(|| format!("{key}: {left} of {} bytes left", bytes.most));
    }
    let calls = quota.calls.map(|most| period(identity.clone(), most));
    if let Some(calls) = &calls {
        let taken = calls.taken(count, store, call, state).await?;
        let left = *taken.as_ref().unwrap_or(&0);
        call.note(|| format!("{key}: {left} of {} left", calls.most));
        counting::tell(call, left, quota.remaining_header.as_deref(), quota.remaining_variable.as_ref());
        if count == 0 {
            return Ok(());
        }
        taken.map_err(|wait| used_up(calls.most, "calls", wait))?;
        let calls = calls.clone();
        counts.until_answered(call, move |state| state.of::<Quotas>().take_back(&calls, count));
    }
    if let Some(bytes) = bytes {
        let (quotas, counters, store) = (state.of::<Quotas>().clone(), state.counters.clone(), quota.shared.clone());
        call.effects.meters.add(move |passed| {
            match (store, counters) {
                (Some(store), Some(counters)) => counters.add(&store, bytes.shared(passed.bytes)),
                _ => quotas.add(&bytes, passed.bytes),
            }
            Vec::new()
        });
    }
    Ok(())
}

/// The refusal of one that has had all of these.
pub(in crate::policy) fn used_up(most: u64, what: &str, wait: Option<Duration>) -> Box<Fault> {
    let fault = Fault::new(Reason::QuotaExceeded, 403, format!("the quota of {most} {what} is used up"));
    match wait {
        Some(wait) => fault.after(wait),
        None => fault,
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Counter, Name, Quotas};
    use crate::model::{Length, LimitId, Periods};

    fn take(quotas: &Quotas, (most, period): (u64, Option<u64>), key: &str, now: u64) -> Result<u64, Option<Duration>> {
        quotas.take(&Counter::new(name(key), most, period.map(seconds), at(now)), 1)
    }

    fn name(key: &str) -> Name {
        Name { limit: LimitId::saved("quota"), key: key.to_owned(), owner: "owner".into() }
    }

    fn seconds(count: u64) -> Periods {
        Periods { length: Length::Of(Duration::from_secs(count)), start: SystemTime::UNIX_EPOCH.into() }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_period_has_its_calls_and_the_next_has_them_again() {
        let (quotas, day) = (Quotas::default(), (2, Some(86_400)));
        assert_eq!(take(&quotas, day, "", 86_400 * 3 + 10), Ok(1));
        assert_eq!(take(&quotas, day, "", 86_400 * 4 - 1), Ok(0));
        assert_eq!(take(&quotas, day, "", 86_400 * 4 - 1), Err(Some(Duration::from_secs(1))));
        assert_eq!(take(&quotas, day, "another", 86_400 * 4 - 1), Ok(1));
        assert_eq!(take(&quotas, day, "", 86_400 * 4), Ok(1));
    }

    #[test]
    fn more_calls_can_be_bought_in_the_middle() {
        let quotas = Quotas::default();
        assert_eq!(take(&quotas, (1, None), "", 1), Ok(0));
        assert_eq!(take(&quotas, (1, None), "", 1_000_000_000), Err(None));
        assert_eq!(take(&quotas, (3, None), "", 1_000_000_000), Ok(1));
    }

    #[test]
    fn what_has_cost_more_than_was_left_is_counted() {
        let quotas = Quotas::default();
        let counter = |now| Counter::new(name(""), 100, Some(seconds(60)), at(now));
        quotas.add(&counter(0), 250);
        assert_eq!(quotas.take(&counter(1), 0), Err(Some(Duration::from_secs(59))));
        assert_eq!(quotas.take(&counter(60), 0), Ok(100));
        quotas.add(&counter(59), 250);
        assert_eq!(quotas.take(&counter(61), 0), Ok(100));
    }

    #[test]
    fn counts_are_saved_once_for_each_change() {
        let (quotas, anew) = (Quotas::default(), Quotas::default());
        assert_eq!(quotas.changed(10), []);
        assert_eq!(take(&quotas, (5, Some(60)), "a", 29), Ok(4));
        assert_eq!(take(&quotas, (5, Some(60)), "a", 30), Ok(3));
        let saved = quotas.changed(10);
        assert_eq!(saved.len(), 1);
        assert_eq!((quotas.changed(10), quotas.rows(at(31))), (Vec::new(), saved.clone()));
        anew.restore(saved, at(31));
        assert_eq!(anew.changed(10), []);
        assert_eq!(take(&anew, (5, Some(60)), "a", 59), Ok(2));
        assert_eq!(quotas.rows(at(60)), [], "the period is over");
    }

    #[test]
    fn a_flood_of_changes_is_saved_in_parts() {
        let quotas = Quotas::default();
        for number in 0..100 {
            take(&quotas, (5, None), &number.to_string(), 1).unwrap();
        }
        let mut saved = Vec::new();
        while let part @ [_, ..] = &quotas.changed(30)[..] {
            assert!(part.len() <= 30);
            saved.extend(part.iter().map(|row| row.1.clone()));
        }
        assert_eq!(saved, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn who_says_that_there_was_no_end_of_bytes_ends_it() {
        let (quotas, counter) = (Quotas::default(), Counter::new(name(""), 100, None, at(0)));
        quotas.add(&counter, u64::MAX);
        quotas.add(&counter, u64::MAX);
        assert_eq!(quotas.take(&counter, 1), Err(None));
    }

    #[test]
    fn another_length_begins_anew() {
        let quotas = Quotas::default();
        assert_eq!(take(&quotas, (1, Some(86_400)), "", 10), Ok(0));
        assert_eq!(take(&quotas, (1, Some(3_600)), "", 10), Ok(0));
        assert!(take(&quotas, (1, Some(3_600)), "", 10).is_err());
    }
}
