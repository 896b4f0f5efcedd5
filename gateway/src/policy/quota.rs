//! So many calls in a period that was agreed on: a day, a month, for ever. Periods follow one another from the start of 1970
//! (UTC); counts outlive the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::expression;
use super::uses::LimitUse;
use crate::model::{Quota, Reason};

/// What was used, by quota and key.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    used: HashMap<(String, String), Used>,
    changed: bool,
    /// Keys at which those whose period is over are taken out.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    calls: u64,
    /// Seconds since 1970; none if it is for ever.
    until: Option<u64>,
    /// How many there may be, once that is known.
    limit: Option<u64>,
}

/// A count as it is saved: the quota, the key, the calls, and the second since 1970 at which they are forgotten.
pub type QuotaRow = (String, String, u64, Option<u64>);

/// Keys that are kept before those that are over are looked for.
const KEYS: usize = 10_000;

impl Quotas {
    /// Counts one call: how many are left then; or how long to wait for the next period.
    fn take(&self, quota: &Quota, key: String, now: SystemTime) -> Result<u64, Option<Duration>> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let until = quota.period.map(|period| {
            let period = period.as_secs().max(1);
            (seconds / period + 1) * period
        });
        let mut kept = self.lock();
        if kept.used.len() >= kept.sweep_at.max(KEYS) {
            kept.used.retain(|_, used| used.until.is_none_or(|until| until > seconds));
            kept.sweep_at = kept.used.len() * 2;
        }
        let used = kept.used.entry((quota.identity.to_string(), key)).or_insert(Used { calls: 0, until, limit: None });
        if used.until != until {
            // Another period, or periods of another length.
            *used = Used { calls: 0, until, limit: None };
        }
        used.limit = Some(quota.calls);
        if used.calls >= quota.calls {
            return Err(until.map(|until| Duration::from_secs(until.saturating_sub(seconds))));
        }
        used.calls += 1;
        let left = quota.calls - used.calls;
        kept.changed = true;
        Ok(left)
    }

    pub(super) fn changed(&self) -> Option<Vec<QuotaRow>> {
        let mut kept = self.lock();
        if !std::mem::take(&mut kept.changed) {
            return None;
        }
        let row =
            |((quota, key), used): (&(String, String), &Used)| (quota.clone(), key.clone(), used.calls, used.until);
        Some(kept.used.iter().map(row).collect())
    }

    pub(super) fn restore(&self, rows: Vec<QuotaRow>) {
        let rows =
            rows.into_iter().map(|(quota, key, calls, until)| ((quota, key), Used { calls, until, limit: None }));
        self.lock().used.extend(rows);
    }

    /// What was used of each quota whose period is not over.
    pub(super) fn uses(&self, now: SystemTime) -> Vec<LimitUse> {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let kept = self.lock();
        let running = kept.used.iter().filter(|(_, used)| used.until.is_none_or(|until| until > seconds));
        let one = |((identity, key), used): (&(String, String), &Used)| LimitUse {
            limit: used.limit,
            more_in: used.until.map(|until| Duration::from_secs(until.saturating_sub(seconds))),
            ..LimitUse::new("quota", identity, key, used.calls)
        };
        running.map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a call, or refuses it.
pub(super) fn run(quota: &Quota, call: &mut Call<'_>, quotas: &Quotas) -> Result<(), Box<Fault>> {
    if let Some(condition) = &quota.condition
        && !expression::holds(condition, call)?
    {
        call.note(|| "does not count".to_owned());
        return Ok(());
    }
    let key = match &quota.key {
        Some(key) => expression::text(key, call)?,
        None => call.workload.cgroup.to_string(),
    };
    let shown = if call.steps.is_some() { key.clone() } else { String::new() };
    let taken = quotas.take(quota, key, call.now);
    let left = *taken.as_ref().unwrap_or(&0);
    call.note(|| format!("{shown}: {left} of {} left", quota.calls));
    if let Some(name) = quota.remaining_header.as_deref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
    {
        call.later.push((name, HeaderValue::from(left)));
    }
    taken.map(drop).map_err(|wait| {
        let fault = Fault::new(Reason::QuotaExceeded, 403, format!("the quota of {} calls is used up", quota.calls));
        match wait {
            Some(wait) => fault.after(wait),
            None => fault,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::Quotas;
    use crate::model::{Quota, RateKind};

    fn quota(calls: u64, period: Option<u64>) -> Quota {
        Quota {
            kind: RateKind::Key,
            identity: "quota".into(),
            calls,
            period: period.map(Duration::from_secs),
            key: None,
            condition: None,
            remaining_header: None,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_period_has_its_calls_and_the_next_has_them_again() {
        let (quotas, day) = (Quotas::default(), quota(2, Some(86_400)));
        assert_eq!(quotas.take(&day, String::new(), at(86_400 * 3 + 10)), Ok(1));
        assert_eq!(quotas.take(&day, String::new(), at(86_400 * 4 - 1)), Ok(0));
        assert_eq!(quotas.take(&day, String::new(), at(86_400 * 4 - 1)), Err(Some(Duration::from_secs(1))));
        assert_eq!(quotas.take(&day, "another".to_owned(), at(86_400 * 4 - 1)), Ok(1));
        assert_eq!(quotas.take(&day, String::new(), at(86_400 * 4)), Ok(1));
    }

    #[test]
    fn more_calls_can_be_bought_in_the_middle() {
        let quotas = Quotas::default();
        assert_eq!(quotas.take(&quota(1, None), String::new(), at(1)), Ok(0));
        assert_eq!(quotas.take(&quota(1, None), String::new(), at(1_000_000_000)), Err(None));
        assert_eq!(quotas.take(&quota(3, None), String::new(), at(1_000_000_000)), Ok(1));
    }

    #[test]
    fn counts_are_saved_when_they_have_changed() {
        let (quotas, anew) = (Quotas::default(), Quotas::default());
        assert_eq!(quotas.changed(), None);
        assert_eq!(quotas.take(&quota(5, Some(60)), "a".to_owned(), at(30)), Ok(4));
        anew.restore(quotas.changed().unwrap());
        assert_eq!(quotas.changed(), None);
        assert_eq!(anew.take(&quota(5, Some(60)), "a".to_owned(), at(59)), Ok(3));
    }
}
