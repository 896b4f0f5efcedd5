//! What people see of what policies remember.

use std::time::Duration;

use crate::model::LimitId;

/// What was used of a limit, by one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// `rate-limit`, `quota` or `limit-concurrency`.
    pub kind: &'static str,
    /// The scope in which the policy is written.
    pub scope: String,
    /// The `id` of the policy.
    pub id: Option<String>,
    /// The expression by which it counts; the policy's own way, if absent.
    pub by: Option<String>,
    /// The key that is counted.
    pub key: String,
    /// The number of calls, or of concurrent requests.
    pub used: u64,
    /// The limit; unknown for a quota that no call has used since the process began.
    pub limit: Option<u64>,
    /// The time until the next one is given back, where time does that.
    pub more_in: Option<Duration>,
    /// Whether other nodes count with this one: then it is as this one saw it last.
    pub shared: bool,
}

/// A cached response or value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// The API of a response; absent for a shared value.
    pub api: Option<String>,
    /// The request that it answers, with secrets masked, or the key of a value.
    pub key: String,
    /// The headers of the request by which answers to it differ.
    pub varies: Vec<String>,
    /// The status of a response.
    pub status: Option<u16>,
    /// The length of its body, or of the value as a text, in bytes.
    pub bytes: usize,
    /// The age of a response; unknown for a value.
    pub age: Option<Duration>,
    /// For how long it is still fresh; zero if it is not.
    pub fresh_for: Duration,
    /// How often a response was used; unknown for a value.
    pub hits: Option<u64>,
}

impl LimitUse {
    /// Returns what was used of a limit, by one key.
    pub(in crate::policy) fn new(kind: &'static str, limit: &LimitId, key: &str, used: u64) -> Self {
        let (id, by) = (limit.id().map(str::to_owned), limit.by().map(str::to_owned));
        let (scope, key) = (limit.scope().to_owned(), key.to_owned());
        Self { kind, scope, id, by, key, used, limit: None, more_in: None, shared: false }
    }

    /// Returns how much of the limit is used, in thousandths.
    pub(in crate::policy) fn share(&self) -> u64 {
        self.limit.map_or(0, |limit| self.used.saturating_mul(1000) / limit.max(1))
    }
}
