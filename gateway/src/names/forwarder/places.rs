//! How many queries are on their way at the same time: so many in all, and a share for each cgroup and those below it. No workload
//! takes the places of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit};

/// Most queries on their way. Each needs a descriptor.
const MOST: u64 = 4_096;

/// Returns how many queries may be on their way: with a low limit of open files, an eighth of it.
pub(super) fn at_once() -> u64 {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    MOST.min(limit / 8).max(16)
}

#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    most: u64,
    all: u64,
    cgroups: HashMap<u64, u64>,
}

/// A place of one query; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    cgroups: [u64; 4],
    /// Whether few places are left for its caller: less than a quarter of its share.
    pub(super) is_scarce: bool,
}

impl Places {
    pub(super) fn new(most: u64) -> Self {
        Self(Arc::new(Mutex::new(Taken { most, all: 0, cgroups: HashMap::new() })))
    }

    /// Takes a place for a caller in these cgroups, outermost first; zero stands for none. Each level may have half of what the
    /// level above may have.
    pub(super) fn take(&self, cgroups: [u64; 4]) -> Option<Place> {
        let mut taken = self.taken();
        let used = |cgroup: &u64| taken.cgroups.get(cgroup).copied().unwrap_or(0);
        let shares = (1..).map(|level| (taken.most >> level).max(1));
        let levels = cgroups.iter().zip(shares).filter(|(cgroup, _)| **cgroup != 0);
        // What is left at each level, as a part of the share.
        let left = levels.map(|(cgroup, share)| (share.saturating_sub(used(cgroup)), share));
        let left: Vec<_> = left.chain([(taken.most - taken.all, taken.most)]).collect();
        if left.iter().any(|(left, _)| *left == 0) {
            return None;
        }
        let is_scarce = left.iter().any(|(left, share)| left * 4 < *share);
        taken.all += 1;
        for cgroup in cgroups.iter().filter(|cgroup| **cgroup != 0) {
            *taken.cgroups.entry(*cgroup).or_default() += 1;
        }
        drop(taken);
        Some(Place { places: self.clone(), cgroups, is_scarce })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        for cgroup in self.cgroups.iter().filter(|cgroup| **cgroup != 0) {
            if let Some(used) = taken.cgroups.get_mut(cgroup) {
                *used -= 1;
                if *used == 0 {
                    taken.cgroups.remove(cgroup);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_scarce_before_none_is_left() {
        let places = Places::new(256);
        let held: Vec<_> = std::iter::from_fn(|| places.take([1, 11, 0, 111])).collect();
        let first = held.iter().position(|place| place.is_scarce);
        assert_eq!((held.len(), first), (16, Some(13)));
        assert!(!places.take([1, 11, 0, 112]).unwrap().is_scarce, "another cgroup of the service");
    }

    #[test]
    fn a_workload_has_its_share_and_leaves_places_for_others() {
        let places = Places::new(16);
        let held: Vec<_> = std::iter::from_fn(|| places.take([1, 11, 0, 111])).collect();
        assert_eq!(held.len(), 1, "a cgroup alone");
        let more: Vec<_> = (112..200).filter_map(|own| places.take([1, 11, 0, own])).collect();
        assert_eq!(more.len(), 3, "four of the service, whatever cgroups it makes");
        let others: Vec<_> = (201..300).filter_map(|own| places.take([1, own, 0, own])).collect();
        assert_eq!(others.len(), 4, "eight of the slice");
        assert!(places.take([2, 21, 0, 211]).is_some());
        drop((held, more, others));
        assert!(places.taken().cgroups.is_empty());
        assert_eq!(places.taken().all, 0);
    }
}
