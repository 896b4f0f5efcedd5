//! The words that cross rooms. No IO, no serde: what is written or printed has its own types.

mod api;
mod decision;
mod flow;
mod host;
mod reason;
mod redirect;
mod secret;

pub use api::{
    Api, ApiId, Backend, ClientCertificate, Drain, Egress, FailMode, Generation, Limits, Mode, Model, OnRefusal, Pin,
    Pool, TlsVersion,
};
pub use decision::Decision;
pub use flow::{Alpn, Exempt, Flow, Origin, OriginalDst, Protocol, Workload};
pub use host::{Host, InvalidHost};
pub use reason::Reason;
pub use redirect::{Action, HookCounters, Redirect};
pub use secret::Secret;
