//! How many lines of the access log the callers of one owner can cause by being refused: a burst, then some a second. Those
//! beyond are counted, and the counts are logged.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

/// Lines that an owner can cause at once, and one after the other in each second.
const BURST: u32 = 500;
const EACH_SECOND: u32 = 50;

/// The most owners that are counted apart; further ones are counted together.
const OWNERS: usize = 4096;

/// The owner of connections without an origin record, and of those beyond [`OWNERS`].
const UNKNOWN: &str = "";

/// Lines that owners have caused.
#[derive(Debug, Default)]
pub(super) struct Volume {
    owners: Mutex<HashMap<Arc<str>, Owner>>,
    suppressed: AtomicU64,
}

#[derive(Debug)]
struct Owner {
    /// Lines that it can still cause, as of this moment.
    left: u32,
    since: Instant,
    suppressed: BTreeMap<(&'static str, Option<Arc<str>>), u64>,
}

/// A line of the access log that stands for others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    owner: Arc<str>,
    outcome: &'static str,
    api: Option<Arc<str>>,
    lines: u64,
}

impl Volume {
    /// Returns whether a line of this outcome may be written; if not, it is counted.
    pub(super) fn admits(
        &self,
        owner: Option<&Arc<str>>,
        outcome: &'static str,
        api: Option<&Arc<str>>,
        now: Instant,
    ) -> bool {
        let mut owners = self.lock();
        let known = owner.filter(|owner| owners.len() < OWNERS || owners.contains_key(*owner));
        let name = known.cloned().unwrap_or_else(|| UNKNOWN.into());
        let owner = owners.entry(name).or_insert(Owner { left: BURST, since: now, suppressed: BTreeMap::new() });
        owner.refill(now);
        if owner.left > 0 {
            owner.left -= 1;
            return true;
        }
        *owner.suppressed.entry((outcome, api.cloned())).or_default() += 1;
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Returns what was suppressed since this was asked.
    pub(super) fn report(&self, now: Instant) -> Vec<Suppressed> {
        let mut owners = self.lock();
        let mut report = Vec::new();
        for (name, owner) in owners.iter_mut() {
            owner.refill(now);
            for ((outcome, api), lines) in std::mem::take(&mut owner.suppressed) {
                report.push(Suppressed { owner: Arc::clone(name), outcome, api, lines });
            }
        }
        owners.retain(|_, owner| owner.left < BURST);
        report
    }

    /// Returns how many lines were suppressed in all.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_millis() * u128::from(EACH_SECOND) / 1000).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.since += Duration::from_millis(u64::from(more) * 1000 / u64::from(EACH_SECOND));
        }
    }
}

impl Suppressed {
    /// Returns the owner whose lines were left out.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }
}

/// As it is logged.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    outcome: &'a str,
    api: Option<&'a str>,
    owner: &'a str,
    /// How many lines of this outcome were left out.
    suppressed: u64,
}

impl<'a> From<&'a Suppressed> for Line<'a> {
    fn from(suppressed: &'a Suppressed) -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            time: time.as_secs_f64(),
            outcome: suppressed.outcome,
            api: suppressed.api.as_deref(),
            owner: &suppressed.owner,
            suppressed: suppressed.lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_owner_is_counted_and_nobody_else_loses_a_line() {
        let (volume, start) = (Volume::default(), Instant::now());
        let (hostile, victim, api): (Arc<str>, Arc<str>, Arc<str>) = ("hostile".into(), "victim".into(), "a".into());
        let mut written = 0;
        for number in 0..10_000_u64 {
            let now = start + Duration::from_millis(number / 10);
            written += u64::from(volume.admits(Some(&hostile), "no_origin", Some(&api), now));
            assert!(number % 100 != 0 || volume.admits(Some(&victim), "denied", None, now));
        }
        assert!((u64::from(BURST)..=u64::from(BURST + EACH_SECOND)).contains(&written), "{written}");
        let now = start + Duration::from_secs(1);
        let lines = 10_000 - written;
        let expected = Suppressed { owner: hostile, outcome: "no_origin", api: Some(api), lines };
        assert_eq!((volume.report(now), volume.suppressed()), (vec![expected], lines));
        assert_eq!(volume.report(now), []);
    }

    #[test]
    fn owners_are_bounded_and_forgotten() {
        let (volume, start) = (Volume::default(), Instant::now());
        for number in 0..2 * OWNERS {
            volume.admits(Some(&number.to_string().into()), "denied", None, start);
        }
        assert!(volume.lock().len() <= OWNERS + 1);
        volume.report(start + Duration::from_secs(60));
        assert_eq!(volume.lock().len(), 0);
    }
}
