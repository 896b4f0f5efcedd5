//! The composition root: builds the rooms in order, joins them, and takes them down in the reverse order.

mod admin_state;

mod capabilities;

mod egress;

mod health;

mod heartbeat;

mod log;

mod memory;

mod models;

mod older;

mod publish;

mod remembered;

mod start;

mod start_lock;

mod stop;

mod values;

mod warnings;

use std::path::PathBuf;

pub use egress::egress_on_node;
pub use start::run;

/// What `egret run` was asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration: a file or a directory.
    pub config: PathBuf,
    /// Whether the hooks outlive the process.
    pub persist: bool,
}

/// Why the gateway did not run, or ended badly.
#[derive(Debug)]
pub enum Error {
    /// The configuration is invalid; the text names every place.
    Invalid(String),
    /// Anything else; the text has the remedy.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
