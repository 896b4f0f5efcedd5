//! So many calls in a period that was agreed on: a day, a month, for ever. Periods follow one another from the start of 1970
//! (UTC); counts outlive the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::call::{Call, Fault};
use super::counters::{Count, Left, Subject, Within};
use super::counting::{self, Counted, Counts};
use super::expression;
use super::keyed::{Keyed, Name, short};
use super::uses::LimitUse;
use super::world::State;
use crate::model::{CounterStore, Periods, Quota, Reason};

/// What was used, by quota and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotas(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    used: Keyed<Used>,
    changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    count: u64,
    /// Seconds since 1970; none if it is for ever.
    until: Option<u64>,
    /// Which periods it is of, once that is known.
    periods: Option<Periods>,
    /// How many there may be, once that is known.
    limit: Option<u64>,
}

/// A count as it is saved: the quota, the key, the count, and the second since 1970 at which they are forgotten.
pub type QuotaRow = (String, String, u64, Option<u64>);

impl Kept {
    fn used(&mut self, counter: &Counter) -> &mut Used {
        let is_over = |used: &mut Used| used.until.is_some_and(|until| until <= counter.seconds);
        let now = Duration::from_secs(counter.seconds);
        self.used.entry(counter.name.clone(), now, is_over, || counter.unused())
    }
}

/// What is counted, how far, and until when.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    /// The quota and the key.
    name: Name,
    most: u64,
    seconds: u64,
    until: Option<u64>,
    periods: Option<Periods>,
}

impl Counter {
    /// In the period that this moment is in.
    pub(super) fn new(identity: &str, key: &str, most: u64, periods: Option<Periods>, now: SystemTime) -> Self {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let until = periods.map(|periods| periods.end(now.into()));
        Self { name: (identity.into(), key.to_owned()), most, seconds, until, periods }
    }

    fn unused(&self) -> Used {
        Used { count: 0, until: self.until, periods: self.periods, limit: None }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { kind: "quota", identity: &self.name.0, key: &self.name.1 }
    }

    /// So many more, as all nodes count them.
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
        Ok(shared.unwrap_or_else(|| state.quotas.take(self, add)))
    }
}

impl Quotas {
    /// Counts so many, if there are so many left, and for none, if there is one: how many are left then; or how long to wait for
    /// the next period.
    pub(super) fn take(&self, counter: &Counter, count: u64) -> Result<u64, Option<Duration>> {
        let mut kept = self.lock();
        let used = kept.used(counter);
        // Of two at once the later may have been counted first: the period that has begun goes on.
        let is_late = used.periods == counter.periods && used.until > counter.until;
        if used.until != counter.until && !is_late {
            // Another period, or periods of another length.
            *used = counter.unused();
        }
        (used.limit, used.periods) = (Some(counter.most), counter.periods);
        if used.count.saturating_add(count.max(1)) > counter.most {
            return Err(used.until.map(|until| Duration::from_secs(until.saturating_sub(counter.seconds))));
        }
        used.count = used.count.saturating_add(count);
        let left = counter.most.saturating_sub(used.count);
        kept.changed |= count > 0;
        Ok(left)
    }

    /// Counts so many, even if there were not so many left.
    pub(super) fn add(&self, counter: &Counter, count: u64) {
        let mut kept = self.lock();
        let used = kept.used(counter);
        // What ends after its period counts in none.
        if used.until == counter.until {
            used.count = used.count.saturating_add(count);
            kept.changed |= count > 0;
        }
    }

    /// As if so many had not been counted.
    pub(super) fn take_back(&self, counter: &Counter, count: u64) {
        let mut kept = self.lock();
        let used = kept.used(counter);
        if used.until == counter.until {
            used.count = used.count.saturating_sub(count);
            kept.changed |= count > 0;
        }
    }

    pub(super) fn changed(&self) -> Option<Vec<QuotaRow>> {
        let mut kept = self.lock();
        if !std::mem::take(&mut kept.changed) {
            return None;
        }
        let row = |((quota, key), used): (&Name, &Used)| (quota.to_string(), key.clone(), used.count, used.until);
        Some(kept.used.iter().map(row).collect())
    }

    pub(super) fn restore(&self, rows: Vec<QuotaRow>) {
        let rows = rows
            .into_iter()
            .map(|(quota, key, count, until)| ((quota.into(), key), Used { count, until, periods: None, limit: None }));
        self.lock().used.extend(rows);
    }

    /// What was used of each quota whose period is not over.
    pub(super) fn uses(&self, now: SystemTime) -> Vec<LimitUse> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let kept = self.lock();
        let running = kept.used.iter().filter(|(_, used)| used.until.is_none_or(|until| until > seconds));
        let one = |((identity, key), used): (&Name, &Used)| LimitUse {
            limit: used.limit,
            more_in: used.until.map(|until| Duration::from_secs(until.saturating_sub(seconds))),
            ..match (identity.strip_suffix("/bytes"), identity.strip_suffix("/tokens")) {
                (Some(identity), _) => {
                    LimitUse { kind: "quota of bytes", ..LimitUse::new("quota", identity, key, used.count) }
                }
                (_, Some(identity)) => LimitUse::new("llm-token-limit", identity, key, used.count),
                (None, None) => LimitUse::new("quota", identity, key, used.count),
            }
        };
        running.map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a call at the time at which it is made, or refuses it.
pub(super) async fn run(quota: &Quota, call: &mut Call<'_>, state: &State, at: Duration) -> Result<(), Box<Fault>> {
    let (condition, count) = (quota.condition.as_ref(), quota.count.as_ref());
    let counts = Counts { condition, by_answer: quota.by_answer, count };
    let count = counts.now(call)?;
    if count == 0 && quota.remaining_variable.is_none() {
        return Ok(());
    }
    let key = match &quota.key {
        Some(key) => short(expression::text(key, call)?),
        None => call.workload.cgroup.to_string(),
    };
    let now = call.now + at.saturating_sub(call.at);
    let period = |what: &str, most| {
        let identity = format!("{}{what}", quota.identity);
        Counter::new(&identity, &key, most, quota.period, now)
    };
    // First what is only looked at: a call that is refused counts nowhere.
    let bytes = quota.bytes.filter(|_| count > 0).map(|most| period("/bytes", most));
    let store = quota.shared.as_ref();
    if let Some(bytes) = &bytes {
        let left = bytes.taken(0, store, call, state).await?.map_err(|wait| used_up(bytes.most, "bytes", wait))?;
        call.note(|| format!("{key}: {left} of {} bytes left", bytes.most));
    }
    let calls = quota.calls.map(|most| period("", most));
    if let Some(calls) = &calls {
        let taken = calls.taken(count, store, call, state).await?;
        let left = *taken.as_ref().unwrap_or(&0);
        call.note(|| format!("{key}: {left} of {} left", calls.most));
        counting::tell(call, left, quota.remaining_header.as_deref(), quota.remaining_variable.as_ref());
        if count == 0 {
            return Ok(());
        }
        taken.map_err(|wait| used_up(calls.most, "calls", wait))?;
        counts.until_answered(call, || Counted::Quota(calls.clone(), count));
    }
    if let Some(bytes) = bytes {
        let (quotas, counters, store) = (state.quotas.clone(), state.counters.clone(), quota.shared.clone());
        call.meters.add(move |passed| {
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
pub(super) fn used_up(most: u64, what: &str, wait: Option<Duration>) -> Box<Fault> {
    let fault = Fault::new(Reason::QuotaExceeded, 403, format!("the quota of {most} {what} is used up"));
    match wait {
        Some(wait) => fault.after(wait),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Counter, Quotas};
    use crate::model::{Length, Periods};

    fn take(quotas: &Quotas, (most, period): (u64, Option<u64>), key: &str, now: u64) -> Result<u64, Option<Duration>> {
        quotas.take(&Counter::new("quota", key, most, period.map(seconds), at(now)), 1)
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
        let counter = |now| Counter::new("quota", "", 100, Some(seconds(60)), at(now));
        quotas.add(&counter(0), 250);
        assert_eq!(quotas.take(&counter(1), 0), Err(Some(Duration::from_secs(59))));
        assert_eq!(quotas.take(&counter(60), 0), Ok(100));
        quotas.add(&counter(59), 250);
        assert_eq!(quotas.take(&counter(61), 0), Ok(100));
    }

    #[test]
    fn counts_are_saved_when_they_have_changed() {
        let (quotas, anew) = (Quotas::default(), Quotas::default());
        assert_eq!(quotas.changed(), None);
        assert_eq!(take(&quotas, (5, Some(60)), "a", 30), Ok(4));
        anew.restore(quotas.changed().unwrap());
        assert_eq!(quotas.changed(), None);
        assert_eq!(take(&anew, (5, Some(60)), "a", 59), Ok(3));
    }

    #[test]
    fn who_says_that_there_was_no_end_of_bytes_ends_it() {
        let (quotas, counter) = (Quotas::default(), Counter::new("quota", "", 100, None, at(0)));
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
