//! The node's names of users, which may come over the network (NSS).

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use nix::unistd::{Uid, User};

use super::lookups::Lookups;

/// The names of users, cached.
#[derive(Debug)]
pub(super) struct Users {
    /// The name of a user, or `None` for a user without a name.
    known: Cache<u32, Option<Arc<str>>>,
    /// Users for whom no answer came in time, to callers of this owner.
    silent: Cache<(u32, Arc<str>), ()>,
    lookups: Lookups,
}

/// The name of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The name, or the number where there is none.
    pub(super) text: Arc<str>,
    /// Whether the node was not able to say in time whether there is one.
    pub(super) unknown: bool,
}

impl Users {
    const REMEMBERED: u64 = 4096;
    /// A user who is given another name has it after this time.
    const KNOWN: Duration = Duration::from_secs(60);
    /// After this time a user for whom no answer came is looked up again.
    const SILENT: Duration = Duration::from_secs(5);
    const THREADS: usize = 8;
    const SHARE: usize = 2;
    const PATIENCE: Duration = Duration::from_millis(500);

    pub(super) fn new() -> Self {
        Self {
            known: Cache::builder().max_capacity(Self::REMEMBERED).time_to_live(Self::KNOWN).build(),
            silent: Cache::builder().max_capacity(Self::REMEMBERED).time_to_live(Self::SILENT).build(),
            lookups: Lookups::new(Self::THREADS, Self::SHARE, Self::PATIENCE),
        }
    }

    /// Returns the name of a user, on whose connection a caller of this owner is.
    pub(super) async fn name(&self, uid: u32, owner: &Arc<str>) -> Name {
        self.name_by(uid, owner, name).await
    }

    async fn name_by(&self, uid: u32, owner: &Arc<str>, look: fn(u32) -> Option<Arc<str>>) -> Name {
        let number = |unknown| Name { text: uid.to_string().into(), unknown };
        let found = match self.known.get(&uid) {
            Some(found) => Some(found),
            None if self.silent.contains_key(&(uid, Arc::clone(owner))) => None,
            None => {
                let known = self.known.clone();
                // A name that comes too late for this connection is there for the next.
                let look = move || known.get_with(uid, || look(uid));
                let found = self.lookups.run(owner, look).await;
                if found.is_none() {
                    self.silent.insert((uid, Arc::clone(owner)), ());
                }
                found
            }
        };
        match found {
            Some(Some(text)) => Name { text, unknown: false },
            Some(None) => number(false),
            None => number(true),
        }
    }
}

fn name(uid: u32) -> Option<Arc<str>> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name.into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn a_user_database_that_does_not_answer_is_not_waited_for_at_each_connection() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let users = Users { lookups: Lookups::new(8, 2, Duration::from_millis(20)), ..Users::new() };
        let hangs = |_| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(300));
            None
        };
        for _ in 0..100 {
            let name = users.name_by(4242, &"a.service".into(), hangs).await;
            assert_eq!(name, Name { text: "4242".into(), unknown: true });
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_user_without_a_name_is_known_to_have_none() {
        let name = Users::new().name_by(4242, &"a.service".into(), |_| None).await;
        assert_eq!(name, Name { text: "4242".into(), unknown: false });
    }
}
