use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A resource that owners of callers share: there is so much of it for all together, and so much for each.
#[derive(Clone, Debug, Default)]
pub struct Shares(Arc<Mutex<Taken>>);

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// For all together.
    pub all: u64,
    /// For one owner.
    pub each: u64,
}

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    owners: HashMap<Arc<str>, u64>,
}

/// What somebody has taken; given back when dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    owner: Arc<str>,
    amount: u64,
}

impl Shares {
    /// Takes this much for an owner, unless that is more than there is.
    pub fn take(&self, owner: &Arc<str>, amount: u64, bound: Bound) -> Option<Share> {
        self.taken().add(owner, amount, bound).then(|| Share { shares: self.clone(), owner: Arc::clone(owner), amount })
    }

    /// Returns how much is taken by all together.
    pub fn used(&self) -> u64 {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes this much more; if there is not so much, it stays as it was.
    pub fn grow(&mut self, amount: u64, bound: Bound) -> bool {
        let grown = self.shares.taken().add(&self.owner, amount, bound);
        self.amount += if grown { amount } else { 0 };
        grown
    }
}

impl Taken {
    fn add(&mut self, owner: &Arc<str>, amount: u64, bound: Bound) -> bool {
        let own = self.owners.get(owner).copied().unwrap_or(0);
        if self.all.saturating_add(amount) > bound.all || own.saturating_add(amount) > bound.each {
            return false;
        }
        self.all += amount;
        self.owners.insert(Arc::clone(owner), own + amount);
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= self.amount;
        if let Some(own) = taken.owners.get_mut(&self.owner) {
            *own -= self.amount;
            if *own == 0 {
                taken.owners.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Arc<str> {
        name.into()
    }

    const BOUND: Bound = Bound { all: 10, each: 4 };

    #[test]
    fn an_owner_has_its_share_and_all_have_what_there_is() {
        let shares = Shares::default();
        let mut first = shares.take(&owner("a"), 3, BOUND).unwrap();
        assert!(shares.take(&owner("a"), 2, BOUND).is_none(), "that is more than its share");
        assert!(!first.grow(2, BOUND) && first.grow(1, BOUND));
        let others: Vec<_> = ["b", "c"].map(|name| shares.take(&owner(name), 3, BOUND).unwrap()).into();
        assert!(shares.take(&owner("d"), 1, BOUND).is_none(), "there is no more");
        drop(first);
        assert!(shares.take(&owner("d"), 4, BOUND).is_some());
        drop(others);
    }

    #[test]
    fn whatever_is_taken_is_given_back() {
        let shares = Shares::default();
        let mut held = Vec::new();
        for number in 0..1000_u64 {
            let name = owner(&(number % 7).to_string());
            if let Some(mut share) = shares.take(&name, number % 3, BOUND) {
                share.grow(1, BOUND);
                held.push(share);
            }
            let used: u64 = held.iter().map(|share| share.amount).sum();
            assert_eq!(shares.used(), used);
            assert!(used <= BOUND.all);
            if number % 5 == 0 && !held.is_empty() {
                held.swap_remove(usize::try_from(number).unwrap() % held.len());
            }
        }
        held.clear();
        assert_eq!(shares.used(), 0);
        assert!(shares.taken().owners.is_empty());
    }
}
