//! Who has called since the start: the owners of workloads, and what they did. Bounded: the owners that have called last are known.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lru::LruCache;

use super::Snapshot;
use crate::model::Workload;

/// Owners that are known.
const OWNERS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Users, executables and APIs of an owner that are known, the newest first.
const EACH: usize = 16;

/// An owner of callers, and what its callers did since the start of Egret.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The workload that called last.
    pub newest: Workload,
    /// The users of its callers, the newest first.
    pub users: Newest,
    /// What its callers run, where that is known, the newest first.
    pub executables: Newest,
    /// The APIs that its callers used, the newest first, with the number of flows of each.
    pub apis: Newest,
    /// The number of flows, and of connections about which the kernel hooks decided alone.
    pub flows: u64,
    /// Those of them that still run.
    pub running: u64,
    /// Those of them that were refused or broken.
    pub failed: u64,
    /// The number of HTTP requests that Egret saw.
    pub requests: u64,
    /// Bytes sent to third parties.
    pub sent: u64,
    /// Bytes received from third parties.
    pub received: u64,
    /// The time of the newest flow.
    pub last: SystemTime,
}

/// Texts, the newest first, with the number of flows of each. The oldest one makes room.
#[derive(Clone, Debug, Default)]
pub struct Newest(VecDeque<(Arc<str>, u64)>);

impl Newest {
    fn note(&mut self, text: &Arc<str>, times: u64) {
        let before = self.0.iter().position(|(known, _)| known == text).and_then(|at| self.0.remove(at));
        self.0.push_front((Arc::clone(text), before.map_or(0, |(_, times)| times) + times));
        self.0.truncate(EACH);
    }

    /// Returns the texts.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.0.iter().map(|(text, times)| (text, *times))
    }
}

impl Owner {
    fn new(workload: &Workload, time: SystemTime) -> Self {
        Self {
            newest: workload.clone(),
            users: Newest::default(),
            executables: Newest::default(),
            apis: Newest::default(),
            flows: 0,
            running: 0,
            failed: 0,
            requests: 0,
            sent: 0,
            received: 0,
            last: time,
        }
    }

    fn note(&mut self, workload: &Workload, snapshot: &Snapshot) {
        let times = snapshot.times;
        self.flows += times;
        self.requests += snapshot.requests;
        self.sent += snapshot.sent;
        self.received += snapshot.received;
        self.users.note(&workload.user, times);
        if let Some(executable) = &workload.executable {
            self.executables.note(executable, times);
        }
        if let Some(api) = &snapshot.api {
            self.apis.note(api, times);
        }
        if snapshot.accepted >= self.last {
            self.last = snapshot.accepted;
            self.newest = workload.clone();
        }
    }
}

/// The owners that have called.
#[derive(Debug)]
pub(super) struct Callers(Mutex<LruCache<Arc<str>, Owner>>);

impl Default for Callers {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(OWNERS)))
    }
}

impl Callers {
    /// Notes a flow that has ended, or a decision of the kernel hooks.
    pub(super) fn note(&self, snapshot: &Snapshot, failed: bool) {
        let Some(flow) = &snapshot.flow else { return };
        let workload = &flow.workload;
        let mut owners = self.owners();
        let owner =
            owners.get_or_insert_mut(Arc::clone(&workload.identity.owner), || Owner::new(workload, snapshot.accepted));
        owner.note(workload, snapshot);
        owner.failed += if failed { snapshot.times } else { 0 };
    }

    /// Returns the owners, those of running flows included, the one that called last first.
    pub(super) fn all(&self, live: &[Snapshot]) -> Vec<Owner> {
        let mut owners: LruCache<Arc<str>, Owner> = self.owners().clone();
        owners.resize(OWNERS.saturating_add(live.len()));
        for snapshot in live {
            let Some(flow) = &snapshot.flow else { continue };
            let workload = &flow.workload;
            let owner = owners
                .get_or_insert_mut(Arc::clone(&workload.identity.owner), || Owner::new(workload, snapshot.accepted));
            owner.note(workload, snapshot);
            owner.running += 1;
        }
        let mut owners: Vec<_> = owners.into_iter().map(|(_, owner)| owner).collect();
        owners.sort_by_key(|owner| std::cmp::Reverse(owner.last));
        owners
    }

    fn owners(&self) -> MutexGuard<'_, LruCache<Arc<str>, Owner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{ApiId, Flow, Generation, Identity, OriginalDst, Scope};

    fn snapshot(owner: &str, user: &str, api: Option<&str>, seconds: u64) -> Snapshot {
        let workload = Workload { user: user.into(), ..Workload::from(Arc::new(Identity::of(owner))) };
        let flow = Flow {
            id: 1,
            original_dst: OriginalDst("203.0.113.7:443".parse().unwrap()),
            scope: Scope::Everybody,
            workload,
            generation: Generation(1),
            api: ApiId(0),
        };
        Snapshot {
            api: api.map(Arc::from),
            sent: 10,
            accepted: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            ..Snapshot::new(1, Some(flow))
        }
    }

    fn shown(newest: &Newest) -> Vec<(String, u64)> {
        newest.iter().map(|(text, times)| (text.to_string(), times)).collect()
    }

    #[test]
    fn what_an_owner_did_is_added_up_with_what_it_does() {
        let callers = Callers::default();
        callers.note(&snapshot("a", "root", Some("partner"), 1), false);
        callers.note(&snapshot("a", "app", None, 3), true);
        callers.note(&snapshot("b", "app", Some("partner"), 2), false);
        let all = callers.all(&[snapshot("a", "root", Some("partner"), 2), snapshot("c", "root", None, 9)]);
        let owners: Vec<_> = all.iter().map(|owner| &*owner.newest.identity.owner).collect();
        assert_eq!(owners, ["c", "a", "b"], "the one that called last first");
        let a = &all[1];
        assert_eq!((a.flows, a.running, a.failed, a.sent), (3, 1, 1, 30));
        assert_eq!(shown(&a.users), [("root".to_owned(), 2), ("app".to_owned(), 1)]);
        assert_eq!(shown(&a.apis), [("partner".to_owned(), 2)]);
        assert_eq!(&*a.newest.user, "app", "an older flow that ends later says nothing new");
        assert_eq!(callers.all(&[]).len(), 2, "who only calls now is known when it has called");
    }

    #[test]
    fn owners_and_what_is_known_of_each_are_bounded() {
        let callers = Callers::default();
        for number in 0..5000 {
            callers.note(&snapshot(&format!("owner{number}"), "root", None, number), false);
            callers.note(&snapshot("flood", &number.to_string(), Some(&format!("api{number}")), number), false);
        }
        let all = callers.all(&[]);
        assert_eq!(all.len(), OWNERS.get());
        let flood = all.iter().find(|owner| *owner.newest.identity.owner == *"flood").unwrap();
        assert_eq!((flood.users.0.len(), flood.apis.0.len(), flood.flows), (EACH, EACH, 5000));
    }
}
