use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::model::Listing;

/// Bounds on what is learnt from callers' DNS responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Addresses of a name.
    pub(super) addresses_of_a_name: usize,
    /// Different addresses of all names.
    pub(super) addresses: usize,
    /// Names that one owner teaches below one wildcard.
    pub(super) names_of_an_owner: usize,
    /// Names of all owners.
    pub(super) names: usize,
}

/// Whose connections an address counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scope {
    /// All callers: the node trusts the server that named it.
    Everybody,
    /// Its owner alone: it chose the server.
    Owner,
}

/// Who taught what. Each has names of its own, so that no owner evicts what another one taught.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) owner: Arc<str>,
    pub(super) scope: Scope,
    pub(super) listing: Arc<Listing>,
}

/// Addresses from callers' DNS responses, per name. The size is bounded: each owner evicts its own oldest names.
#[derive(Debug)]
pub(super) struct Learnt {
    bounds: Bounds,
    since: Instant,
    taught: HashMap<Arc<Source>, Taught>,
    at: HashMap<IpAddr, Vec<Arc<Source>>>,
    names: usize,
    /// Addresses that live flows use, as of the last sweep.
    in_use: HashSet<IpAddr>,
}

/// The names of one source, the newest first.
#[derive(Debug)]
struct Taught {
    names: LruCache<Box<str>, Box<[Address]>>,
    /// The number of names at each address.
    addresses: HashMap<IpAddr, u32>,
}

/// An address, and when it expires: seconds since [`Learnt::since`].
#[derive(Clone, Copy, Debug)]
struct Address {
    ip: IpAddr,
    until: u32,
}

/// A name as it was learnt.
#[derive(Clone, Debug)]
pub(super) struct LearntName<'a> {
    pub(super) name: &'a str,
    pub(super) source: &'a Source,
    addresses: &'a [Address],
    clock: u32,
}

impl LearntName<'_> {
    /// Returns its addresses, and for how long each is kept.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, Duration)> {
        let left = |address: &Address| Duration::from_secs(address.until.saturating_sub(self.clock).into());
        self.addresses.iter().map(move |address| (address.ip, left(address)))
    }
}

impl Learnt {
    /// Names that are looked at for one that no live flow uses.
    const LOOKED_AT: usize = 64;

    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        Self { bounds, since: now, taught: HashMap::new(), at: HashMap::new(), names: 0, in_use: HashSet::new() }
    }

    /// Takes accepted addresses of a name in; returns those at which something has changed.
    pub(super) fn learn(
        &mut self,
        source: &Source,
        name: &str,
        addresses: &[IpAddr],
        lifetime: Duration,
        now: Instant,
    ) -> Vec<IpAddr> {
        let (clock, until) = (self.seconds(now), self.seconds(now + lifetime));
        let mut changed = Vec::new();
        let source = self.source(source);
        let Some(taught) = self.taught.get_mut(&source) else { return changed };
        let known = taught.names.get(name).map_or(&[][..], |known| known);
        let mut merged: Vec<Address> = Vec::with_capacity(addresses.len() + known.len());
        let current = addresses.iter().map(|ip| Address { ip: *ip, until });
        for address in current.chain(known.iter().filter(|address| address.until > clock).copied()) {
            if merged.len() < self.bounds.addresses_of_a_name && !merged.iter().any(|other| other.ip == address.ip) {
                merged.push(address);
            }
        }
        let has = |list: &[Address], ip| list.iter().any(|address| address.ip == ip);
        let added: Vec<_> = merged.iter().map(|address| address.ip).filter(|ip| !has(known, *ip)).collect();
        let gone: Vec<_> = known.iter().map(|address| address.ip).filter(|ip| !has(&merged, *ip)).collect();
        if taught.names.push(name.into(), merged.into()).is_none_or(|(key, _)| *key != *name) {
            self.names += 1;
        }
        for ip in added {
            self.hold(&source, ip, &mut changed);
        }
        for ip in gone {
            self.release(&source, ip, &mut changed);
        }
        self.evict(&source, &mut changed);
        changed
    }

    /// Returns whose names are at an address.
    pub(super) fn sources_at(&self, address: IpAddr) -> &[Arc<Source>] {
        self.at.get(&address).map_or(&[], |sources| sources)
    }

    /// Returns every address, and whose names are there.
    pub(super) fn everywhere(&self) -> impl Iterator<Item = (IpAddr, &[Arc<Source>])> {
        self.at.iter().map(|(address, sources)| (*address, &sources[..]))
    }

    /// Returns all names, those of a source from the newest.
    pub(super) fn all(&self, now: Instant) -> impl Iterator<Item = LearntName<'_>> {
        let clock = self.seconds(now);
        self.taught.iter().flat_map(move |(source, taught)| {
            let names = taught.names.iter();
            names.map(move |(name, addresses)| LearntName { name, source, addresses, clock })
        })
    }

    /// Returns the number of names.
    pub(super) fn names(&self) -> usize {
        self.names
    }

    /// Forgets names that have expired and that no live flow uses; returns the addresses at which something has changed.
    pub(super) fn sweep(&mut self, in_use: HashSet<IpAddr>, now: Instant) -> Vec<IpAddr> {
        /// Names of a source that one sweep looks at: it holds a lock.
        const AT_ONCE: usize = 4096;
        self.in_use = in_use;
        let clock = self.seconds(now);
        let in_use = &self.in_use;
        let is_over = |addresses: &[Address]| addresses.iter().all(|a| a.until <= clock && !in_use.contains(&a.ip));
        let mut expired: Vec<(Arc<Source>, Box<str>)> = Vec::new();
        for (source, taught) in &self.taught {
            let oldest = taught.names.iter().rev().take(AT_ONCE).filter(|(_, addresses)| is_over(addresses));
            expired.extend(oldest.map(|(name, _)| (Arc::clone(source), name.clone())));
        }
        let mut changed = Vec::new();
        for (source, name) in expired {
            self.forget(&source, &name, &mut changed);
        }
        changed
    }

    /// Forgets what may not be known any more; returns the addresses at which something has changed.
    pub(super) fn retain(&mut self, may: impl Fn(&Source, IpAddr) -> bool) -> Vec<IpAddr> {
        let refused: Vec<_> = self
            .taught
            .iter()
            .filter(|(source, taught)| !taught.addresses.keys().all(|ip| may(source, *ip)))
            .flat_map(|(source, taught)| taught.names.iter().map(move |(name, addresses)| (source, name, addresses)))
            .filter(|(source, _, addresses)| !addresses.iter().all(|address| may(source, address.ip)))
            .map(|(source, name, _)| (Arc::clone(source), name.clone()))
            .collect();
        let mut changed = Vec::new();
        for (source, name) in refused {
            self.forget(&source, &name, &mut changed);
        }
        changed
    }

    /// Returns the one copy of a source that everything refers to.
    fn source(&mut self, source: &Source) -> Arc<Source> {
        if let Some((known, _)) = self.taught.get_key_value(source) {
            return Arc::clone(known);
        }
        let known = Arc::new(source.clone());
        let taught = Taught { names: LruCache::unbounded(), addresses: HashMap::new() };
        self.taught.insert(Arc::clone(&known), taught);
        known
    }

    /// Makes room: first the source's own oldest names go, then those of the source that has most.
    fn evict(&mut self, source: &Arc<Source>, changed: &mut Vec<IpAddr>) {
        let (names, addresses) = (self.bounds.names_of_an_owner, (self.bounds.addresses / 4).max(1));
        while self.taught.get(source).is_some_and(|taught| {
            taught.names.len() > names || (taught.addresses.len() > addresses && taught.names.len() > 1)
        }) {
            self.forget_oldest(source, changed);
        }
        while self.names > self.bounds.names {
            let Some(most) = self.with_most(|taught| taught.names.len()) else { return };
            self.forget_oldest(&most, changed);
        }
        while self.at.len() > self.bounds.addresses {
            let Some(most) = self.with_most(|taught| taught.addresses.len()) else { return };
            self.forget_oldest(&most, changed);
        }
    }

    fn with_most(&self, count: impl Fn(&Taught) -> usize) -> Option<Arc<Source>> {
        self.taught.iter().max_by_key(|(_, taught)| count(taught)).map(|(source, _)| Arc::clone(source))
    }

    /// Forgets the oldest name that no live flow uses, or the oldest one if flows use all that were looked at.
    fn forget_oldest(&mut self, source: &Arc<Source>, changed: &mut Vec<IpAddr>) {
        let Some(taught) = self.taught.get(source) else { return };
        let is_free = |addresses: &[Address]| !addresses.iter().any(|address| self.in_use.contains(&address.ip));
        let mut oldest = taught.names.iter().rev().take(Self::LOOKED_AT);
        let free = oldest.find(|(_, addresses)| is_free(addresses)).map(|(name, _)| name.clone());
        let name = free.or_else(|| taught.names.peek_lru().map(|(name, _)| name.clone()));
        if let Some(name) = name {
            self.forget(source, &name, changed);
        }
    }

    fn forget(&mut self, source: &Arc<Source>, name: &str, changed: &mut Vec<IpAddr>) {
        let Some(taught) = self.taught.get_mut(source) else { return };
        let Some(addresses) = taught.names.pop(name) else { return };
        self.names -= 1;
        for address in addresses {
            self.release(source, address.ip, changed);
        }
        if self.taught.get(source).is_some_and(|taught| taught.names.is_empty()) {
            self.taught.remove(source);
        }
    }

    fn hold(&mut self, source: &Arc<Source>, ip: IpAddr, changed: &mut Vec<IpAddr>) {
        let Some(taught) = self.taught.get_mut(source) else { return };
        let names = taught.addresses.entry(ip).or_default();
        *names += 1;
        if *names == 1 {
            self.at.entry(ip).or_default().push(Arc::clone(source));
            changed.push(ip);
        }
    }

    fn release(&mut self, source: &Arc<Source>, ip: IpAddr, changed: &mut Vec<IpAddr>) {
        let Some(taught) = self.taught.get_mut(source) else { return };
        let Some(names) = taught.addresses.get_mut(&ip) else { return };
        *names -= 1;
        if *names > 0 {
            return;
        }
        taught.addresses.remove(&ip);
        if let Some(sources) = self.at.get_mut(&ip) {
            sources.retain(|other| !Arc::ptr_eq(other, source));
            if sources.is_empty() {
                self.at.remove(&ip);
            }
        }
        changed.push(ip);
    }

    fn seconds(&self, time: Instant) -> u32 {
        u32::try_from(time.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Wildcard;

    const MINUTE: Duration = Duration::from_secs(60);

    fn learnt(now: Instant) -> Learnt {
        let bounds = Bounds { addresses_of_a_name: 3, addresses: 40, names_of_an_owner: 5, names: 12 };
        Learnt::new(bounds, now)
    }

    fn source(owner: u8) -> Source {
        let wildcard = Wildcard::parse("*.partner.example").unwrap().unwrap();
        Source {
            owner: owner.to_string().into(),
            scope: Scope::Everybody,
            listing: Arc::new(Listing::Wildcard(wildcard)),
        }
    }

    fn ip(number: u8) -> IpAddr {
        [203, 0, 113, number].into()
    }

    fn names(learnt: &Learnt) -> Vec<String> {
        let names = learnt.taught.values().flat_map(|taught| taught.names.iter());
        let mut names: Vec<_> = names.map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_address_is_there_while_one_name_has_it() {
        let now = Instant::now();
        let mut learnt = learnt(now);
        assert_eq!(learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now), [ip(1)]);
        assert!(learnt.learn(&source(1), "b", &[ip(1)], MINUTE, now).is_empty(), "it is there");
        assert!(learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now).is_empty(), "nothing is new");
        assert_eq!(learnt.sources_at(ip(1)).len(), 1);
        assert_eq!(learnt.learn(&source(2), "a", &[ip(1)], MINUTE, now), [ip(1)]);
        assert_eq!(learnt.sources_at(ip(1)).len(), 2);
        learnt.learn(&source(1), "b", &[ip(2)], MINUTE, now + MINUTE);
        assert_eq!(learnt.sweep(HashSet::new(), now + MINUTE), [ip(1), ip(1)], "of both owners");
        assert!(learnt.sources_at(ip(1)).is_empty());
        assert_eq!((names(&learnt), learnt.names), (vec!["b".to_owned()], 1));
    }

    #[test]
    fn a_name_keeps_its_newest_addresses() {
        let now = Instant::now();
        let mut learnt = learnt(now);
        learnt.learn(&source(1), "a", &[ip(1), ip(2)], MINUTE, now);
        let mut changed = learnt.learn(&source(1), "a", &[ip(3), ip(4)], MINUTE, now);
        changed.sort();
        assert_eq!(changed, [ip(2), ip(3), ip(4)]);
        assert!(learnt.sources_at(ip(2)).is_empty());
    }

    #[test]
    fn expired_addresses_of_a_live_flow_stay() {
        let now = Instant::now();
        let mut learnt = learnt(now);
        learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now);
        assert!(learnt.sweep(HashSet::from([ip(1)]), now + MINUTE).is_empty());
        assert_eq!(learnt.sources_at(ip(1)).len(), 1);
        assert_eq!(learnt.sweep(HashSet::new(), now + MINUTE), [ip(1)]);
    }

    #[test]
    fn the_oldest_name_without_a_live_flow_makes_room() {
        let now = Instant::now();
        let mut learnt = learnt(now);
        for number in 0..5 {
            learnt.learn(&source(1), &format!("name{number}"), &[ip(number)], MINUTE, now);
        }
        learnt.sweep(HashSet::from([ip(0)]), now);
        learnt.learn(&source(1), "new", &[ip(9)], MINUTE, now);
        assert_eq!(names(&learnt), ["name0", "name2", "name3", "name4", "new"]);
    }

    #[test]
    fn no_owner_evicts_names_of_another() {
        let now = Instant::now();
        let mut learnt = learnt(now);
        learnt.learn(&source(1), "own", &[ip(1)], MINUTE, now);
        for number in 0..200 {
            learnt.learn(&source(number % 3 + 2), &format!("flood{number}"), &[ip(number)], MINUTE, now);
        }
        assert!(names(&learnt).contains(&"own".to_owned()));
        assert_eq!(learnt.names, 12);
        assert_eq!(learnt.at.values().map(Vec::len).sum::<usize>(), 12, "nothing is left behind");
    }

    #[test]
    fn an_owner_with_many_addresses_leaves_room_for_others() {
        let now = Instant::now();
        let mut learnt =
            Learnt::new(Bounds { addresses_of_a_name: 4, addresses: 8, names_of_an_owner: 100, names: 1000 }, now);
        learnt.learn(&source(1), "own", &[ip(250)], MINUTE, now);
        for number in 0..100 {
            learnt.learn(&source(2), &format!("flood{number}"), &[ip(number), ip(number + 100)], MINUTE, now);
        }
        assert_eq!(learnt.at.len(), 3);
        assert_eq!(learnt.sources_at(ip(250)).len(), 1);
    }

    #[test]
    fn what_may_not_be_known_any_more_is_forgotten() {
        let now = Instant::now();
        let mut learnt = learnt(now);
        learnt.learn(&source(1), "a", &[ip(1)], MINUTE, now);
        learnt.learn(&source(1), "b", &[ip(2)], MINUTE, now);
        assert_eq!(learnt.retain(|_, address| address != ip(2)), [ip(2)]);
        assert_eq!(names(&learnt), ["a"]);
    }
}
