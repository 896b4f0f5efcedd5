use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// The changes that the kernel's table does not have yet. Changes that come together are published together.
#[derive(Debug)]
pub(super) struct Publication {
    pending: Mutex<Pending>,
    /// The newest turn that is in the kernel's table.
    done: watch::Sender<u64>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    /// The turn of the next publication.
    turn: u64,
    all: bool,
    addresses: HashSet<IpAddr>,
    /// Addresses that are being published.
    on_their_way: HashSet<IpAddr>,
}

/// What the next publication has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    turn: u64,
    /// Addresses whose names have changed; all addresses if absent.
    pub addresses: Option<Vec<IpAddr>>,
}

impl Default for Publication {
    fn default() -> Self {
        let pending = Pending { turn: 1, ..Pending::default() };
        Self { pending: Mutex::new(pending), done: watch::Sender::new(0), changed: Notify::new() }
    }
}

impl Publication {
    /// Notes that the names of these addresses have changed. Call it after the change.
    pub(super) fn note(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.pending().addresses.extend(addresses);
        self.changed.notify_one();
    }

    /// Notes that every row may have changed.
    pub(super) fn note_all(&self) {
        self.pending().all = true;
        self.changed.notify_one();
    }

    /// Returns once a publication is due.
    pub(super) async fn due(&self) {
        self.changed.notified().await;
    }

    /// Takes the changes. They are published when [`Self::finish`] is called with them.
    pub(super) fn take(&self) -> Changes {
        let mut pending = self.pending();
        let (turn, all) = (pending.turn, std::mem::take(&mut pending.all));
        pending.turn += 1;
        let addresses = std::mem::take(&mut pending.addresses);
        let list = addresses.iter().copied().collect();
        pending.on_their_way.extend(addresses);
        Changes { turn, addresses: (!all).then_some(list) }
    }

    /// Notes that the kernel's table has these changes.
    pub(super) fn finish(&self, changes: &Changes) {
        self.pending().on_their_way.clear();
        self.done.send_replace(changes.turn);
    }

    /// Returns once the kernel's table has the newest change of each of these addresses: at once if there is none.
    pub(super) async fn published(&self, addresses: &[IpAddr]) {
        let turn = {
            let pending = self.pending();
            if addresses.iter().any(|address| pending.addresses.contains(address)) {
                pending.turn
            } else if addresses.iter().any(|address| pending.on_their_way.contains(address)) {
                pending.turn - 1
            } else {
                return;
            }
        };
        // It never fails: the sender is ours.
        let _ = self.done.subscribe().wait_for(|done| *done >= turn).await;
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn only_those_whose_addresses_are_pending_wait() {
        let publication = Publication::default();
        let (one, other) = (address("203.0.113.1"), address("203.0.113.2"));
        assert!(is_ready(publication.published(&[one])), "nothing is pending");
        publication.note([one]);
        assert!(!is_ready(publication.published(&[one])));
        assert!(is_ready(publication.published(&[other])));
        let changes = publication.take();
        assert_eq!(changes.addresses.as_deref(), Some(&[one][..]));
        assert!(!is_ready(publication.published(&[one])), "it is on its way");
        publication.note([other]);
        publication.finish(&changes);
        assert!(is_ready(publication.published(&[one])));
        assert!(!is_ready(publication.published(&[other])), "it came too late for that publication");
        publication.finish(&publication.take());
        assert!(is_ready(publication.published(&[other])));
    }

    #[test]
    fn an_address_that_changes_again_waits_for_the_later_publication() {
        let publication = Publication::default();
        let one = address("203.0.113.1");
        publication.note([one]);
        let first = publication.take();
        publication.note([one]);
        publication.finish(&first);
        assert!(!is_ready(publication.published(&[one])));
        publication.finish(&publication.take());
        assert!(is_ready(publication.published(&[one])));
    }

    #[test]
    fn a_change_of_everything_names_no_address() {
        let publication = Publication::default();
        publication.note([address("203.0.113.1")]);
        publication.note_all();
        assert_eq!(publication.take().addresses, None);
        assert_eq!(publication.take().addresses, Some(Vec::new()));
    }
}
