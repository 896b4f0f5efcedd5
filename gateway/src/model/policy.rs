//! What is done with requests and answers, each policy in the file of its family.

mod contract;
mod conversion;
mod credentials;
mod filters;
mod flow;
mod limits;
mod message;
mod period;
mod telemetry;
mod validation;

pub use contract::{Answer, Content, Contract, Parameter, Place, Schema, Statuses, Style, Telling};
pub use conversion::{Converted, XmlName};
pub use credentials::{CredentialPlace, Encoding, SecretKey};
pub use filters::{Refusal, WorkloadFilter, WorkloadMatch};
pub use flow::Reply;
pub use limits::RateKind;

pub use message::Exists;

pub use period::{Length, Periods};
pub use telemetry::{Pattern, Redact, Severity};
pub use validation::{Described, OnInvalid};

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
