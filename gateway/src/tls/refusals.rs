//! Who does not trust the CA: workloads and the hosts that they were shown a leaf for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::runtime::Runtime;
use crate::model::{Host, Workload};

/// Pairs of workload and host, and what became of their leaves.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<(Arc<str>, Host), Pair>>);

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
    /// The host.
    pub host: Host,
    /// What runs it, as far as it is known.
    pub runtime: Option<Runtime>,
    /// How it was known.
    pub sign: Sign,
    /// How often.
    pub times: u64,
    /// The newest time.
    pub last: SystemTime,
    /// How many of its connections were passed through for that.
    pub passed: u64,
}

impl Refusals {
    /// A caller has refused its leaf, or seems to. Returns whether it is believed: who only leaves is not if others of
    /// its workload, to that host, went on.
    pub fn refused(&self, workload: &Workload, host: &Host, sign: Sign) -> bool {
        let runtime = Runtime::of(workload.pid);
        let mut pairs = self.pairs();
        if pairs.len() >= REMEMBERED {
            pairs.clear();
        }
        let pair = pairs.entry((Arc::clone(&workload.cgroup), host.clone())).or_default();
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
        pairs.get(&(Arc::clone(&workload.cgroup), host.clone())).is_none_or(|pair| pair.refusal.is_none())
    }

    /// A caller went on after its handshake.
    pub fn served(&self, workload: &Workload, host: &Host) {
        let mut pairs = self.pairs();
        if pairs.len() < REMEMBERED {
            pairs.entry((Arc::clone(&workload.cgroup), host.clone())).or_default().served = true;
        }
    }

    /// Whether a caller of this workload refused a leaf for this host: one more connection is passed through for it.
    pub fn passes(&self, workload: &Workload, host: &Host) -> bool {
        let mut pairs = self.pairs();
        let refusal =
            pairs.get_mut(&(Arc::clone(&workload.cgroup), host.clone())).and_then(|pair| pair.refusal.as_mut());
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

    fn pairs(&self) -> MutexGuard<'_, HashMap<(Arc<str>, Host), Pair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(cgroup: &str) -> Workload {
        Workload { name: cgroup.into(), cgroup: cgroup.into(), ..Workload::default() }
    }

    fn host() -> Host {
        Host::parse("api.partner.example").unwrap()
    }

    #[test]
    fn who_refused_passes_and_nobody_else() {
        let refusals = Refusals::default();
        assert!(refusals.refused(&workload("/a"), &host(), Sign::Alert("unknown_ca")));
        assert!(refusals.passes(&workload("/a"), &host()));
        assert!(!refusals.passes(&workload("/b"), &host()));
        assert!(!refusals.passes(&workload("/a"), &Host::parse("other.example").unwrap()));
        let all = refusals.all();
        assert_eq!((all.len(), all[0].times, all[0].passed), (1, 1, 1));
        assert_eq!(refusals.forget(), 1);
        assert!(!refusals.passes(&workload("/a"), &host()));
    }

    #[test]
    fn who_only_leaves_is_believed_unless_others_went_on() {
        let refusals = Refusals::default();
        assert!(refusals.refused(&workload("/a"), &host(), Sign::Left));
        refusals.served(&workload("/b"), &host());
        assert!(!refusals.refused(&workload("/b"), &host(), Sign::Left));
        assert!(!refusals.passes(&workload("/b"), &host()));
        assert!(refusals.refused(&workload("/b"), &host(), Sign::Alert("bad_certificate")));
    }

    #[test]
    fn the_memory_is_bounded() {
        let refusals = Refusals::default();
        for number in 0..2 * REMEMBERED {
            refusals.refused(&workload(&number.to_string()), &host(), Sign::Left);
            refusals.served(&workload(&format!("{number} served")), &host());
        }
        assert!(refusals.pairs().len() <= REMEMBERED);
    }
}
