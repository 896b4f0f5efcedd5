//! What limits remember by key. Callers may choose keys: they choose neither how long a key is nor how many there are.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::model::LimitId;

/// The longest key, in bytes, that is kept as it is. A digest replaces the rest of a longer one.
const LONGEST: usize = 256;

/// Bytes at the beginning of a longer key that are kept for people.
const BEGINNING: usize = 64;

/// The most keys of one limit.
const MOST: usize = 1 << 18;

/// The most keys of one limit that the calls of one owner may add: an eighth.
const SHARE: usize = MOST / 8;

/// The most owners whose further keys are counted apart from those of others.
const OWNERS: usize = 1 << 14;

/// The least time between two searches for keys that can be forgotten.
const PAUSE: Duration = Duration::from_secs(1);

/// The number of keys from which on those that are over are looked for, whoever added them.
const TIDY: usize = 10_000;

/// How long a key that is never over must be unused before it may be forgotten to make room.
pub(in crate::policy) const IDLE: Duration = Duration::from_secs(86_400);

/// The key under which an owner's keys beyond its share are shown and saved.
pub(in crate::policy) const OTHERS: &str = "(others)";

/// What is counted: the limit, the key, and the owner of the caller, who pays for the room that the key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Name {
    pub(in crate::policy) limit: LimitId,
    pub(in crate::policy) key: String,
    pub(in crate::policy) owner: Arc<str>,
}

/// A value that is remembered under a key.
pub(in crate::policy) trait Lapse {
    /// Returns whether forgetting it changes nothing.
    fn is_over(&mut self, now: Duration) -> bool;

    /// Returns whether time never makes it over: it may be forgotten after [`IDLE`], if there is no room.
    fn is_open_ended(&self) -> bool {
        false
    }
}

/// Returns a key as it is kept.
pub(in crate::policy) fn short(key: String) -> String {
    if key.len() <= LONGEST {
        return key;
    }
    let mut short = format!("{}... ", &key[..key.floor_char_boundary(BEGINNING)]);
    for byte in &digest(&SHA256, key.as_bytes()).as_ref()[..16] {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// Values by limit and key. Each limit has room of its own, and each owner a share of it. Keys of an owner beyond its share
/// are counted together, so that no limit lets more through, and apart from the keys of all others.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Keyed<V> {
    limits: HashMap<LimitId, Table<V>>,
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self { limits: HashMap::new() }
    }
}

/// The keys of one limit.
#[derive(Clone, Debug)]
struct Table<V> {
    keys: HashMap<String, Entry<V>>,
    /// The number of keys that each owner has added.
    owners: HashMap<Arc<str>, usize>,
    /// What an owner's keys beyond its share are counted under.
    others: HashMap<Arc<str>, V>,
    /// When keys that are over were looked for, and from how many keys on that is done again.
    swept: Option<Duration>,
    sweep_at: usize,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    owner: Arc<str>,
    used: Duration,
}

/// A value and the key that it is kept under.
#[derive(Debug)]
pub(in crate::policy) struct Kept<'a, V> {
    pub(in crate::policy) limit: &'a LimitId,
    pub(in crate::policy) key: &'a str,
    pub(in crate::policy) owner: &'a Arc<str>,
    pub(in crate::policy) value: &'a V,
}

impl<V: Lapse> Keyed<V> {
    /// Returns the value of a key, a new one if there is none. `now` is the time on any clock that is always the same.
    pub(in crate::policy) fn entry(&mut self, name: &Name, now: Duration, new: impl FnOnce() -> V) -> &mut V {
        let table = self.limits.entry(name.limit.clone()).or_default();
        if !table.keys.contains_key(&name.key) {
            if !table.has_room(&name.owner) || table.keys.len() >= table.sweep_at.max(TIDY) {
                table.sweep(&name.owner, now);
            }
            if !table.has_room(&name.owner) {
                return table.beyond(&name.owner, new);
            }
            *table.owners.entry(Arc::clone(&name.owner)).or_default() += 1;
        }
        let entry = table.keys.entry(name.key.clone()).or_insert_with(|| Entry {
            value: new(),
            owner: Arc::clone(&name.owner),
            used: now,
        });
        entry.used = now;
        &mut entry.value
    }

    /// Returns the value of a key, if there is one, and the key that it is kept under.
    pub(in crate::policy) fn find<'a>(&'a mut self, name: &'a Name) -> Option<(&'a str, &'a mut V)> {
        let table = self.limits.get_mut(&name.limit)?;
        if table.keys.contains_key(&name.key) {
            return table.keys.get_mut(&name.key).map(|entry| (&*name.key, &mut entry.value));
        }
        let owner = table.common_owner(&name.owner);
        if table.has_room(&name.owner) { None } else { table.others.get_mut(&owner).map(|value| (OTHERS, value)) }
    }

    /// Sets the value of a key that another process has kept, if there is room for it.
    pub(in crate::policy) fn restore(&mut self, name: Name, value: V, now: Duration) {
        let table = self.limits.entry(name.limit).or_default();
        if name.key == OTHERS {
            let owner = table.common_owner(&name.owner);
            table.others.insert(owner, value);
            return;
        }
        if let Some(entry) = table.keys.get_mut(&name.key) {
            entry.value = value;
        } else if table.has_room(&name.owner) {
            *table.owners.entry(Arc::clone(&name.owner)).or_default() += 1;
            table.keys.insert(name.key, Entry { value, owner: name.owner, used: now });
        }
    }

    /// Returns all values.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = Kept<'_, V>> {
        self.limits.iter().flat_map(|(limit, table)| {
            let own = table.keys.iter().map(move |(key, Entry { value, owner, .. })| Kept { limit, key, owner, value });
            let others = table.others.iter().map(move |(owner, value)| Kept { limit, key: OTHERS, owner, value });
            own.chain(others)
        })
    }

    /// Calls a function with each value.
    pub(in crate::policy) fn each(&mut self, mut change: impl FnMut(&mut V)) {
        for table in self.limits.values_mut() {
            table.keys.values_mut().for_each(|entry| change(&mut entry.value));
            table.others.values_mut().for_each(&mut change);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.limits.values().map(|table| table.keys.len() + table.others.len()).sum()
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { keys: HashMap::new(), owners: HashMap::new(), others: HashMap::new(), swept: None, sweep_at: 0 }
    }
}

impl<V: Lapse> Table<V> {
    fn has_room(&self, owner: &Arc<str>) -> bool {
        self.keys.len() < MOST && self.owners.get(owner).is_none_or(|count| *count < SHARE)
    }

    /// The value that an owner's keys beyond its share are counted under.
    fn beyond(&mut self, owner: &Arc<str>, new: impl FnOnce() -> V) -> &mut V {
        let owner = self.common_owner(owner);
        self.others.entry(owner).or_insert_with(new)
    }

    /// Owners themselves are not chosen by callers; should there be too many, the last ones share.
    fn common_owner(&self, owner: &Arc<str>) -> Arc<str> {
        let known = self.others.len() < OWNERS || self.others.contains_key(owner);
        if known { Arc::clone(owner) } else { OTHERS.into() }
    }

    /// Forgets what is over; and where that makes no room, the keys without an end that nobody has used for long: those of
    /// this owner if it has used up its share, else of all.
    fn sweep(&mut self, owner: &Arc<str>, now: Duration) {
        if self.swept.is_some_and(|swept| now >= swept && now < swept.saturating_add(PAUSE)) {
            return;
        }
        self.swept = Some(now);
        self.keys.retain(|_, entry| !entry.value.is_over(now));
        self.others.retain(|_, value| !value.is_over(now));
        self.count_owners();
        if !self.has_room(owner) {
            let of = (self.keys.len() < MOST).then_some(owner);
            self.forget_idle(of, now);
            self.count_owners();
        }
        self.sweep_at = self.keys.len().saturating_mul(2).min(MOST);
    }

    /// Forgets an eighth of a share of the keys that may be forgotten, those first that were used longest ago.
    fn forget_idle(&mut self, of: Option<&Arc<str>>, now: Duration) {
        let is_idle = |entry: &Entry<V>| {
            of.is_none_or(|owner| entry.owner == *owner)
                && entry.value.is_open_ended()
                && now.saturating_sub(entry.used) >= IDLE
        };
        let mut times: Vec<_> = self.keys.values().filter(|entry| is_idle(entry)).map(|entry| entry.used).collect();
        times.sort_unstable();
        let Some(newest) = times.get((SHARE / 8).min(times.len().saturating_sub(1))).copied() else { return };
        self.keys.retain(|_, entry| !(is_idle(entry) && entry.used <= newest));
    }

    fn count_owners(&mut self) {
        self.owners.clear();
        for entry in self.keys.values() {
            *self.owners.entry(Arc::clone(&entry.owner)).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A count that is over at a time, or never.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Count(u64, Option<Duration>);

    impl Lapse for Count {
        fn is_over(&mut self, now: Duration) -> bool {
            self.1.is_some_and(|until| until <= now)
        }

        fn is_open_ended(&self) -> bool {
            self.1.is_none()
        }
    }

    fn name(limit: &str, owner: &str, key: impl ToString) -> Name {
        Name { limit: LimitId::saved(limit), owner: owner.into(), key: key.to_string() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const NEVER: Count = Count(0, None);
    const LATER: Count = Count(0, Some(Duration::from_secs(1_000_000)));

    /// Counts one call; returns how many the key, or what stands for it, has then.
    fn count(keyed: &mut Keyed<Count>, name: &Name, now: Duration, new: Count) -> u64 {
        let value = keyed.entry(name, now, || new);
        value.0 += 1;
        value.0
    }

    #[test]
    fn keys_that_are_over_are_forgotten() {
        let mut keyed = Keyed::default();
        for number in 0..50_000 {
            let now = Duration::from_millis(number);
            let until = now + Duration::from_millis(10);
            assert_eq!(count(&mut keyed, &name("limit", "owner", number), now, Count(0, Some(until))), 1);
        }
        assert!(keyed.len() <= 2 * TIDY, "{}", keyed.len());
    }

    #[test]
    fn an_owner_beyond_its_share_counts_its_own_keys_together_and_nobody_elses() {
        let (mut keyed, now) = (Keyed::default(), at(5));
        for number in 0..SHARE {
            assert_eq!(count(&mut keyed, &name("limit", "hostile", number), now, LATER), 1);
        }
        for number in 1..100 {
            assert_eq!(count(&mut keyed, &name("limit", "hostile", SHARE + number as usize), now, LATER), number);
        }
        assert_eq!(count(&mut keyed, &name("limit", "hostile", 7), now, LATER), 2, "a key that is there goes on");
        for limit in ["limit", "another"] {
            for number in 0..100 {
                assert_eq!(count(&mut keyed, &name(limit, "victim", format!("v{number}")), now, LATER), 1);
            }
        }
        assert_eq!(
            count(&mut keyed, &name("another", "hostile", "new"), now, LATER),
            1,
            "another limit has its own room"
        );
    }

    #[test]
    fn a_limit_that_is_full_lets_each_owner_count_apart() {
        let (mut keyed, now) = (Keyed::default(), at(5));
        for owner in 0..MOST / SHARE {
            for number in 0..SHARE {
                count(&mut keyed, &name("limit", &owner.to_string(), format!("{owner} {number}")), now, LATER);
            }
        }
        for number in 1..100 {
            count(&mut keyed, &name("limit", "0", format!("more {number}")), now, LATER);
        }
        assert_eq!(count(&mut keyed, &name("limit", "victim", "new"), now, LATER), 1);
        assert!(keyed.len() <= MOST + 2);
    }

    #[test]
    fn idle_keys_without_an_end_make_room_and_busy_ones_do_not() {
        let mut keyed = Keyed::default();
        for number in 0..SHARE {
            count(&mut keyed, &name("quota", "owner", number), at(number as u64), NEVER);
        }
        count(&mut keyed, &name("quota", "victim", "old"), at(0), NEVER);
        let soon = at(SHARE as u64);
        assert_eq!(count(&mut keyed, &name("quota", "owner", "a"), soon, NEVER), 1);
        assert_eq!(count(&mut keyed, &name("quota", "owner", "b"), soon, NEVER), 2, "none is idle yet");
        let later = at(SHARE as u64 / 2) + IDLE;
        assert_eq!(count(&mut keyed, &name("quota", "owner", "c"), later, NEVER), 1);
        assert_eq!(count(&mut keyed, &name("quota", "owner", "d"), later, NEVER), 1);
        assert_eq!(count(&mut keyed, &name("quota", "owner", SHARE - 1), later, NEVER), 2, "the newest is there");
        assert_eq!(count(&mut keyed, &name("quota", "owner", 0), later, NEVER), 1, "the oldest is gone");
        assert_eq!(count(&mut keyed, &name("quota", "victim", "old"), later, NEVER), 2, "nobody else's goes");
    }

    #[test]
    fn what_was_counted_is_found_where_it_was_counted() {
        let (mut keyed, now) = (Keyed::default(), at(5));
        assert!(keyed.find(&name("limit", "owner", "a")).is_none());
        for number in 0..=SHARE {
            count(&mut keyed, &name("limit", "owner", number), now, LATER);
        }
        let (within, beyond) = (name("limit", "owner", 0), name("limit", "owner", SHARE));
        assert_eq!(keyed.find(&within).unwrap().0, "0");
        assert_eq!(keyed.find(&beyond).unwrap().0, OTHERS);
        assert!(keyed.find(&name("limit", "victim", "new")).is_none());
    }

    #[test]
    fn long_keys_are_told_apart_and_short() {
        let long = |end: char| short(format!("{}{end}", "\u{e9}".repeat(200)));
        assert_ne!(long('a'), long('b'));
        assert!(long('a').len() < 120, "{}", long('a'));
        assert_eq!(short("a".repeat(256)), "a".repeat(256));
    }
}
