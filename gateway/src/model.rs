//! The words that cross rooms. No IO, no serde: what is written or printed has its own types.

mod api;
mod decision;
mod expression;
mod flow;
mod host;
mod policy;
mod reason;
mod redirect;
mod secret;
mod told;

pub use api::{
    Api, ApiId, Backend, ClientCertificate, Drain, Egress, FailMode, Generation, Limits, Mode, Model, OnRefusal, Pin,
    Pool, TlsVersion,
};
pub use decision::Decision;
pub use expression::{Expression, NamedValue, Part, Template, ValueSource};
pub use flow::{Alpn, Exempt, Flow, Origin, OriginalDst, Protocol, Workload};
pub use host::{Host, InvalidHost};
pub use policy::{
    Basic, Branch, CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue, CheckHeader,
    EmitMetric, Exists, FindAndReplace, Forward, LimitConcurrency, Log, Operation, PathTemplate, Pattern, Policies,
    Policy, Quota, RateKind, RateLimit, Redact, Refusal, Reply, Retry, RewriteUri, Rules, Section, Segment, SetHeader,
    SetQueryParameter, SetStatus, SetVariable, Severity, Statement, Trace, WorkloadFilter, WorkloadMatch,
    looks_at_request,
};
pub use reason::Reason;
pub use redirect::{Action, HookCounters, Redirect};
pub use secret::Secret;
pub use told::{Counted, Logged, LoggedBody, Told, Traced};
