//! The words that cross rooms. No IO. What is written or printed has its own types, but for the facts about a workload, which have one
//! name everywhere.

mod api;
mod audience;
mod bypass;
mod carried;
mod condition;
mod counters;
mod decision;
mod dns;
mod egress;
mod endpoint;
mod escaping;
mod expression;
mod fleet;
mod flow;
mod host;
mod keys;
mod limit_id;
mod namespace;
mod otlp;
mod path;
mod pending;
mod pod;
mod policy;
mod printable;
mod product;
mod reach;
mod reason;
mod redirect;
mod rules;
mod secret;
mod selection;
mod signing;
mod told;
mod unlisted;
mod wildcard;
mod workload;

pub use api::{
    Api, ApiId, Backend, ClientCertificate, Drain, FailMode, Generation, Limits, Mode, Model, OnRefusal, Pin, Pool,
    Strangers, TlsVersion,
};
pub use audience::{Admission, AdmissionOf, Audience, Others};
pub use bypass::{Bypass, BypassCause};
pub use carried::{CarriedPolicies, CompiledPolicies};
pub use condition::{Condition, Field, HeadersOf, Like, Order};
pub use counters::{Count, CounterStore, Counters, Left, Within};
pub use decision::Decision;
pub use dns::{DNS, DnsSender};
pub use egress::{Egress, Names, Proxy, ProxyHost};
pub use endpoint::{Breaker, Endpoint, Health, Member, Service};
pub use escaping::{Escaping, Scanner, Syntax};
pub use expression::{Expression, FieldRead, NamedValue, Part, Template, ValueSource, with_stack};
pub use fleet::NodeReport;
pub use flow::{Alpn, Exempt, Flow, Origin, OriginalDst, Protocol};
pub use host::{Host, InvalidHost};
pub use keys::{Discovery, InvalidKeys, KeySet, KeySource, VerifyingKey};
pub use limit_id::{CountedPart, LimitId, OfPlace};
pub use namespace::{Newcomer, Unserved};
pub use otlp::{Otlp, Signal};
pub use path::{ambiguity, has_dot_segment, spelled};
pub use pending::Pending;
pub use pod::{Pod, PodContainer, PodDescription, PodOf};
pub use policy::{
    Answer, Content, Contract, Converted, CredentialPlace, Described, Encoding, Exists, Length, OnInvalid, Parameter,
    Pattern, Periods, Place, RateKind, Redact, Refusal, Reply, Schema, SecretKey, Section, Severity, Statuses, Style,
    Telling, WorkloadFilter, WorkloadMatch, XmlName,
};
pub use printable::{number, printable, printable_json};
pub use product::{ByProduct, Product, SUBSCRIPTION_KEY, Subscription};
pub use reach::Reach;
pub use reason::Reason;
pub use redirect::{Action, HookCounters, Redirect, Scope};
pub use rules::{Operation, PathTemplate, Rules, Segment};
pub use secret::Secret;
pub use selection::{Selected, fits, is_one_of, select};
pub use signing::{SIGNING, Signer};
pub use told::{Counted, Logged, LoggedBody, Told, Traced};
pub use unlisted::{Classes, Destinations, UNLISTED, Unlisted, UnlistedAction, UnlistedClass, UnlistedRule};
pub use wildcard::{Listing, Wildcard, domains_above};
pub use workload::{Fact, Identity, Known, Unknown, Workload};
