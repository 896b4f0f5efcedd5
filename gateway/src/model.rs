//! The words that cross rooms. No IO, no serde: what is written or printed has its own types.

mod api;
mod decision;
mod expression;
mod flow;
mod host;
mod keys;
mod policy;
mod reason;
mod redirect;
mod secret;

pub use api::{
    Api, ApiId, Backend, ClientCertificate, Drain, Egress, FailMode, Generation, Limits, Mode, Model, OnRefusal, Pin,
    Pool, TlsVersion,
};
pub use decision::Decision;
pub use expression::{Expression, NamedValue, Part, Template, ValueSource};
pub use flow::{Alpn, Exempt, Flow, Origin, OriginalDst, Protocol, Workload};
pub use host::{Host, InvalidHost};
pub use keys::{InvalidKeys, KeySet, KeySource, VerifyingKey};
pub use policy::{
    ApiKey, AwsSigv4, Basic, Branch, CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue,
    CheckHeader, CredentialPlace, Encoding, Exists, FindAndReplace, Forward, Hmac, HmacAlgorithm, LimitConcurrency,
    Operation, PathTemplate, Policies, Policy, Quota, RateKind, RateLimit, Refusal, Reply, RequiredClaim, Retry,
    RewriteUri, Rules, SecretKey, Section, Segment, SetHeader, SetQueryParameter, SetStatus, SetVariable, Statement,
    TimeFormat, TokenKeys, TokenPlace, ValidateJwt, WorkloadFilter, WorkloadMatch, looks_at_request,
};
pub use reason::Reason;
pub use redirect::{Action, HookCounters, Redirect};
pub use secret::Secret;
