//! The responses and values that are stored, and for how long they are of use.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cel::Value;
use http::{HeaderMap, HeaderName, StatusCode};
use moka::sync::Cache;

use super::compiled::CacheStore;
use super::in_flight::InFlight;
use super::validation;
use crate::policy::engine::expression;
use crate::policy::engine::uses::CacheUse;

/// The most bytes of stored responses; those that were used longest ago are dropped first.
const ANSWERS: u64 = 64 << 20;

/// The most bytes of stored values.
const VALUES: u64 = 16 << 20;

/// The most variants of a response.
const VARIANTS: usize = 16;

/// The bytes of keys from which on places without responses are dropped.
const PLACES: usize = 1 << 20;

/// The stored responses and values.
#[derive(Debug)]
pub(in crate::policy) struct Caches {
    answers: Cache<String, Arc<Variants>>,
    pub(in crate::policy) values: Cache<String, StoredValue>,
    places: Mutex<Places>,
    pub(in crate::policy) in_flight: InFlight,
}

/// The keys of the responses of each path, which are removed together when it changes.
#[derive(Debug, Default)]
struct Places {
    keys: HashMap<String, HashSet<String>>,
    /// The bytes of all keys.
    bytes: usize,
    /// The bytes of keys at which places without responses are dropped next: seldom enough that the cost of a key does not grow.
    sweep_at: usize,
}

impl Places {
    fn add(&mut self, place: String, key: &str, is_kept: impl Fn(&str) -> bool) {
        if self.bytes >= self.sweep_at.max(PLACES) {
            self.keys.retain(|_, keys| {
                keys.retain(|key| is_kept(key));
                !keys.is_empty()
            });
            self.bytes = self.keys.values().flatten().map(|key| weight(key)).sum();
            self.sweep_at = self.bytes * 2;
        }
        if self.keys.entry(place).or_default().insert(key.to_owned()) {
            self.bytes += weight(key);
        }
    }

    fn take(&mut self, place: &str) -> HashSet<String> {
        let keys = self.keys.remove(place).unwrap_or_default();
        self.bytes -= keys.iter().map(|key| weight(key)).sum::<usize>();
        keys
    }
}

/// A key begins with its place.
fn weight(key: &str) -> usize {
    2 * key.len() + 64
}

/// A value that a policy has stored.
#[derive(Clone, Debug)]
pub(in crate::policy) struct StoredValue {
    /// The API that it belongs to, if it is not shared.
    pub(in crate::policy) api: Option<Arc<str>>,
    /// The key that its policy has given it.
    pub(in crate::policy) key: String,
    pub(in crate::policy) value: Value,
    /// Whether it came of a secret.
    pub(in crate::policy) secret: bool,
    /// When it expires, on the clock of [`Context::at`](crate::policy::Context::at).
    pub(in crate::policy) until: Duration,
}

/// The responses to a request that differ by its header fields.
#[derive(Debug)]
pub(in crate::policy) struct Variants {
    /// The headers.
    pub(in crate::policy) by: Vec<HeaderName>,
    pub(in crate::policy) answers: Vec<Arc<Stored>>,
}

/// A stored response. Times are on the clock of [`Context::at`](crate::policy::Context::at).
#[derive(Debug)]
pub(in crate::policy) struct Stored {
    /// The API and the request, for people.
    pub(in crate::policy) api: Arc<str>,
    pub(in crate::policy) shown: String,
    /// How often it was used.
    pub(in crate::policy) hits: Arc<AtomicU64>,
    /// The values of the request in the fields by which responses differ.
    pub(in crate::policy) said: Vec<Vec<u8>>,
    /// The headers that are not as they came: policies have changed them.
    pub(in crate::policy) changed: Vec<HeaderName>,
    pub(in crate::policy) status: StatusCode,
    pub(in crate::policy) headers: HeaderMap,
    pub(in crate::policy) body: Bytes,
    /// The policy that stored it.
    pub(in crate::policy) store: CacheStore,
    /// When it came or was confirmed, and how old it was then.
    pub(in crate::policy) came: Duration,
    pub(in crate::policy) age: Duration,
    pub(in crate::policy) fresh_until: Duration,
    /// How long it had been stale when it came.
    pub(in crate::policy) overdue: Duration,
    /// Until when it is better than an error.
    pub(in crate::policy) stale_until: Duration,
    pub(in crate::policy) must_revalidate: bool,
    /// Whether callers with `Authorization` may share it.
    pub(in crate::policy) for_all: bool,
}

impl Default for Caches {
    fn default() -> Self {
        let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let weigh = move |key: &String, variants: &Arc<Variants>| {
            size(2 * key.len() + variants.answers.iter().map(|kept| kept.bytes()).sum::<usize>())
        };
        let weigh_value =
            move |key: &String, kept: &StoredValue| size(2 * key.len() + expression::spelled(&kept.value).len() + 96);
        Self {
            answers: Cache::builder().max_capacity(ANSWERS).weigher(weigh).build(),
            values: Cache::builder().max_capacity(VALUES).weigher(weigh_value).build(),
            places: Mutex::default(),
            in_flight: InFlight::default(),
        }
    }
}

impl Stored {
    pub(in crate::policy) fn age(&self, at: Duration) -> Duration {
        self.age.saturating_add(at.saturating_sub(self.came))
    }

    /// Returns about as many bytes as it takes.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let said = self.said.iter().map(|said| said.len() + 24);
        self.body.len() + self.shown.len() + headers.sum::<usize>() + said.sum::<usize>() + 256
    }

    fn is_of_use(&self, at: Duration) -> bool {
        at < self.stale_until || validation::has_validator(&self.headers)
    }
}

impl Caches {
    /// Returns all that can still be used.
    pub(in crate::policy) fn uses(&self, at: Duration) -> Vec<CacheUse> {
        let each = |(_, variants): (_, Arc<Variants>)| {
            let of_use = variants.answers.iter().filter(|kept| kept.is_of_use(at));
            of_use.map(|kept| (variants.by.clone(), Arc::clone(kept))).collect::<Vec<_>>()
        };
        let answers = self.answers.iter().flat_map(each).map(|(by, kept)| CacheUse {
            api: Some(kept.api.to_string()),
            key: kept.shown.clone(),
            varies: by.iter().map(ToString::to_string).collect(),
            status: Some(kept.status.as_u16()),
            bytes: kept.body.len(),
            age: Some(kept.age(at)),
            fresh_for: kept.fresh_until.saturating_sub(at),
            hits: Some(kept.hits.load(Ordering::Relaxed)),
        });
        let values = self.values.iter().map(|(_, kept)| CacheUse {
            api: kept.api.as_deref().map(str::to_owned),
            key: kept.key.clone(),
            varies: Vec::new(),
            status: None,
            bytes: expression::spelled(&kept.value).len(),
            age: None,
            fresh_for: kept.until.saturating_sub(at),
            hits: None,
        });
        answers.chain(values.filter(|value| !value.fresh_for.is_zero())).collect()
    }

    /// Returns the responses with a key.
    pub(in crate::policy) fn variants(&self, key: &str) -> Option<Arc<Variants>> {
        self.answers.get(key)
    }

    /// Returns whether any response is stored.
    pub(in crate::policy) fn has_answers(&self) -> bool {
        !self.places.lock().unwrap_or_else(PoisonError::into_inner).keys.is_empty()
    }

    /// Stores a response under a key, which is one of a place.
    pub(in crate::policy) fn put(&self, key: &str, place: String, by: Vec<HeaderName>, kept: Arc<Stored>) {
        let at = kept.came;
        let mut answers = vec![Arc::clone(&kept)];
        if let Some(before) = self.answers.get(key).filter(|before| before.by == by) {
            let others = before.answers.iter().filter(|other| other.said != kept.said && other.is_of_use(at));
            answers.extend(others.take(VARIANTS - 1).cloned());
        }
        self.answers.insert(key.to_owned(), Arc::new(Variants { by, answers }));
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.add(place, key, |key| self.answers.contains_key(key));
    }

    /// Removes all responses of a place.
    pub(in crate::policy) fn forget(&self, place: &str) {
        let keys = self.places.lock().unwrap_or_else(PoisonError::into_inner).take(place);
        keys.iter().for_each(|key| self.answers.invalidate(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(said: usize, header: usize) -> Arc<Stored> {
        let header = (HeaderName::from_static("x-long"), "a".repeat(header).parse().unwrap());
        Arc::new(Stored {
            api: "api".into(),
            shown: String::new(),
            hits: Arc::default(),
            said: vec![vec![b'a'; said]],
            changed: Vec::new(),
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([header]),
            body: Bytes::new(),
            store: CacheStore::default(),
            came: Duration::ZERO,
            age: Duration::ZERO,
            fresh_until: Duration::from_secs(1),
            overdue: Duration::ZERO,
            stale_until: Duration::from_secs(1),
            must_revalidate: false,
            for_all: true,
        })
    }

    /// Neither callers nor third parties choose how much memory there is.
    #[test]
    fn long_headers_take_their_room() {
        for (said, header) in [(300_000, 0), (0, 300_000)] {
            let caches = Caches::default();
            for number in 0..400 {
                caches.put(&format!("place\n{number}"), "place\n".to_owned(), Vec::new(), kept(said, header));
            }
            caches.answers.run_pending_tasks();
            assert!(caches.answers.entry_count() < 250, "{}", caches.answers.entry_count());
        }
    }

    #[test]
    fn keys_without_answers_are_forgotten() {
        let caches = Caches::default();
        for number in 0..500 {
            let key = format!("place{number}\n{}", "a".repeat(10_000));
            caches.put(&key, format!("place{number}\n"), Vec::new(), kept(0, 0));
            caches.answers.invalidate(&key);
        }
        assert!(caches.places.lock().unwrap().keys.len() < 100);
        caches.put("place\na", "place\n".to_owned(), Vec::new(), kept(0, 0));
        caches.forget("place\n");
        assert!(caches.variants("place\na").is_none());
    }
}
