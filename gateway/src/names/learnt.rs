mod eviction;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use self::eviction::Use;
use crate::model::{Listing, Scope};

pub(super) use self::eviction::Bounds;

/// Who taught what. Each has names of its own, so that no owner evicts what another one taught.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) owner: Arc<str>,
    /// Whose connections its addresses count for: everybody's, where the node trusts the server that named them. An owner that chose
    /// another server harms only itself.
    pub(super) scope: Scope,
    pub(super) listing: Arc<Listing>,
}

/// Addresses from callers' DNS responses, per name. The size is bounded: each owner evicts its own oldest names.
#[derive(Debug)]
pub(super) struct Learnt {
    bounds: Bounds,
    since: Instant,
    taught: HashMap<Arc<Source>, Taught>,
    owners: HashMap<Arc<str>, Use>,
    at: HashMap<IpAddr, Vec<Arc<Source>>>,
    names: usize,
    /// The number of addresses, each as often as there are sources that have it.
    pairs: usize,
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
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            since: now,
            taught: HashMap::new(),
            owners: HashMap::new(),
            at: HashMap::new(),
            names: 0,
            pairs: 0,
            in_use: HashSet::new(),
        }
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
            self.uses(&source.owner, |used| used.names += 1);
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

    /// Returns the names at an address that count for these callers alone.
    pub(super) fn names_at(&self, address: IpAddr, scope: Scope) -> Vec<&str> {
        let sources = self.sources_at(address).iter().filter(|source| source.scope == scope);
        let names = sources.filter_map(|source| self.taught.get(source)).flat_map(|taught| taught.names.iter());
        let there = names.filter(|(_, addresses)| addresses.iter().any(|there| there.ip == address));
        there.map(|(name, _)| &**name).collect()
    }

    /// Returns the owners that addresses count for alone, by their cgroups.
    pub(super) fn scopes(&self) -> HashMap<u64, Arc<str>> {
        let cgroup = |source: &Arc<Source>| match source.scope {
            Scope::Everybody => None,
            Scope::Owner(cgroup) => Some((cgroup, Arc::clone(&source.owner))),
        };
        self.taught.keys().filter_map(cgroup).collect()
    }

    /// Forgets what counts for these owners' cgroups alone; returns the addresses at which something has changed.
    pub(super) fn forget_scopes(&mut self, gone: &HashSet<u64>) -> Vec<IpAddr> {
        let is_gone = |source: &Arc<Source>| matches!(source.scope, Scope::Owner(cgroup) if gone.contains(&cgroup));
        let sources: Vec<_> = self.taught.keys().filter(|source| is_gone(source)).map(Arc::clone).collect();
        let mut changed = Vec::new();
        for source in sources {
            while let Some(name) = self.taught.get(&source).and_then(|taught| taught.names.peek_lru()) {
                let name = name.0.clone();
                self.forget(&source, &name, &mut changed);
            }
        }
        changed
    }

    /// Returns the addresses of a name, by who taught them.
    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = (&Source, impl Iterator<Item = IpAddr>)> {
        self.taught.iter().filter_map(move |(source, taught)| {
            let addresses = taught.names.peek(name)?;
            Some((&**source, addresses.iter().map(|address| address.ip)))
        })
    }

    /// Returns the number of names of a listing.
    pub(super) fn names_of(&self, listing: &Listing) -> usize {
        let taught = self.taught.iter().filter(|(source, _)| *source.listing == *listing);
        taught.map(|(_, taught)| taught.names.len()).sum()
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

    fn forget(&mut self, source: &Arc<Source>, name: &str, changed: &mut Vec<IpAddr>) {
        let Some(taught) = self.taught.get_mut(source) else { return };
        let Some(addresses) = taught.names.pop(name) else { return };
        self.names -= 1;
        self.uses(&source.owner, |used| used.names -= 1);
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
            self.pairs += 1;
            self.uses(&source.owner, |used| used.addresses += 1);
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
        self.pairs -= 1;
        self.uses(&source.owner, |used| used.addresses -= 1);
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
mod tests;
