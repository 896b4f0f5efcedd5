use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of connections that each owner has now.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<HashMap<Arc<str>, u32>>>);

/// One connection of an owner, for as long as this lives.
#[derive(Debug)]
pub struct Place {
    places: Places,
    owner: Arc<str>,
}

impl Places {
    /// Returns a place for one more connection of this owner, or `None` if it has `limit` already.
    pub fn take(&self, owner: &Arc<str>, limit: u32) -> Option<Place> {
        let mut taken = self.taken();
        let count = taken.entry(Arc::clone(owner)).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), owner: Arc::clone(owner) })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Arc<str>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}
