//! Destinations that no API lists, to which callers connected: as many as fit, with a share for each owner.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use lru::LruCache;

use super::Snapshot;

/// Destinations that are remembered.
const MOST: usize = 8192;

/// Destinations that are remembered for one owner.
const EACH: NonZeroUsize = NonZeroUsize::new(MOST / 8).unwrap();

/// A destination, and what the hooks decided about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    destination: SocketAddr,
    udp: bool,
    reason: &'static str,
}

/// Connections of one owner to one unlisted destination.
#[derive(Clone, Debug)]
pub struct UnlistedDestination {
    /// The newest one.
    pub newest: Snapshot,
    /// What was decided.
    pub reason: &'static str,
    /// The number of connections and datagrams.
    pub times: u64,
    /// When the first one was.
    pub first: SystemTime,
}

/// The destinations of each owner, the newest first.
#[derive(Debug, Default)]
pub(super) struct Destinations(Mutex<Owners>);

#[derive(Debug, Default)]
struct Owners {
    owners: HashMap<Arc<str>, LruCache<Key, UnlistedDestination>>,
    all: usize,
}

impl Destinations {
    pub(super) fn note(&self, newest: Snapshot, reason: &'static str) {
        let Some(flow) = &newest.flow else { return };
        let key = Key { destination: flow.original_dst.0, udp: newest.protocol.is_some(), reason };
        let owner = Arc::clone(&flow.workload.identity.owner);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(owner, key, newest, reason);
    }

    /// Returns them, the newest first, at most so many, and the number without the maximum. Of more than fit, the newest of each owner
    /// stay, so that no owner hides another.
    pub(super) fn all(&self, most: usize) -> (Vec<UnlistedDestination>, usize) {
        let owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |seen: &UnlistedDestination| Reverse((seen.newest.accepted, seen.newest.id));
        let mut all = Vec::new();
        for own in owners.owners.values() {
            all.extend(own.iter().map(|(_, seen)| seen).enumerate());
        }
        all.sort_by_key(|(rank, seen)| (*rank, age(seen)));
        let mut shown: Vec<_> = all.into_iter().take(most).map(|(_, seen)| seen.clone()).collect();
        shown.sort_by_key(age);
        (shown, owners.all)
    }
}

impl Owners {
    fn note(&mut self, owner: Arc<str>, key: Key, newest: Snapshot, reason: &'static str) {
        let own = self.owners.entry(owner).or_insert_with(|| LruCache::new(EACH));
        if let Some(seen) = own.get_mut(&key) {
            seen.times = seen.times.saturating_add(newest.times);
            seen.newest = newest;
            return;
        }
        let (times, first) = (newest.times, newest.accepted);
        let before = own.len();
        own.push(key, UnlistedDestination { newest, reason, times, first });
        self.all += own.len() - before;
        if self.all > MOST {
            self.evict();
        }
    }

    /// Forgets the oldest destination of the owner that has the most.
    fn evict(&mut self) {
        let Some(greedy) = self.owners.iter().max_by_key(|(_, own)| own.len()).map(|(owner, _)| Arc::clone(owner))
        else {
            return;
        };
        if let Some(own) = self.owners.get_mut(&greedy) {
            self.all -= usize::from(own.pop_lru().is_some());
            if own.is_empty() {
                self.owners.remove(&greedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ApiId, Flow, Generation, Identity, OriginalDst, Scope, Workload};
    use crate::telemetry::Decided;

    fn noted(all: &Destinations, owner: &str, number: u32) {
        let destination = SocketAddr::new(number.to_be_bytes().into(), 443);
        let workload = Workload::from(Arc::new(Identity::of(owner)));
        let flow = Flow {
            id: u64::from(number),
            original_dst: OriginalDst(destination),
            workload,
            generation: Generation(1),
            api: ApiId(0),
            scope: Scope::Everybody,
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number.into());
        let decided = Decided { flow, api: None, name: None, time, source: None, udp: false, times: 2 };
        all.note(decided.into(), "unlisted_denied");
    }

    #[test]
    fn equal_destinations_are_one_row_and_the_newest_comes_first() {
        let all = Destinations::default();
        [1, 2, 1].into_iter().for_each(|number| noted(&all, "one", number));
        let (rows, count) = all.all(10);
        assert_eq!(count, 2);
        assert_eq!(rows.iter().map(|row| row.times).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(all.all(1).0.len(), 1);
    }

    #[test]
    fn of_more_than_fit_the_newest_of_each_owner_stay() {
        let all = Destinations::default();
        noted(&all, "quiet", 0);
        (1..=500).for_each(|number| noted(&all, "loud", number));
        let (rows, count) = all.all(3);
        let shown: Vec<_> = rows.iter().map(|row| row.newest.id).collect();
        assert_eq!((shown, count), (vec![500, 499, 0], 501));
    }

    #[test]
    fn owners_with_ever_new_destinations_evict_their_own() {
        let all = Destinations::default();
        noted(&all, "quiet", 0);
        for number in 0..20_000 {
            noted(&all, &format!("loud{}", number % 20), number);
        }
        let (rows, count) = all.all(usize::MAX);
        assert!(count <= MOST && rows.len() == count, "{count}");
        let of = |owner: &str| {
            rows.iter()
                .filter(|row| row.newest.flow.as_ref().is_some_and(|flow| &*flow.workload.identity.owner == owner))
                .count()
        };
        assert_eq!(of("quiet"), 1);
        assert!((1..=EACH.get()).contains(&of("loud3")));
    }
}
