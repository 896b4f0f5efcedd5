use std::sync::Arc;
use std::time::Duration;

use crate::model::Expression;

/// Answers from what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLookup {
    /// Headers of the request by which answers differ, beside those that the third party names; in lower case.
    pub vary_by_header: Vec<Arc<str>>,
    /// The parameters of the query by which answers differ; all, if absent.
    pub vary_by_query_parameter: Option<Vec<Arc<str>>>,
    /// Whether workloads do not share answers.
    pub vary_by_workload: bool,
    /// Whether callers with `Authorization` share answers that the third party does not say are for all.
    pub share_authorized: bool,
    /// Longest wait for the same answer on its way to another caller; none, if each is asked for.
    pub wait: Option<Duration>,
}

/// Keeps the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStore {
    /// How long it is fresh; as the third party says, if absent.
    pub duration: Option<Duration>,
    /// How long after that it is better than no answer, or one of 500 and more; as the third party says, if absent.
    pub stale_if_error: Option<Duration>,
}

/// Reads a value that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLookupValue {
    /// By which it was kept.
    pub key: Expression,
    /// The name under which all APIs and owners share it; its API and its owner have it alone, if absent.
    pub shared: Option<Arc<str>>,
    /// Where it goes.
    pub variable: Arc<str>,
    /// Whether what that holds is a secret.
    pub secret: bool,
    /// What it is if there is none.
    pub default: Option<Expression>,
}

/// Keeps a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStoreValue {
    /// By which it is found.
    pub key: Expression,
    /// The name under which all APIs and owners share it; its API and its owner have it alone, if absent.
    pub shared: Option<Arc<str>>,
    /// What it is.
    pub value: Expression,
    /// How long.
    pub duration: Duration,
}

/// Forgets a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRemoveValue {
    /// By which it was kept.
    pub key: Expression,
    /// The name under which all APIs and owners share it; its API and its owner have it alone, if absent.
    pub shared: Option<Arc<str>>,
}
