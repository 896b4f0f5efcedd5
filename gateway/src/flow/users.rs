//! The node's names of users, which may come over the network (NSS).

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use nix::unistd::{Uid, User};

use super::lookups::Lookups;

/// The names of users, cached.
#[derive(Debug)]
pub(super) struct Users {
    known: Cache<u32, Looked>,
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

    async fn name_by(&self, uid: u32, owner: &Arc<str>, look: fn(u32) -> Looked) -> Name {
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
            Some(Looked::Named(text)) => Name { text, unknown: false },
            Some(Looked::Nameless) => number(false),
            Some(Looked::Unknown) | None => number(true),
        }
    }
}

/// What a lookup has found.
#[derive(Clone, Debug)]
enum Looked {
    Named(Arc<str>),
    Nameless,
    /// The node's users cannot be seen from here.
    Unknown,
}

/// The users of the node, which a container without users of its own sees through the node's first process. Other sources of the node's
/// names (NSS) it does not see.
const NODES: &str = "/proc/1/root/etc/passwd";

fn name(uid: u32) -> Looked {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => Looked::Named(user.name.into()),
        Ok(None) if fs::exists("/etc/passwd").unwrap_or(false) => Looked::Nameless,
        _ => match fs::read_to_string(NODES) {
            Ok(users) => named_in(&users, uid).map_or(Looked::Unknown, Looked::Named),
            Err(_) => Looked::Unknown,
        },
    }
}

/// Returns the name of a user in the text of a passwd(5).
fn named_in(users: &str, uid: u32) -> Option<Arc<str>> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.into())
    })
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
            Looked::Nameless
        };
        for _ in 0..100 {
            let name = users.name_by(4242, &"a.service".into(), hangs).await;
            assert_eq!(name, Name { text: "4242".into(), unknown: true });
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_user_of_a_node_whose_users_cannot_be_seen_is_not_known_to_have_no_name() {
        let name = Users::new().name_by(4242, &"a.service".into(), |_| Looked::Unknown).await;
        assert_eq!(name, Name { text: "4242".into(), unknown: true });
        let users = "root:x:0:0:root:/root:/bin/sh\nbatch:x:1000:1000::/:/bin/sh\nbroken\n";
        assert_eq!((named_in(users, 1000).as_deref(), named_in(users, 7)), (Some("batch"), None));
    }

    #[tokio::test]
    async fn a_user_without_a_name_is_known_to_have_none() {
        let name = Users::new().name_by(4242, &"a.service".into(), |_| Looked::Nameless).await;
        assert_eq!(name, Name { text: "4242".into(), unknown: false });
    }
}
