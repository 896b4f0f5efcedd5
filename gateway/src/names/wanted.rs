use std::collections::HashMap;
use std::sync::Arc;

use lru::LruCache;

use crate::model::Host;

/// Most names below wildcards that Egret resolves for one owner's connections, and for all.
const EACH: usize = 1024;
const ALL: usize = 8192;

/// The names below wildcards that owners' connections are for, those of each owner from the newest.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    of: HashMap<Arc<str>, LruCache<Host, ()>>,
}

impl Wanted {
    /// Notes that an owner wants a name; returns the names that nobody wants any more, because there are too many.
    pub(super) fn want(&mut self, owner: &Arc<str>, host: &Host) -> Vec<Host> {
        let names = self.of.entry(Arc::clone(owner)).or_insert_with(LruCache::unbounded);
        names.put(host.clone(), ());
        let mut forgotten = Vec::new();
        if names.len() > EACH {
            forgotten.extend(names.pop_lru().map(|(host, ())| host));
        }
        if self.of.values().map(LruCache::len).sum::<usize>() > ALL
            && let Some(most) = self.of.values_mut().max_by_key(|names| names.len())
        {
            forgotten.extend(most.pop_lru().map(|(host, ())| host));
        }
        forgotten.retain(|host| !self.of.values().any(|names| names.contains(host)));
        self.of.retain(|_, names| !names.is_empty());
        forgotten
    }

    /// Notes that nobody wants a name.
    pub(super) fn forget(&mut self, host: &Host) {
        for names in self.of.values_mut() {
            names.pop(host);
        }
        self.of.retain(|_, names| !names.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_with_many_names_loses_its_own() {
        let mut wanted = Wanted::default();
        let host = |number: usize| Host::parse(&format!("host{number}.partner.example")).unwrap();
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        assert!(wanted.want(&other, &host(0)).is_empty());
        for number in 0..EACH {
            assert!(wanted.want(&one, &host(number)).is_empty());
        }
        assert!(wanted.want(&one, &host(EACH)).is_empty(), "another owner wants the oldest name");
        assert_eq!(wanted.want(&one, &host(EACH + 1)), [host(1)]);
        for owner in 0..10 {
            for number in 0..EACH {
                wanted.want(&format!("owner{owner}").into(), &host(number + 2 * EACH));
            }
        }
        assert!(wanted.of.values().map(LruCache::len).sum::<usize>() <= ALL);
        assert!(wanted.of[&other].contains(&host(0)));
    }
}
