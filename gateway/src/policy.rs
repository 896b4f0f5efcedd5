//! What may be done, and what is done: the only source of a permit, and without a permit nothing dials; and the policies,
//! one file each, which [`run`] runs in their order. Pure: what a policy needs of the world it asks [`World`] for.

mod authentication_basic;
mod bodies;
mod cache;
mod call;
mod check_header;
mod dry;
mod emit_metric;
mod error;
mod expression;
mod forward_request;
mod limit_concurrency;
mod log;
mod permit;
mod quota;
mod rate_limit;
mod reply;
mod retry;
mod rewrite_uri;
mod run;
mod set_header;
mod set_query_parameter;
mod template;
mod trace;
mod uses;
mod workload_filter;
mod world;

pub use call::{Call, Fault, Source, Step};
pub use dry::Dry;
pub use limit_concurrency::Held;
pub use permit::{Permit, Target, admit};
pub use quota::QuotaRow;
pub use run::run;
pub use template::MASK;
pub use uses::{CacheUse, LimitUse};
pub use world::{Asked, Peeked, Pending, Side, State, Unanswerable, World};
