//! What runs policies, and what they are made of. It knows no kind of policy: [`Compiled`] is all that it sees of them.

mod account;
pub(super) mod bodies;
mod call;
pub(super) mod charset;
mod compiled;
pub(super) mod conversion;
pub(super) mod counters;
pub(super) mod counting;
pub(super) mod described;
mod dry;
mod effects;
mod error;
pub(super) mod expression;
mod fault;
pub(super) mod fields;
pub(super) mod findings;
pub(super) mod json;
pub(super) mod keyed;
mod kind;
pub(super) mod mask;
mod message;
pub(super) mod meter;
pub(super) mod paths;
mod policy;
pub(super) mod query;
mod run;
mod secrecy;
mod side;
pub(super) mod slots;
mod state;
pub(super) mod subscription;
pub(super) mod template;
pub(super) mod uses;
pub(super) mod window;
mod world;

pub use account::{Account, Recorded};
pub use bodies::Trailers;
pub use call::{Call, Context};
pub(super) use compiled::{Compiled, Next, any};
pub use dry::Dry;
pub(super) use effects::Place;
pub use effects::{Effects, Held, Step};
pub use fault::{Fault, Source};
pub use kind::{
    Change, Kind, NeedsDescription, Outcome, Reads, Responds, Sections, Signature, Traits, Want, WhenReported, Within,
};
pub(super) use kind::{Now, Site, SometimesTimed, Timed, expressions};
pub use message::{Message, Peeked};
pub use policy::Written;
pub(super) use policy::{Policies, Policy};
pub(super) use run::{list, run};
pub use secrecy::{MASK, Secrecy};
pub use side::Side;
pub use state::State;
pub use world::{Asked, Unanswerable, World};
