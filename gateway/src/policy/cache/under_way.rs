//! Answers that have been asked for and may be kept when they come: who wants the same meanwhile can wait for that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::lock::{Mutex as Turn, OwnedMutexGuard};

/// By their keys.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct UnderWay(Arc<Mutex<HashMap<String, Arc<Turn<()>>>>>);

/// Who has come.
pub(super) enum Place {
    /// Nobody was there: it asks, and others wait for it until this is dropped.
    First(Leading),
    /// It can wait for this turn.
    Later(Arc<Turn<()>>),
}

/// Who asks for an answer that others wait for.
#[derive(Debug)]
pub(in crate::policy) struct Leading {
    all: UnderWay,
    key: String,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl UnderWay {
    pub(super) fn come(&self, key: &str) -> Place {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = all.get(key) {
            return Place::Later(Arc::clone(turn));
        }
        let turn = Arc::new(Turn::new(()));
        let Some(own) = Arc::clone(&turn).try_lock_owned() else { return Place::Later(turn) };
        all.insert(key.to_owned(), turn);
        Place::First(Leading { all: self.clone(), key: key.to_owned(), _turn: own })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_comes_later_waits_for_the_first_and_no_longer() {
        let all = UnderWay::default();
        let Place::First(first) = all.come("a") else { panic!("nobody was there") };
        assert!(matches!(all.come("b"), Place::First(_)), "another answer");
        let (Place::Later(second), Place::Later(third)) = (all.come("a"), all.come("a")) else { panic!("two wait") };
        assert!(second.lock().now_or_never().is_none());
        drop(first);
        // None of those who waited makes the others wait for it.
        assert!(second.lock().now_or_never().is_some() && third.lock().now_or_never().is_some());
        assert!(matches!(all.come("a"), Place::First(_)));
    }
}
