//! Responses that are on their way and may be stored: requests for the same can wait for one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::lock::{Mutex as Turn, OwnedMutexGuard};

/// The responses on their way, by their keys.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct InFlight(Arc<Mutex<HashMap<String, Arc<Turn<()>>>>>);

/// What a request does that wants a response.
pub(in crate::policy) enum Joined {
    /// It is the first: it goes on, and others wait for it until this is dropped.
    First(Leader),
    /// It is a later one: it can wait for this turn.
    Later(Arc<Turn<()>>),
}

/// The request whose response others wait for.
#[derive(Debug)]
pub(in crate::policy) struct Leader {
    all: InFlight,
    key: String,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl InFlight {
    /// Joins the requests for the response with this key.
    pub(in crate::policy) fn join(&self, key: &str) -> Joined {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = all.get(key) {
            return Joined::Later(Arc::clone(turn));
        }
        let turn = Arc::new(Turn::new(()));
        let Some(own) = Arc::clone(&turn).try_lock_owned() else { return Joined::Later(turn) };
        all.insert(key.to_owned(), turn);
        Joined::First(Leader { all: self.clone(), key: key.to_owned(), _turn: own })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn later_requests_wait_for_the_first_and_no_longer() {
        let all = InFlight::default();
        let Joined::First(first) = all.join("a") else { panic!("nobody was there") };
        assert!(matches!(all.join("b"), Joined::First(_)), "another answer");
        let (Joined::Later(second), Joined::Later(third)) = (all.join("a"), all.join("a")) else { panic!("two wait") };
        assert!(second.lock().now_or_never().is_none());
        drop(first);
        // None of those who waited makes the others wait for it.
        assert!(second.lock().now_or_never().is_some() && third.lock().now_or_never().is_some());
        assert!(matches!(all.join("a"), Joined::First(_)));
    }
}
