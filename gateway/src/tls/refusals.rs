//! Who does not trust the CA: programs of workloads, and the hosts that they were shown a leaf for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::runtime::Runtime;
use crate::model::{Host, Workload};

/// Programs and hosts, and what became of the leaves that the programs were shown.
#[derive(Debug)]
pub struct Refusals {
    pairs: Mutex<HashMap<Key, Pair>>,
    /// Lookups of what runs a caller, which may block.
    lookups: Arc<Semaphore>,
}

/// A program of an owner, and a host. One program's refusal says nothing about another's: the executable is absent only where it
/// cannot be known.
type Key = (Arc<str>, Option<Arc<str>>, Host);

/// Lookups of what runs a caller, at once.
const LOOKUPS: usize = 4;

/// How long to wait for such a lookup.
const PATIENCE: Duration = Duration::from_millis(500);

/// Pairs that are remembered; past this many the memory starts anew.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
struct Pair {
    /// Some caller went on after its handshake.
    served: bool,
    refusal: Option<Refusal>,
}

/// By what a caller is known not to trust the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It said so, with this alert (RFC 8446 §6.2).
    Alert(&'static str),
    /// It went away when it had seen the leaf, and said nothing.
    Left,
}

impl Sign {
    /// What a person reads.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Alert(alert) => alert,
            Self::Left => "left at once",
        }
    }
}

/// A workload that does not trust the CA.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// It, with the newest process.
    pub workload: Workload,
    /// The host that it called.
    pub host: Host,
    /// What runs it, as far as it is known.
    pub runtime: Option<Runtime>,
    /// How it was known.
    pub sign: Sign,
    /// The number of its refusals.
    pub times: u64,
    /// The newest time.
    pub last: SystemTime,
    /// How many of its connections were passed through for that.
    pub passed: u64,
}

impl Refusals {
    /// Remembers that a caller has refused its leaf, or seems to. Returns whether this is believed: a caller that only leaves is
    /// not believed if the same program went on with that host before.
    pub async fn refused(&self, workload: &Workload, host: &Host, sign: Sign) -> bool {
        let runtime = self.runtime(workload.pid).await;
        let mut pairs = self.pairs();
        if pairs.len() >= REMEMBERED {
            pairs.clear();
        }
        let pair = pairs.entry(key(workload, host)).or_default();
        if sign == Sign::Left && pair.served {
            return false;
        }
        let before = pair.refusal.take();
        pair.refusal = Some(Refusal {
            workload: workload.clone(),
            host: host.clone(),
            runtime: runtime.or(before.as_ref().and_then(|before| before.runtime)),
            sign,
            times: before.as_ref().map_or(0, |before| before.times) + 1,
            last: SystemTime::now(),
            passed: before.map_or(0, |before| before.passed),
        });
        true
    }

    /// Returns whether no caller of this workload has refused its leaf for this host before.
    pub fn is_new(&self, workload: &Workload, host: &Host) -> bool {
        let pairs = self.pairs();
        pairs.get(&key(workload, host)).is_none_or(|pair| pair.refusal.is_none())
    }

    /// A caller went on after its handshake.
    pub fn served(&self, workload: &Workload, host: &Host) {
        let mut pairs = self.pairs();
        if pairs.len() < REMEMBERED {
            pairs.entry(key(workload, host)).or_default().served = true;
        }
    }

    /// Returns whether this program of the workload's owner refused a leaf for this host: one more of its connections is passed
    /// through.
    pub fn passes(&self, workload: &Workload, host: &Host) -> bool {
        let mut pairs = self.pairs();
        let refusal = pairs.get_mut(&key(workload, host)).and_then(|pair| pair.refusal.as_mut());
        refusal.is_some_and(|refusal| {
            refusal.passed += 1;
            true
        })
    }

    /// All of them, the newest first.
    pub fn all(&self) -> Vec<Refusal> {
        let mut all: Vec<_> = self.pairs().values().filter_map(|pair| pair.refusal.clone()).collect();
        all.sort_by_key(|refusal| std::cmp::Reverse(refusal.last));
        all
    }

    /// Forgets them: callers are shown leaves again. Returns how many there were.
    pub fn forget(&self) -> usize {
        let mut pairs = self.pairs();
        pairs.values_mut().filter_map(|pair| pair.refusal.take()).count()
    }

    /// Returns what runs a process, if that is found in time.
    async fn runtime(&self, pid: u32) -> Option<Runtime> {
        let place = Arc::clone(&self.lookups).try_acquire_owned().ok()?;
        let look = tokio::task::spawn_blocking(move || {
            let found = Runtime::of(pid);
            drop(place);
            found
        });
        tokio::time::timeout(PATIENCE, look).await.ok()?.ok()?
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<Key, Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self { pairs: Mutex::default(), lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

fn key(workload: &Workload, host: &Host) -> Key {
    (Arc::clone(&workload.identity.owner), workload.executable.clone(), host.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    fn workload(owner: &str) -> Workload {
        Workload::from(Arc::new(Identity::of(owner)))
    }

    fn host() -> Host {
        Host::parse("api.partner.example").unwrap()
    }

    #[tokio::test]
    async fn a_program_that_refused_passes_and_no_other() {
        let refusals = Refusals::default();
        assert!(refusals.refused(&workload("/a"), &host(), Sign::Alert("unknown_ca")).await);
        assert!(refusals.passes(&workload("/a"), &host()));
        assert!(!refusals.passes(&workload("/b"), &host()));
        assert!(!refusals.passes(&workload("/a"), &Host::parse("other.example").unwrap()));
        let other = Workload { executable: Some("/usr/bin/curl".into()), ..workload("/a") };
        assert!(!refusals.passes(&other, &host()), "another program of the same owner");
        let all = refusals.all();
        assert_eq!((all.len(), all[0].times, all[0].passed), (1, 1, 1));
        assert_eq!(refusals.forget(), 1);
        assert!(!refusals.passes(&workload("/a"), &host()));
    }

    #[tokio::test]
    async fn a_caller_that_only_leaves_is_believed_unless_its_program_went_on_before() {
        let refusals = Refusals::default();
        assert!(refusals.refused(&workload("/a"), &host(), Sign::Left).await);
        refusals.served(&workload("/b"), &host());
        assert!(!refusals.refused(&workload("/b"), &host(), Sign::Left).await);
        assert!(!refusals.passes(&workload("/b"), &host()));
        assert!(refusals.refused(&workload("/b"), &host(), Sign::Alert("bad_certificate")).await);
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let refusals = Refusals::default();
        for number in 0..2 * REMEMBERED {
            refusals.refused(&workload(&number.to_string()), &host(), Sign::Left).await;
            refusals.served(&workload(&format!("{number} served")), &host());
        }
        assert!(refusals.pairs().len() <= REMEMBERED);
    }
}
