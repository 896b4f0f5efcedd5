//! Lookups that may block: in threads beside the workers, a bounded number at once, each for a limited time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

/// A bounded number of threads for lookups. One owner has a share of them, so that lookups which a caller makes slow, with a file
/// system of its own for example, are slow for that caller alone.
#[derive(Debug)]
pub(super) struct Lookups {
    all: Arc<Semaphore>,
    owners: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
    share: usize,
    patience: Duration,
}

impl Lookups {
    /// Owners whose share is remembered while they use none of it.
    const IDLE_OWNERS: usize = 256;

    /// At most `all` lookups at once, `share` of them for one owner; each waits for `patience` at most.
    pub(super) fn new(all: usize, share: usize, patience: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), owners: Mutex::default(), share, patience }
    }

    /// Returns what `look` finds, or `None` if it takes too long. A lookup that takes too long still runs to its end in its
    /// thread, and keeps its place until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        owner: &Arc<str>,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let found = async {
            let share = self.share_of(owner).acquire_owned().await.ok()?;
            let place = Arc::clone(&self.all).acquire_owned().await.ok()?;
            let look = move || {
                let found = look();
                drop((share, place));
                found
            };
            tokio::task::spawn_blocking(look).await.ok()
        };
        tokio::time::timeout(self.patience, found).await.ok().flatten()
    }

    fn share_of(&self, owner: &Arc<str>) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= Self::IDLE_OWNERS {
            owners.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(owners.entry(Arc::clone(owner)).or_insert_with(|| Arc::new(Semaphore::new(self.share))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn lookups_that_hang_cost_their_own_owner_its_share_and_nobody_else() {
        let lookups = Lookups::new(4, 2, Duration::from_millis(50));
        let [hostile, other] = ["hostile", "other"].map(Arc::<str>::from);
        let mut hung = Vec::new();
        for _ in 0..4 {
            let (end, wait) = mpsc::channel::<()>();
            hung.push(end);
            assert_eq!(lookups.run(&hostile, move || wait.recv().is_ok()).await, None);
        }
        assert_eq!(lookups.run(&hostile, || 1).await, None);
        assert_eq!(lookups.run(&other, || 1).await, Some(1));
        drop(hung);
        let patient = Lookups { patience: Duration::from_secs(60), ..lookups };
        assert_eq!(patient.run(&hostile, || 1).await, Some(1));
    }

    #[tokio::test]
    async fn owners_that_look_nothing_up_are_forgotten() {
        let lookups = Lookups::new(4, 2, Duration::from_secs(60));
        for number in 0..2 * Lookups::IDLE_OWNERS {
            assert_eq!(lookups.run(&number.to_string().into(), move || number).await, Some(number));
        }
        assert!(lookups.owners.lock().unwrap().len() <= Lookups::IDLE_OWNERS);
    }
}
