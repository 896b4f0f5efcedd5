use std::sync::Arc;
use std::time::Duration;

use super::Periods;
use crate::model::{CounterStore, Expression, LimitId, OfPlace};

/// At most so many calls in any period of this length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Which of the two policies it is.
    pub kind: RateKind,
    /// What its counts are kept under, over reloads.
    pub identity: OfPlace<LimitId>,
    /// How many.
    pub calls: u32,
    /// How long.
    pub period: Duration,
    /// What is counted on its own; each workload, if absent.
    pub key: Option<Expression>,
    /// What counts, if not everything.
    pub condition: Option<Expression>,
    /// Whether that is known only with the answer: until then a call counts.
    pub by_answer: bool,
    /// How many calls one counts as; one, if absent.
    pub count: Option<Expression>,
    /// Field of the answer that tells how many are left.
    pub remaining_header: Option<Arc<str>>,
    /// Where policies find that.
    pub remaining_variable: Option<Arc<str>>,
    /// Field of the answer that tells how many there are in all.
    pub total_header: Option<Arc<str>>,
    /// Where it is counted together with other nodes; on each node on its own, if absent.
    pub shared: Option<Arc<CounterStore>>,
}

/// At most so many calls in a period that was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which of the two policies it is.
    pub kind: RateKind,
    /// What its counts are kept under, over reloads and restarts.
    pub identity: OfPlace<LimitId>,
    /// How many calls.
    pub calls: Option<u64>,
    /// How many bytes, of the bodies of requests and answers.
    pub bytes: Option<u64>,
    /// In what time; for ever, if absent.
    pub period: Option<Periods>,
    /// What is counted on its own; each workload, if absent.
    pub key: Option<Expression>,
    /// What counts, if not everything.
    pub condition: Option<Expression>,
    /// Whether that is known only with the answer: until then a call counts.
    pub by_answer: bool,
    /// How many calls one counts as; one, if absent.
    pub count: Option<Expression>,
    /// Field of the answer that tells how many are left.
    pub remaining_header: Option<Arc<str>>,
    /// Where policies find that.
    pub remaining_variable: Option<Arc<str>>,
    /// Where it is counted together with other nodes; on each node on its own, if absent.
    pub shared: Option<Arc<CounterStore>>,
}

/// Which policy a rate limit, or a quota, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// Of each workload.
    Workload,
    /// Of each value of an expression.
    Key,
}

/// At most so many requests at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConcurrency {
    /// What its counts are kept under, over reloads.
    pub identity: OfPlace<LimitId>,
    /// How many.
    pub max: u32,
    /// What is counted on its own; everything together, if absent.
    pub key: Option<Expression>,
}
