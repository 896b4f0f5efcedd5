//! What of what policies remember is for people to see.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use super::world::State;

/// What was used of a limit, by one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// `rate-limit`, `quota` or `limit-concurrency`.
    pub kind: &'static str,
    /// Whose policy it is.
    pub scope: String,
    /// Its owner's name for it.
    pub id: Option<String>,
    /// The expression by which it counts; the policy's own way, if absent.
    pub by: Option<String>,
    /// What that came to.
    pub key: String,
    /// How many calls, or requests at the moment.
    pub used: u64,
    /// How many there may be; not known of a quota that nobody has called for since the process began.
    pub limit: Option<u64>,
    /// When the next one is given back, if time does that.
    pub more_in: Option<Duration>,
    /// Whether other nodes count with this one: then it is as this one saw it last.
    pub shared: bool,
}

/// Something that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// Whose answer it is; nobody's, if it is a value.
    pub api: Option<String>,
    /// The request that it answers, with secrets masked, or the key of a value.
    pub key: String,
    /// The headers of the request by which answers to it differ.
    pub varies: Vec<String>,
    /// Of an answer.
    pub status: Option<u16>,
    /// Of its body, or of the value as a text.
    pub bytes: usize,
    /// Since it came; not known of a value.
    pub age: Option<Duration>,
    /// For how long it will be; zero if it is no longer.
    pub fresh_for: Duration,
    /// How often it was given; not known of a value.
    pub hits: Option<u64>,
}

impl LimitUse {
    /// Of a policy that is known by this.
    pub(super) fn new(kind: &'static str, identity: &str, key: &str, used: u64) -> Self {
        let (scope, rest) = identity.split_once(&format!("/{kind}/")).unwrap_or((identity, "/"));
        let (id, by) = rest.split_once('/').unwrap_or((rest, ""));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (id, by) = (text(id), text(by));
        let (scope, key) = (scope.to_owned(), key.to_owned());
        Self { kind, scope, id, by, key, used, limit: None, more_in: None, shared: false }
    }

    /// In thousandths.
    fn share(&self) -> u64 {
        self.limit.map_or(0, |limit| self.used.saturating_mul(1000) / limit.max(1))
    }
}

impl State {
    /// At most so many of the limits that are used, the most used first, and how many there are in all.
    pub fn limits(&self, now: SystemTime, at: Duration, most: usize) -> (Vec<LimitUse>, usize) {
        let mut uses =
            [self.rates.uses(at), self.quotas.uses(now), self.concurrency.uses(), self.seen.uses(at)].concat();
        uses.sort_by_cached_key(|one| {
            (Reverse((one.share(), one.used)), one.kind, one.scope.clone(), one.id.clone(), one.key.clone())
        });
        first(uses, most)
    }

    /// At most so many of the answers and values that are kept, the most wanted first, and how many there are in all.
    pub fn caches(&self, at: Duration, most: usize) -> (Vec<CacheUse>, usize) {
        let mut uses = self.caches.uses(at);
        uses.sort_by_cached_key(|one| (Reverse((one.hits, one.bytes)), one.api.clone(), one.key.clone()));
        first(uses, most)
    }
}

fn first<T>(mut uses: Vec<T>, most: usize) -> (Vec<T>, usize) {
    let all = uses.len();
    uses.truncate(most);
    (uses, all)
}

#[cfg(test)]
mod tests {
    use super::LimitUse;

    #[test]
    fn an_identity_is_taken_apart() {
        let parts = |kind, identity| {
            let LimitUse { scope, id, by, .. } = LimitUse::new(kind, identity, "", 0);
            (scope, id.unwrap_or_default(), by.unwrap_or_default())
        };
        let text = |parts: (&str, &str, &str)| (parts.0.to_owned(), parts.1.to_owned(), parts.2.to_owned());
        assert_eq!(parts("rate-limit", "api partner/rate-limit//"), text(("api partner", "", "")));
        assert_eq!(parts("quota", "global/quota/mine/a / b"), text(("global", "mine", "a / b")));
        assert_eq!(parts("quota", "of a file that is older"), text(("of a file that is older", "", "")));
    }
}
