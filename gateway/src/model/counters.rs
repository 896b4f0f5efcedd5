use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::{Endpoint, Pending, Template};

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

/// What is counted, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Under which name, which is the same on all nodes.
    pub name: String,
    /// Of what time.
    pub within: Within,
    /// How many there may be.
    pub most: u64,
    /// How many more there are now; none, to look only.
    pub add: u64,
}

/// The time that a count is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// Any period of this length.
    Any(Duration),
    /// The period that ends at this second since 1970; for ever, if absent.
    Until(Option<u64>),
}

/// How many are left after it; or how long to wait, if time helps.
pub type Left = Result<u64, Option<Duration>>;

/// Counts with other nodes.
pub trait Counters: Debug + Send + Sync {
    /// Counts, unless all are used up: exactly, over all who count there.
    ///
    /// # Errors
    /// Why there is no count.
    fn count<'a>(&'a self, store: &'a Arc<CounterStore>, count: Count) -> Pending<'a, Result<Left, String>>;

    /// Counts, even if there were not so many left. Nobody waits for it: it is logged if it fails.
    fn add(&self, store: &Arc<CounterStore>, count: Count);
}
