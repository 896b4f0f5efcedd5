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
mod statement;
mod telemetry;
mod validation;

use std::sync::Arc;

pub use cache::{CacheLookup, CacheLookupValue, CacheRemoveValue, CacheStore, CacheStoreValue};
pub use contract::{Answer, Content, Contract, Parameter, Place, Schema, Statuses, Style, Telling};
pub use conversion::{Converted, JsonKind, JsonToXml, XmlName, XmlToJson};
pub use credentials::{
    ApiKey, AwsSigv4, Basic, CredentialPlace, Encoding, Hmac, HmacAlgorithm, PlaceholderPlace, ReplacePlaceholder,
    RequiredClaim, SecretKey, TimeFormat, TokenKeys, TokenPlace, ValidateJwt,
};
pub use filters::{CheckHeader, IpFilter, Refusal, WorkloadFilter, WorkloadMatch};
pub use flow::{Branch, Forward, Reply, Retry, SetVariable};
pub use limits::{LimitConcurrency, Quota, RateKind, RateLimit};
pub use llm::{LlmTokenLimit, LlmTokenMetric};
pub use message::{Exists, FindAndReplace, RewriteUri, SetHeader, SetQueryParameter, SetStatus};
pub use outside::{AssertionKey, Grant, Oauth2, Proof, SendRequest, SetBackend, Wait};
pub use period::{Length, Periods};
pub use statement::{Statement, looks_at_request};
pub use telemetry::{EmitMetric, Log, Pattern, Redact, Severity, Trace};
pub use validation::{
    ContentRule, Described, OnInvalid, ValidateContent, ValidateHeaders, ValidateParameters, ValidateStatusCode,
};

/// The four sections, wider scopes included, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Before the request leaves.
    pub inbound: Vec<Arc<Policy>>,
    /// How it is sent.
    pub backend: Vec<Arc<Policy>>,
    /// Before the answer goes to the caller.
    pub outbound: Vec<Arc<Policy>>,
    /// After anything has failed.
    pub on_error: Vec<Arc<Policy>>,
    /// Whether anything looks at the request after it was sent.
    pub looks_back: bool,
}

impl Policies {
    /// Whether there is nothing to do but to send the request.
    pub fn is_empty(&self) -> bool {
        let Self { inbound, backend, outbound, on_error, .. } = self;
        [inbound, outbound, on_error].iter().all(|section| section.is_empty())
            && backend.iter().all(|policy| policy.statement == Statement::ForwardRequest(Forward::default()))
    }

    /// All of the four sections.
    pub fn sections(&self) -> [&[Arc<Policy>]; 4] {
        [&self.inbound, &self.backend, &self.outbound, &self.on_error]
    }
}

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

/// The keys of a policy and their values in YAML, for people. A policy without keys has one value, with an empty key.
#[derive(Clone, Debug, Default)]
pub struct Written(pub Vec<(String, String)>);

/// Two texts may mean the same, so what is written makes no difference between policies.
impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// Something to be done with a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its owner's name for it.
    pub id: Option<Arc<str>>,
    /// Whose it is: `global`, `api partner`, `operation get-price`.
    pub scope: Arc<str>,
    /// What it would do is put on record, and not done.
    pub report: bool,
    /// What it does.
    pub statement: Statement,
    /// What the configuration says of it.
    pub written: Written,
    /// Whether its expressions look at the body of the request, and of the answer.
    pub reads_bodies: [bool; 2],
    /// Whether it takes the body of the request as it is.
    pub reads_request_bytes: bool,
    /// Whether anything must, or may have to, be there before it runs: a body, keys.
    pub needs_something: bool,
}

impl Policy {
    /// Of these parts.
    pub fn new(id: Option<Arc<str>>, scope: Arc<str>, report: bool, statement: Statement) -> Self {
        let mut reads_bodies = [false; 2];
        // What is hashed is taken as it is.
        let mut reads_request_bytes =
            matches!(&statement, Statement::AuthenticationAwsSigv4(sign) if !sign.unsigned_payload);
        statement.each_expression(&mut |expression| {
            reads_bodies[0] |= expression.reads_request_body;
            reads_bodies[1] |= expression.reads_response_body;
            reads_request_bytes |= expression.reads_request_bytes;
        });
        reads_bodies[0] |= statement.copies_request();
        let needs_something = reads_request_bytes
            || reads_bodies.contains(&true)
            || matches!(
                statement,
                Statement::CacheStore(_)
                    | Statement::FindAndReplace(_)
                    | Statement::JsonToXml(_)
                    | Statement::Log(_)
                    | Statement::ValidateContent(_)
                    | Statement::ValidateJwt(_)
                    | Statement::XmlToJson(_)
            );
        Self {
            id,
            scope,
            report,
            statement,
            written: Written::default(),
            reads_bodies,
            reads_request_bytes,
            needs_something,
        }
    }
}
