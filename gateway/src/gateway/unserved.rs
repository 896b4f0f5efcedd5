//! The network namespaces in which Egret could not listen, and why.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::namespaces::{Known, Shown};
use crate::model::Unserved;

/// Namespaces that are remembered; beyond them, those that called longest ago make room.
const MOST: usize = 256;

/// Descriptors of namespaces that are kept at most.
const MOST_WAYS: usize = 64;

/// For how long one is remembered after its last call.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Why Egret does not listen in a network namespace.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) why: Unserved,
    pub(super) error: String,
}

impl Refusal {
    pub(super) fn new(why: Unserved, error: impl Display) -> Self {
        Self { why, error: error.to_string() }
    }
}

impl Refusal {
    /// Whether a later attempt may succeed in the same namespace, after a program there has changed something.
    fn may_pass(&self) -> bool {
        match self.why {
            Unserved::PortTaken | Unserved::LoopbackDown | Unserved::ListenerClosed | Unserved::Failed => true,
            Unserved::Gone | Unserved::NotAllowed | Unserved::OtherNamespace | Unserved::TooMany => false,
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => Unserved::PortTaken,
            io::ErrorKind::NotFound => Unserved::Gone,
            io::ErrorKind::PermissionDenied => Unserved::NotAllowed,
            _ if error.raw_os_error() == Some(libc::ESRCH) => Unserved::Gone,
            _ => Unserved::Failed,
        };
        Self::new(why, error)
    }
}

/// The namespaces, by cookie, and how often it happened.
#[derive(Default)]
pub(super) struct Refused(Mutex<State>);

#[derive(Default)]
struct State {
    newest: HashMap<u64, Entry>,
    counted: HashMap<Unserved, u64>,
}

struct Entry {
    known: Known,
    inode: Option<u64>,
    refusal: Refusal,
    /// A descriptor of the namespace. A caller that is refused has often ended before Egret could enter the namespace by its process.
    way: Option<Arc<OwnedFd>>,
    times: u64,
    last: Instant,
}

impl Refused {
    /// Remembers that Egret could not listen in a namespace, and how to enter it, if that is known.
    pub(super) fn note(
        &self,
        netns: u64,
        inode: Option<u64>,
        known: Known,
        refusal: Refusal,
        way: Option<Arc<OwnedFd>>,
    ) {
        let mut state = self.state();
        *state.counted.entry(refusal.why).or_default() += 1;
        let times = state.newest.get(&netns).map_or(0, |entry| entry.times) + 1;
        if times == 1 && state.newest.len() >= MOST {
            let oldest = state.newest.iter().min_by_key(|(_, entry)| entry.last).map(|(netns, _)| *netns);
            oldest.and_then(|oldest| state.newest.remove(&oldest));
        }
        // It is so since the first time.
        let since = state.newest.get(&netns).map_or(known.since, |entry| entry.known.since);
        let known = Known { since, ..known };
        state.newest.remove(&netns);
        let has_room = state.newest.values().filter(|entry| entry.way.is_some()).count() < MOST_WAYS;
        let way = way.filter(|_| has_room && inode.is_some() && refusal.may_pass());
        state.newest.insert(netns, Entry { known, inode, refusal, way, times, last: Instant::now() });
    }

    /// Returns a descriptor of this namespace, if one is kept.
    pub(super) fn way(&self, netns: u64) -> Option<Arc<OwnedFd>> {
        self.state().newest.get(&netns)?.way.clone()
    }

    /// Returns the inode numbers of the namespaces whose descriptors are kept.
    pub(super) fn kept(&self) -> Vec<u64> {
        self.state().newest.values().filter(|entry| entry.way.is_some()).filter_map(|entry| entry.inode).collect()
    }

    /// Gives up the descriptors of these namespaces, by inode number: nobody is in them any more, and a descriptor would keep them.
    pub(super) fn give_up(&self, deserted: &HashSet<u64>) {
        let mut state = self.state();
        let is_deserted = |entry: &&mut Entry| entry.inode.is_some_and(|inode| deserted.contains(&inode));
        state.newest.values_mut().filter(is_deserted).for_each(|entry| entry.way = None);
    }

    /// Returns whether the last caller of this namespace had ended before Egret came.
    pub(super) fn was_gone(&self, netns: u64) -> bool {
        self.state().newest.get(&netns).is_some_and(|entry| entry.refusal.why == Unserved::Gone)
    }

    /// Egret listens in this namespace.
    pub(super) fn forget(&self, netns: u64) {
        self.state().newest.remove(&netns);
    }

    /// Forgets those that have not called for long.
    pub(super) fn sweep(&self) {
        self.state().newest.retain(|_, entry| entry.last.elapsed() < REMEMBERED);
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        let show = |entry: &Entry| Shown {
            known: entry.known.clone(),
            inode: entry.inode,
            listeners: Vec::new(),
            count: entry.times,
            refusal: Some(entry.refusal.clone()),
        };
        self.state().newest.values().map(show).collect()
    }

    /// Returns how often each cause was met, since the start.
    pub(super) fn counted(&self) -> Vec<(&'static str, u64)> {
        let state = self.state();
        Unserved::ALL.iter().map(|why| (why.label(), state.counted.get(why).copied().unwrap_or(0))).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn note(refused: &Refused, netns: u64, why: Unserved) {
        let known = Known { owner: "shop".into(), cgroup: 1, pid: 2, since: SystemTime::now() };
        let way = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        refused.note(netns, Some(netns), known, Refusal::new(why, "so"), Some(way));
    }

    #[test]
    fn descriptors_are_kept_in_bounded_number_and_only_of_namespaces_that_somebody_is_in() {
        let refused = Refused::default();
        note(&refused, 1, Unserved::Gone);
        assert!(refused.way(1).is_none() && refused.was_gone(1));
        for netns in 0..1000 {
            note(&refused, netns, Unserved::PortTaken);
        }
        assert_eq!(refused.kept().len(), MOST_WAYS);
        let kept = refused.kept()[0];
        assert!(refused.way(kept).is_some() && !refused.was_gone(kept));
        note(&refused, kept, Unserved::LoopbackDown);
        assert!(refused.way(kept).is_some(), "it has its own room");
        refused.give_up(&HashSet::from([kept]));
        assert!(refused.way(kept).is_none());
        note(&refused, 999, Unserved::PortTaken);
        assert!(refused.way(999).is_some());
        refused.forget(999);
        assert!(refused.way(999).is_none());
    }

    #[test]
    fn namespaces_without_number_take_bounded_room_and_are_all_counted() {
        let refused = Refused::default();
        for netns in 0..1000 {
            note(&refused, netns, Unserved::PortTaken);
        }
        note(&refused, 999, Unserved::TooMany);
        assert_eq!(refused.shown().len(), MOST);
        assert_eq!(refused.shown().iter().map(|shown| shown.count).max(), Some(2));
        let counted: HashMap<_, _> = refused.counted().into_iter().collect();
        assert_eq!((counted["port_taken"], counted["too_many_namespaces"], counted["failed"]), (1000, 1, 0));
        refused.forget(999);
        assert_eq!(refused.shown().len(), MOST - 1);
    }

    #[test]
    fn errors_of_the_kernel_have_a_cause() {
        for (error, why) in [
            (libc::EADDRINUSE, Unserved::PortTaken),
            (libc::ENOENT, Unserved::Gone),
            (libc::ESRCH, Unserved::Gone),
            (libc::EPERM, Unserved::NotAllowed),
            (libc::EACCES, Unserved::NotAllowed),
            (libc::EMFILE, Unserved::Failed),
        ] {
            assert_eq!(Refusal::from(io::Error::from_raw_os_error(error)).why, why);
        }
    }
}
