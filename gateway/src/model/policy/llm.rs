//! Tokens of language models.

use std::sync::Arc;

use super::Periods;
use crate::model::{Expression, LimitId, OfPlace, Template};

/// Refuses requests of those who have used their tokens up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmTokenLimit {
    /// What its counts are kept under, over reloads and restarts.
    pub identity: OfPlace<LimitId>,
    /// What is counted on its own; each workload, if absent.
    pub key: Option<Expression>,
    /// Tokens in any minute.
    pub tokens_per_minute: Option<u64>,
    /// Tokens in a period that was agreed on; for ever, if it has none.
    pub quota: Option<(u64, Option<Periods>)>,
    /// Whether a request is refused whose prompt alone is likely too long.
    pub estimate_prompt: bool,
    /// Field of the answer that tells how many were left.
    pub remaining_header: Option<Arc<str>>,
}

/// Counts tokens in a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmTokenMetric {
    /// As of `emit-metric`.
    pub name: Arc<str>,
    /// By what they are counted on their own, beside `kind`: `prompt` or `completion`.
    pub dimensions: Vec<(Arc<str>, Template)>,
}
