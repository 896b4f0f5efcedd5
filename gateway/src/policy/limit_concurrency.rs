use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use super::call::{Call, Fault};
use super::expression;
use super::keyed::short;
use super::uses::LimitUse;
use crate::model::{LimitConcurrency, Reason, number};

type Counts = Arc<Mutex<HashMap<(Arc<str>, String), Count>>>;

#[derive(Debug, Default)]
struct Count {
    now: u32,
    max: u32,
}

/// Requests that are on their way, by limit and key.
#[derive(Debug, Default)]
pub(super) struct Concurrency(Counts);

/// A place among them, until it is dropped.
#[derive(Debug)]
pub struct Held {
    counts: Counts,
    key: (Arc<str>, String),
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry((Arc::clone(&self.key.0), std::mem::take(&mut self.key.1))) {
            entry.get_mut().now -= 1;
            if entry.get().now == 0 {
                entry.remove();
            }
        }
    }
}

impl Concurrency {
    /// How many are on their way, by limit and key.
    pub(super) fn uses(&self) -> Vec<LimitUse> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |((identity, key), count): (&(Arc<str>, String), &Count)| LimitUse {
            limit: Some(count.max.into()),
            ..LimitUse::new("limit-concurrency", identity, key, count.now.into())
        };
        counts.iter().map(one).collect()
    }
}

/// Takes a place until the answer has ended, or refuses.
pub(super) fn run(limit: &LimitConcurrency, call: &mut Call<'_>, concurrency: &Concurrency) -> Result<(), Box<Fault>> {
    let key = limit.key.as_ref().map(|key| expression::text(key, call).map(short)).transpose()?.unwrap_or_default();
    let key = (Arc::clone(&limit.identity), key);
    let mut counts = concurrency.0.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key.clone()).or_default();
    count.max = limit.max;
    if count.now >= limit.max {
        let message = format!("{} in progress already", number(limit.max as usize, "request"));
        return Err(Fault::new(Reason::ConcurrencyExceeded, 429, message));
    }
    count.now += 1;
    let now = count.now;
    drop(counts);
    call.note(|| format!("{now} of {}", limit.max));
    call.held.push(Held { counts: Arc::clone(&concurrency.0), key });
    Ok(())
}
