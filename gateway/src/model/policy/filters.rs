use std::sync::Arc;

use crate::model::Fact;

/// What a caller is told whose request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599.
    pub status: u16,
    /// In the answer's `message`.
    pub message: Option<Arc<str>>,
}

/// Lets some workloads through, or all but some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Whether those that match are let through; else they are refused.
    pub allow: bool,
    /// Any of these.
    pub matches: Vec<WorkloadMatch>,
}

/// Facts by which a workload is selected; it must have all that are given. `*` in a pattern stands for anything, but not for no
/// fact at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadMatch {
    /// The facts, each with a pattern.
    pub facts: Vec<(Fact, Arc<str>)>,
    /// Labels of its pod, each with a pattern of its value.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Its user.
    pub uid: Option<u32>,
}
