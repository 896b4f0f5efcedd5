//! TLS with callers: our CA, a leaf for each name that it vouches for, and who refuses them.

mod authority;

mod leaves;

mod refusals;

mod runtime;

pub use authority::{Error, Files};
pub use leaves::Leaves;
pub use refusals::{Refusal, Refusals, Sign};
pub use runtime::Runtime;
