use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use super::call::{Call, Fault};
use super::expression;
use crate::model::{LimitConcurrency, Reason};

type Counts = Arc<Mutex<HashMap<(Arc<str>, String), u32>>>;

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
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Takes a place until the answer has ended, or refuses.
pub(super) fn run(limit: &LimitConcurrency, call: &mut Call<'_>, concurrency: &Concurrency) -> Result<(), Box<Fault>> {
    let key = limit.key.as_ref().map(|key| expression::text(key, call)).transpose()?.unwrap_or_default();
    let key = (Arc::clone(&limit.identity), key);
    let mut counts = concurrency.0.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key.clone()).or_default();
    if *count >= limit.max {
        let message = format!("{} requests are on their way already", limit.max);
        return Err(Fault::new(Reason::ConcurrencyExceeded, 429, message));
    }
    *count += 1;
    let now = *count;
    drop(counts);
    call.note(|| format!("{now} of {}", limit.max));
    call.held.push(Held { counts: Arc::clone(&concurrency.0), key });
    Ok(())
}
