//! What policies count, keep and use.

use serde::{Deserialize, Serialize};

/// What was used of a limit, by one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LimitRow {
    /// `rate-limit`, `quota` or `limit-concurrency`.
    pub kind: String,
    /// The scope of the policy.
    pub scope: String,
    /// The id that the configuration gives it.
    pub id: Option<String>,
    /// The expression by which it counts.
    pub by: Option<String>,
    /// What that came to.
    pub key: String,
    /// How many calls, or requests at the moment.
    pub used: u64,
    /// How many there may be, once that is known.
    pub limit: Option<u64>,
    /// When the next one is given back, if time does that.
    pub more_in_seconds: Option<f64>,
    /// Whether other nodes count with this one.
    #[serde(default)]
    pub shared: bool,
}

/// An answer, or a value, that policies have kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheRow {
    /// Whose answer it is; absent for a value.
    pub api: Option<String>,
    /// The request that it answers, with secrets masked, or the key of a value.
    pub key: String,
    /// The headers of the request by which answers to it differ.
    pub varies: Vec<String>,
    /// Of an answer.
    pub status: Option<u16>,
    /// Of its body, or of the value.
    pub bytes: usize,
    /// Since it came.
    pub age_seconds: Option<u64>,
    /// For how long it will be; 0 if it is no longer.
    pub fresh_for_seconds: u64,
    /// How often it was given.
    pub hits: Option<u64>,
}

/// A server of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendRow {
    /// The backend to which the server belongs.
    pub backend: String,
    /// The address of the server.
    pub member: String,
    /// State of the circuit breaker: `closed` (requests are sent), `open` (none is sent) or `half-open` (one is sent as a test).
    pub breaker: String,
    /// Seconds until the breaker allows a request.
    pub open_for_seconds: f64,
    /// Why its health check fails, if it does.
    pub ill: Option<String>,
    /// Number of requests sent to it.
    pub requests: u64,
    /// Number of those that failed.
    pub failed: u64,
}

/// A subscription and how often it is used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubscriptionRow {
    /// The name of the subscription.
    pub subscription: String,
    /// The product of the subscription.
    pub product: String,
    /// The APIs in it.
    pub apis: Vec<String>,
    /// Number of requests since the process started.
    pub requests: u64,
    /// Seconds since the newest request.
    pub last_seconds_ago: Option<u64>,
}
