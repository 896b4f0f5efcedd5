use std::sync::Arc;
use std::time::Duration;

use super::{Endpoint, Template};

/// A server that speaks Redis's protocol, in which several nodes count together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterStore {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// The number of the database.
    pub database: u32,
    /// Who Egret is there; the default user, if absent.
    pub username: Option<Arc<str>>,
    /// Proof of it: a text, named values, no expressions.
    pub password: Option<Template>,
    /// Longest wait for a count.
    pub timeout: Duration,
    /// Whether calls are refused while it does not answer; else each node counts on its own.
    pub refuse: bool,
}
