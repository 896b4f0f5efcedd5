//! What policies remember from one request to the next.

use std::any::Any;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use crate::model::Counters;

/// What policies remember from one request to the next, and across changes of the configuration. Each type has one value in it, which
/// is created when a policy first asks for it; the engine does not know the types.
#[derive(Debug, Default)]
pub struct State {
    first: Next,
    /// Where limits are counted that nodes share. Without it, each limit is this node's own.
    pub(in crate::policy) counters: Option<Arc<dyn Counters>>,
}

/// The values are a list that only grows, so that reading takes no lock.
type Next = OnceLock<Box<Entry>>;

#[derive(Debug)]
struct Entry {
    value: Box<dyn Remembered>,
    next: Next,
}

/// A value that can be remembered.
pub(in crate::policy) trait Remembered: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Remembered for T {}

impl State {
    /// Returns a state in which limits are counted with other nodes, where the configuration says so.
    pub fn sharing(counters: Arc<dyn Counters>) -> Self {
        Self { counters: Some(counters), ..Self::default() }
    }

    /// Returns the value of this type.
    pub(in crate::policy) fn of<T: Remembered + Default>(&self) -> &T {
        let mut place = &self.first;
        loop {
            let entry = place.get_or_init(|| Box::new(Entry { value: Box::<T>::default(), next: Next::new() }));
            let value: &dyn Any = &*entry.value;
            match value.downcast_ref() {
                Some(value) => return value,
                None => place = &entry.next,
            }
        }
    }

    /// Puts a value in the place of what would be created.
    pub(in crate::policy) fn with<T: Remembered>(self, value: T) -> Self {
        let first = Box::new(Entry { value: Box::new(value), next: self.first });
        Self { first: Next::from(first), counters: self.counters }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use super::*;

    #[test]
    fn each_type_has_one_value_whoever_asks_first() {
        let state = Arc::new(State::default());
        let threads: Vec<_> = (0..8)
            .map(|number: u32| {
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    if number.is_multiple_of(2) {
                        state.of::<AtomicU64>().fetch_add(1, Ordering::Relaxed);
                    }
                    state.of::<AtomicU32>().fetch_add(1, Ordering::Relaxed);
                    state.of::<AtomicU64>().fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(state.of::<AtomicU64>().load(Ordering::Relaxed), 12);
        assert_eq!(state.of::<AtomicU32>().load(Ordering::Relaxed), 8);
        let copied = State::default().with(AtomicU32::new(7));
        assert_eq!(copied.of::<AtomicU32>().load(Ordering::Relaxed), 7);
        assert_eq!(copied.of::<AtomicU64>().load(Ordering::Relaxed), 0);
    }
}
