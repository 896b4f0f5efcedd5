//! Limits that several nodes count together, in a server that they share.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::call::Call;
use super::fault::Fault;
use super::state::State;
use super::uses::LimitUse;
use crate::model::{Count, CounterStore, Left, LimitId, Reason, Within};

/// What a policy counts: its kind, its limit and the key.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Subject<'a> {
    pub(in crate::policy) kind: &'static str,
    pub(in crate::policy) identity: &'a LimitId,
    pub(in crate::policy) key: &'a str,
}

impl Subject<'_> {
    /// Returns the count for the shared store. Keys may be secrets of callers, and long: a digest stands for them.
    pub(in crate::policy) fn count(&self, within: Within, most: u64, add: u64) -> Count {
        let mut name = format!("egret:{}:", self.identity);
        for byte in &digest(&SHA256, self.key.as_bytes()).as_ref()[..16] {
            let _ = write!(name, "{byte:02x}");
        }
        Count { name, within, most, add }
    }

    /// Counts together with other nodes. Returns `None` where this node is to count on its own.
    ///
    /// # Errors
    /// The store cannot be reached, and the owner of the limit does not want this node to count on its own.
    pub(in crate::policy) async fn shared(
        &self,
        store: &Arc<CounterStore>,
        count: Count,
        call: &mut Call<'_>,
        state: &State,
    ) -> Result<Option<Left>, Box<Fault>> {
        let Some(counters) = &state.counters else { return Ok(None) };
        let (within, most) = (count.within, count.most);
        match counters.count(store, count).await {
            Ok(left) => {
                let used = most.saturating_sub(*left.as_ref().unwrap_or(&0));
                state.of::<Seen>().note(self, (used, most), within, call);
                Ok(Some(left))
            }
            Err(why) if store.refuse => {
                call.note(|| why);
                Err(unavailable())
            }
            Err(why) => {
                let message = format!("counted on this node alone: {why}");
                call.note(|| message.clone());
                call.effects.reports.push((self.kind, Reason::CountersUnavailable, message));
                Ok(None)
            }
        }
    }
}

/// Returns the failure of a request whose limit cannot be counted.
pub(in crate::policy) fn unavailable() -> Box<Fault> {
    Fault::new(Reason::CountersUnavailable, 503, "the counts of a limit cannot be had")
}

/// The shared counts as this node saw them last, for people.
#[derive(Debug, Default)]
pub(in crate::policy) struct Seen(Mutex<HashMap<(LimitId, String), Last>>);

#[derive(Debug)]
struct Last {
    kind: &'static str,
    used: u64,
    most: u64,
    /// When the count is out of date, on the clock of [`super::call::Context::at`].
    until: Duration,
}

/// The most counts that are remembered. Beyond it, those that are out of date are dropped, or all.
const KEPT: usize = 10_000;

impl Seen {
    fn note(&self, subject: &Subject<'_>, (used, most): (u64, u64), within: Within, call: &Call<'_>) {
        let until = match within {
            Within::Any(period) => call.context.at + period,
            Within::Until(None) => Duration::MAX,
            Within::Until(Some(seconds)) => {
                let now = call.context.time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
                call.context.at + Duration::from_secs(seconds).saturating_sub(now)
            }
        };
        let mut seen = self.lock();
        if seen.len() >= KEPT {
            seen.retain(|_, last| last.until > call.context.at);
            if seen.len() >= KEPT {
                seen.clear();
            }
        }
        let last = Last { kind: subject.kind, used, most, until };
        seen.insert((subject.identity.clone(), subject.key.to_owned()), last);
    }

    pub(in crate::policy) fn uses(&self, at: Duration) -> Vec<LimitUse> {
        let seen = self.lock();
        let of_use = seen.iter().filter(|(_, last)| last.until > at);
        let one = |((identity, key), last): (&(LimitId, String), &Last)| LimitUse {
            limit: Some(last.most),
            shared: true,
            ..LimitUse::new(last.kind, identity, key, last.used)
        };
        of_use.map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(LimitId, String), Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_on_all_nodes_and_tell_no_key() {
        let name = |key: &str| {
            Subject { kind: "quota", identity: &LimitId::saved("global/quota//"), key }
                .count(Within::Until(None), 1, 1)
                .name
        };
        assert_eq!(name("secret"), "egret:global/quota//:2bb80d537b1da3e38bd30361aa855686");
        assert_ne!(name("secret"), name("another"));
    }
}
