//! The begin of a start: this process waits for its turn, and only then loads the configuration that it will serve.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::RecommendedWatcher;
use tokio::sync::Notify;

use super::egress::egress_on_node;
use super::instance::{Instance, Turn};
use super::publish::tell_warnings;
use super::stop::Signals;
use super::{Error, Options, capabilities};
use crate::config::{self, Compiled};
use crate::model::Generation;

/// A turn that came within this time came without a wait: whoever waits looks again after 20 ms or more. The configuration is not loaded
/// again then, which takes a while with thousands of hosts; a change since is noticed.
const AT_ONCE: Duration = Duration::from_millis(10);

/// What a process has whose turn to start has come.
pub(super) struct Begun {
    pub(super) instance: Instance,
    pub(super) turn: Turn,
    /// The configuration of now.
    pub(super) compiled: Compiled,
    /// Every change of it since.
    pub(super) changes: Changes,
}

/// Changes of the configuration.
pub(super) struct Changes {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    fn watch(path: &Path) -> anyhow::Result<Self> {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        Ok(Self { changed, _watcher: config::watch(path, move || notify.notify_one())? })
    }

    /// Waits for a change, or returns at once if there was one since the last call.
    pub(super) async fn next(&self) {
        self.changed.notified().await;
    }
}

/// Loads a configuration for this node.
///
/// # Errors
/// It is invalid, or names an egress address that the node does not have.
fn load(path: &Path) -> Result<Compiled, Error> {
    let compiled = config::load(path, Generation(1)).map_err(|errors| Error::Invalid(errors.to_string()))?;
    egress_on_node(&compiled.model)?;
    Ok(compiled)
}

/// Waits until this process may start, and returns the configuration of now: it may have changed during the wait, which has no limit.
/// Returns nothing if a signal ended the wait.
pub(super) async fn begin(options: &Options, signals: &mut Signals) -> Result<Option<Begun>, Error> {
    // Before it is read, so that no change is lost between. Why it cannot be read says more than why it cannot be watched.
    let changes = Changes::watch(&options.config);
    // What is wrong with it already is told before any wait.
    let mut compiled = load(&options.config)?;
    let changes = changes?;
    capabilities::check()?;
    loop {
        let socket = compiled.settings.admin_socket.clone();
        let instance = Instance::new(options.instance.clone(), &socket);
        let asked = Instant::now();
        let Some(turn) = instance.turn(signals).await? else { return Ok(None) };
        if asked.elapsed() >= AT_ONCE {
            compiled = load(&options.config)?;
        }
        if compiled.settings.admin_socket == socket {
            tell_warnings(&compiled.model);
            return Ok(Some(Begun { instance, turn, compiled, changes }));
        }
        // The turn was that of another socket.
    }
}
