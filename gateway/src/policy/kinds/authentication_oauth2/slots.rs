//! The tokens that are stored. A caller may choose what a token is for: tokens that the callers of one owner make Egret fetch take no
//! room from those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::lock::Mutex as Turn;
use http::HeaderValue;

use crate::model::Secret;

/// The most tokens that are stored; beyond it, the one that was used longest ago is dropped.
const KEPT: usize = 1000;

/// The most tokens that the calls of one owner may add; beyond it, one of its own is dropped.
const SHARE: usize = KEPT / 4;

/// A token that is stored. Whoever comes first fetches it, and others wait for it.
pub(in crate::policy) type Slot = Turn<Kept>;

#[derive(Debug, Default)]
pub(in crate::policy) struct Kept {
    pub(in crate::policy) token: Option<Token>,
    /// The secret of the last request for a token that failed, and why it failed.
    pub(in crate::policy) failed: Option<(Secret, String)>,
    /// When the last token was dropped because the third party refused it.
    pub(in crate::policy) dropped: Option<Duration>,
}

#[derive(Debug)]
pub(in crate::policy) struct Token {
    pub(in crate::policy) value: HeaderValue,
    /// The secret that it was fetched with.
    pub(in crate::policy) secret: Secret,
    /// When another token is fetched.
    pub(in crate::policy) renewed: Duration,
    pub(in crate::policy) until: Duration,
}

/// The tokens, by what they were fetched for.
#[derive(Debug, Default)]
pub(in crate::policy) struct Slots(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    /// The owner of the first caller.
    owner: Arc<str>,
    used: Duration,
}

impl Slots {
    /// Returns where the token of this name is kept.
    pub(in crate::policy) fn of(&self, name: &str, owner: &Arc<str>, now: Duration) -> Arc<Slot> {
        let mut slots = self.lock();
        if let Some(entry) = slots.get_mut(name) {
            entry.used = now;
            return Arc::clone(&entry.slot);
        }
        if slots.values().filter(|entry| entry.owner == *owner).count() >= SHARE {
            forget_oldest(&mut slots, |entry| entry.owner == *owner);
        } else if slots.len() >= KEPT {
            forget_oldest(&mut slots, |_| true);
        }
        let slot = Arc::<Slot>::default();
        slots.insert(name.to_owned(), Entry { slot: Arc::clone(&slot), owner: Arc::clone(owner), used: now });
        slot
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the token that was used longest ago of those that no request uses.
fn forget_oldest(slots: &mut HashMap<String, Entry>, of: impl Fn(&Entry) -> bool) {
    let idle = slots.iter().filter(|(_, entry)| Arc::strong_count(&entry.slot) == 1 && of(entry));
    if let Some(name) = idle.min_by_key(|(_, entry)| entry.used).map(|(name, _)| name.clone()) {
        slots.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_one_owner_asks_for_take_no_room_of_others() {
        let (slots, victim, hostile) = (Slots::default(), Arc::from("victim"), Arc::from("hostile"));
        let second = Duration::from_secs;
        let shared = slots.of("shared", &victim, second(0));
        let used = slots.of("in use", &hostile, second(0));
        for number in 1..10 * KEPT as u64 {
            slots.of(&number.to_string(), &hostile, second(number));
        }
        assert!(slots.lock().len() <= SHARE + 2);
        assert!(Arc::ptr_eq(&shared, &slots.of("shared", &victim, second(0))));
        assert!(Arc::ptr_eq(&used, &slots.of("in use", &hostile, second(0))), "one in use is not forgotten");
        for number in 0..2 * KEPT {
            slots.of(&format!("of {number}"), &number.to_string().into(), second(9));
        }
        assert!(slots.lock().len() <= KEPT);
    }
}
