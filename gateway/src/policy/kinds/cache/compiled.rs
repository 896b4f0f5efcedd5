//! The compiled policies of the cache.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Expression;

/// Responds with a stored response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLookup {
    /// Header fields of the request by which responses differ, beside those that the third party names; in lower case.
    pub vary_by_header: Vec<Arc<str>>,
    /// The parameters of the query by which responses differ; all of them, if absent.
    pub vary_by_query_parameter: Option<Vec<Arc<str>>>,
    /// Whether workloads do not share responses.
    pub vary_by_workload: bool,
    /// Whether callers with credentials share responses that the third party does not call public.
    pub share_authorized: bool,
    /// The longest wait for a response that is on its way to another caller; no wait, if absent.
    pub wait: Option<Duration>,
}

/// Stores the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStore {
    /// How long the response is fresh; as the third party says, if absent.
    pub duration: Option<Duration>,
    /// How long after that it is better than no response, or one of 500 and more; as the third party says, if absent.
    pub stale_if_error: Option<Duration>,
}

/// Reads a stored value into a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLookupValue {
    /// The key of the value.
    pub key: Expression,
    /// The name under which all APIs and owners share it; it belongs to its API and its owner, if absent.
    pub shared: Option<Arc<str>>,
    /// The variable.
    pub variable: Arc<str>,
    /// Whether the variable is secret.
    pub secret: bool,
    /// The value of the variable where nothing is stored; null, if absent.
    pub default: Option<Expression>,
}

/// Stores a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStoreValue {
    /// The key of the value.
    pub key: Expression,
    /// The name under which all APIs and owners share it; it belongs to its API and its owner, if absent.
    pub shared: Option<Arc<str>>,
    /// The value.
    pub value: Expression,
    /// How long it is stored.
    pub duration: Duration,
}

/// Removes a stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRemoveValue {
    /// The key of the value.
    pub key: Expression,
    /// The name under which all APIs and owners share it; it belongs to its API and its owner, if absent.
    pub shared: Option<Arc<str>>,
}
