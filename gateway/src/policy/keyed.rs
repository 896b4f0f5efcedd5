//! What is kept by limit and key. Callers may choose keys: they choose neither how long they are nor how many.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

/// Bytes of a key that is kept as it is; a digest stands for the rest of longer ones.
const LONGEST: usize = 256;

/// Of those the beginning is kept, for people.
const BEGINNING: usize = 64;

/// Keys that are kept before those that are over are looked for.
const KEYS: usize = 10_000;

/// Keys that are kept at most; new ones beyond are counted together, so that no limit lets more through.
const MOST: usize = 1 << 18;

/// From one search for those that are over to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// What new keys are counted under where there are too many.
const OTHERS: &str = "(others)";

/// A limit and a key.
pub(super) type Name = (Arc<str>, String);

/// A key as it is kept.
pub(super) fn short(key: String) -> String {
    if key.len() <= LONGEST {
        return key;
    }
    let mut short = format!("{}... ", &key[..key.floor_char_boundary(BEGINNING)]);
    for byte in &digest(&SHA256, key.as_bytes()).as_ref()[..16] {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// Values by limit and key.
#[derive(Debug)]
pub(super) struct Keyed<V> {
    all: HashMap<Name, V>,
    /// Keys at which those that are over are taken out, and when that was done last.
    sweep_at: usize,
    swept: Duration,
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self { all: HashMap::new(), sweep_at: 0, swept: Duration::ZERO }
    }
}

impl<V> Keyed<V> {
    /// The value of a key, new if there is none; at this time, on any clock that is always the same.
    pub(super) fn entry(
        &mut self,
        name: Name,
        now: Duration,
        mut is_over: impl FnMut(&mut V) -> bool,
        new: impl FnOnce() -> V,
    ) -> &mut V {
        let is_due = now >= self.swept.saturating_add(PAUSE) || now < self.swept;
        if self.all.len() >= self.sweep_at.clamp(KEYS, MOST) && is_due {
            self.all.retain(|_, value| !is_over(value));
            (self.sweep_at, self.swept) = (self.all.len().saturating_mul(2), now);
        }
        let name = self.kept_as(name);
        self.all.entry(name).or_insert_with(new)
    }

    /// The value of a key, if there is one.
    pub(super) fn find(&mut self, name: Name) -> Option<&mut V> {
        let name = self.kept_as(name);
        self.all.get_mut(&name)
    }

    fn kept_as(&self, name: Name) -> Name {
        let is_new = self.all.len() >= MOST && !self.all.contains_key(&name);
        if is_new { (name.0, OTHERS.to_owned()) } else { name }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        self.all.iter()
    }
}

impl<V> Extend<(Name, V)> for Keyed<V> {
    fn extend<I: IntoIterator<Item = (Name, V)>>(&mut self, values: I) {
        self.all.extend(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_over_are_forgotten() {
        let mut keyed = Keyed::default();
        for number in 0..50_000_u64 {
            let now = Duration::from_millis(number);
            let until = *keyed.entry(
                ("a".into(), number.to_string()),
                now,
                |until| *until <= now,
                || now + Duration::from_millis(10),
            );
            assert!(until > now);
        }
        assert!(keyed.all.len() <= 2 * KEYS);
    }

    #[test]
    fn too_many_are_counted_together() {
        let (mut keyed, now) = (Keyed::<u64>::default(), Duration::from_secs(5));
        let identity: Arc<str> = "a".into();
        let name = |number: usize| (Arc::clone(&identity), number.to_string());
        for number in 0..MOST + 100 {
            *keyed.entry(name(number), now, |_| false, || 0) += 1;
        }
        assert_eq!(keyed.all.len(), MOST + 1);
        assert_eq!(keyed.find(name(0)), Some(&mut 1));
        assert_eq!(keyed.find(name(MOST + 500)), Some(&mut 100));
    }

    #[test]
    fn long_keys_are_told_apart_and_short() {
        let long = |end: char| short(format!("{}{end}", "\u{e9}".repeat(200)));
        assert_ne!(long('a'), long('b'));
        assert!(long('a').len() < 120, "{}", long('a'));
        assert_eq!(short("a".repeat(256)), "a".repeat(256));
    }
}
