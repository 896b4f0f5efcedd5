//! How much is remembered of what callers' DNS responses teach, and what is forgotten first. An owner that teaches much evicts what it
//! taught itself.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Address, Learnt, Source};

/// Bounds on what is learnt from callers' DNS responses.
#[derive(Clone, Copy, Debug)]
pub(in crate::names) struct Bounds {
    /// Addresses of a name.
    pub(in crate::names) addresses_of_a_name: usize,
    /// Different addresses of all names. One owner may have a quarter of them.
    pub(in crate::names) addresses: usize,
    /// Names that one owner teaches.
    pub(in crate::names) names_of_an_owner: usize,
    /// Names of all owners.
    pub(in crate::names) names: usize,
}

/// What an owner uses of the bounds, with all of its sources.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    pub(super) names: usize,
    /// Each address is counted once for each source that has it.
    pub(super) addresses: usize,
}

impl Learnt {
    /// Names that are looked at for one that no live flow uses.
    const LOOKED_AT: usize = 64;

    /// Makes room after this source has taught a name: first the owner's own oldest names go, then those of the owner that has most.
    pub(super) fn evict(&mut self, newest: &Arc<Source>, changed: &mut Vec<IpAddr>) {
        let (names, addresses) = (self.bounds.names_of_an_owner, (self.bounds.addresses / 4).max(1));
        let used = |learnt: &Self| learnt.owners.get(&newest.owner).copied().unwrap_or_default();
        while used(self).names > names || (used(self).addresses > addresses && used(self).names > 1) {
            self.forget_of(&newest.owner, newest, changed);
        }
        while self.names > self.bounds.names {
            let Some(most) = self.with_most(|used| used.names) else { return };
            self.forget_of(&most, newest, changed);
        }
        // An address may count for many owners, each by itself.
        while self.at.len() > self.bounds.addresses || self.pairs > 2 * self.bounds.addresses {
            let Some(most) = self.with_most(|used| used.addresses) else { return };
            self.forget_of(&most, newest, changed);
        }
    }

    fn with_most(&self, count: impl Fn(&Use) -> usize) -> Option<Arc<str>> {
        self.owners.iter().max_by_key(|(_, used)| count(used)).map(|(owner, _)| Arc::clone(owner))
    }

    /// Forgets the oldest name of one of an owner's sources: of the one with most addresses. The newest name stays while there is another.
    fn forget_of(&mut self, owner: &Arc<str>, newest: &Arc<Source>, changed: &mut Vec<IpAddr>) {
        let sources = self.taught.iter().filter(|(source, _)| source.owner == *owner);
        let most = sources.max_by_key(|(source, taught)| {
            (*source != newest || taught.names.len() > 1, taught.addresses.len(), taught.names.len())
        });
        match most.map(|(source, _)| Arc::clone(source)) {
            Some(source) => self.forget_oldest(&source, changed),
            // It cannot be: an owner that uses something has a source.
            None => drop(self.owners.remove(owner)),
        }
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

    /// Notes that an owner uses more, or less.
    pub(super) fn uses(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut Use)) {
        let used = self.owners.entry(Arc::clone(owner)).or_default();
        change(used);
        if (used.names, used.addresses) == (0, 0) {
            self.owners.remove(owner);
        }
    }
}
