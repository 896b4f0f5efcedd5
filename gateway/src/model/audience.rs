use super::{Api, WorkloadFilter};

/// The workloads that an API is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The workloads that may use the API.
    pub filter: WorkloadFilter,
    /// What happens to connections of the others.
    pub others: Others,
}

/// What happens to connections of workloads that an API is not for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They are refused.
    Deny,
    /// They go to their original destination from the address that the kernel chooses, as if the API were not listed.
    Untouched,
}

impl Others {
    /// The spelling in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Untouched => "untouched",
        }
    }
}

/// What an API is to one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The API is for it.
    Admitted,
    /// It may not use the API, or it is not known whether it may.
    Denied,
    /// The API leaves it untouched.
    Untouched,
}

/// Returns what an API is to the workload that somebody calls from.
pub type AdmissionOf<'a> = &'a (dyn Fn(&Api) -> Admission + Sync);
