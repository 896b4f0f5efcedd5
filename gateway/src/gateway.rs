//! The composition root: builds the rooms in order, joins them, and takes them down in the reverse order.

mod admin_state;

mod begin;

mod bypasses;

mod capabilities;

mod deserted;

mod egress;

mod expiries;

mod fleet;

mod forwarding;

mod health;

mod heartbeat;

mod instance;

mod kubernetes;

mod leftovers;

mod log;

mod memory;

mod metrics;

mod models;

mod namespaces;

mod otlp;

mod publish;

mod remembered;

mod start;

mod start_lock;

mod stop;

mod unlisted;

mod unserved;

mod values;

mod warnings;

use std::path::PathBuf;

pub use capabilities::missing_capabilities;
pub use egress::egress_on_node;
pub use leftovers::{leftovers, remove_leftovers};
pub use start::run;

/// The options of `egret run`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration: a file or a directory.
    pub config: PathBuf,
    /// Whether the hooks stay when the process stops.
    pub persist: bool,
    /// The name of the pod, or whatever else is started again and replaced as one. A process of an instance that has been replaced waits
    /// while a newer one serves.
    pub instance: Option<String>,
}

/// Why the gateway did not start, or failed.
#[derive(Debug)]
pub enum Error {
    /// The configuration is invalid. The text shows all errors.
    Invalid(String),
    /// Any other error.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
