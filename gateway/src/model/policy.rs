//! What is done with requests and answers, each policy in the file of its family.

mod cache;
mod contract;
mod conversion;
mod credentials;
mod filters;
mod flow;
mod limits;
mod llm;
mod message;
mod outside;
mod period;
mod telemetry;
mod validation;

pub use cache::{CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue};
pub use contract::{Answer, Content, Contract, Parameter, Place, Schema, Statuses, Style, Telling};
pub use conversion::{Converted, JsonKind, JsonToXml, XmlName, XmlToJson};
pub use credentials::{
    ApiKey, AwsSigv4, Basic, CredentialPlace, Encoding, Hmac, HmacAlgorithm, PlaceholderPlace, ReplacePlaceholder,
    RequiredClaim, SecretKey, TimeFormat, TokenKeys, TokenPlace, ValidateJwt,
};
pub use filters::{CheckHeader, IpFilter, Refusal, WorkloadFilter, WorkloadMatch};
pub use flow::{Forward, Reply, SetVariable};
pub use limits::{LimitConcurrency, Quota, RateKind, RateLimit};
pub use llm::{LlmTokenLimit, LlmTokenMetric};
pub use message::{Exists, FindAndReplace, RewriteUri, SetHeader, SetQueryParameter, SetStatus};
pub use outside::{AssertionKey, Grant, Oauth2, Proof, SendRequest, SetBackend, Wait};
pub use period::{Length, Periods};
pub use telemetry::{EmitMetric, Log, Pattern, Redact, Severity, Trace};
pub use validation::{
    ContentRule, Described, OnInvalid, ValidateContent, ValidateHeaders, ValidateParameters, ValidateStatusCode,
};

/// A section of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Before the request leaves.
    Inbound,
    /// How it is sent.
    Backend,
    /// Before the answer goes to the caller.
    Outbound,
    /// After anything has failed.
    OnError,
}

impl Section {
    /// The spelling in configuration, logs and the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Backend => "backend",
            Self::Outbound => "outbound",
            Self::OnError => "on-error",
        }
    }
}
