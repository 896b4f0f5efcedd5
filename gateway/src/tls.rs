//! TLS with callers: our CA, and a leaf for each name that it vouches for.

mod authority;

mod leaves;

pub use authority::{Error, Files};
pub use leaves::Leaves;
