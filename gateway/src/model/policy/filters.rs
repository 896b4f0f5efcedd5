use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{Fact, Template};

/// Lets calls to some addresses of the third party through, or all but those to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFilter {
    /// Whether those that match are let through; else they are refused.
    pub allow: bool,
    /// Any of these.
    pub addresses: Vec<IpNet>,
}

/// Refuses requests without a field of one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckHeader {
    /// In lower case.
    pub name: Arc<str>,
    /// Any, if there are none.
    pub values: Vec<Template>,
    /// Whether `A` is `a`.
    pub ignore_case: bool,
    /// What is answered: the status, 400 to 599, and why.
    pub failed: Refusal,
}

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
