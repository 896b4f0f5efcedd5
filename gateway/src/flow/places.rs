use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections each workload has.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<HashMap<Arc<str>, u32>>>);

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    cgroup: Arc<str>,
}

impl Places {
    /// One more of this cgroup, unless it has that many already.
    pub fn take(&self, cgroup: &Arc<str>, limit: u32) -> Option<Place> {
        let mut taken = self.taken();
        let count = taken.entry(Arc::clone(cgroup)).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), cgroup: Arc::clone(cgroup) })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Arc<str>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.cgroup) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.cgroup);
            }
        }
    }
}
