/// Which policy a rate limit, or a quota, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// Of each workload.
    Workload,
    /// Of each value of an expression.
    Key,
}
