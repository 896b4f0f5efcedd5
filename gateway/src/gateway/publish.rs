//! Keeps the kernel's table up to date with the configuration and the resolved names.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::egress::egress_on_node;
use super::log;
use super::models::Models;
use super::warnings::warnings;
use crate::capture::{self, Capture};
use crate::config::{self, Compiled};
use crate::model::{Generation, Mode, Model, Redirect};
use crate::names::{self, Names, Table};
use crate::tls::{self, Leaves};

/// Writes the kernel's table from the configuration and the resolved names.
pub(super) struct Publisher {
    pub(super) capture: Arc<Capture>,
    pub(super) models: Arc<Models>,
    pub(super) names: Arc<Names>,
    /// Rows that a former process left. They stay until each listed host is resolved: if DNS fails at the start, connections that
    /// were captured before must not go direct.
    pub(super) adopted: Vec<Redirect>,
    /// How many rows the table has no room for.
    pub(super) left_out: Arc<AtomicUsize>,
    /// The warnings that were logged.
    pub(super) warned: HashSet<String>,
}

impl Publisher {
    pub(super) fn publish(&mut self) -> Result<(), capture::Error> {
        if self.names.status().iter().all(|name| !name.addresses.is_empty()) {
            self.adopted.clear();
        }
        self.warn();
        let room = capture::CAPACITY.saturating_sub(self.adopted.len());
        let table = names::table(&self.models.current(), room, |host| self.names.addresses(host));
        self.alarm(&table);
        let mut rows = table.rows;
        let wanted: HashSet<_> = rows.iter().map(|row| row.destination).collect();
        rows.extend(self.adopted.iter().filter(|row| !wanted.contains(&row.destination)).cloned());
        self.capture.publish(&rows)
    }

    /// Logs each warning once.
    fn warn(&mut self) {
        let warnings = warnings(&self.models.current(), &self.names);
        self.warned.retain(|warned| warnings.contains(warned));
        for warning in warnings {
            if self.warned.insert(warning.clone()) {
                tracing::warn!("{}", warning.trim_start_matches("warning: "));
            }
        }
    }

    /// Tells once which APIs have more addresses than their share of the table.
    fn alarm(&self, table: &Table) {
        let left_out = table.left_out.iter().map(|(_, rows)| rows).sum();
        if self.left_out.swap(left_out, Ordering::Relaxed) == 0 {
            for (api, rows) in &table.left_out {
                tracing::error!(%api, rows, "addresses of this API are not captured: the kernel's table is full");
            }
        }
    }
}

/// Publishes the table after each change until stopped.
pub(super) fn spawn_publisher(mut publisher: Publisher, changed: &Arc<Notify>, stop: &CancellationToken) {
    let (changed, stop) = (Arc::clone(changed), stop.clone());
    tokio::spawn(async move {
        while stop.run_until_cancelled(changed.notified()).await.is_some() {
            if let Err(error) = publisher.publish() {
                tracing::error!(%error, "cannot change the kernel's table");
            }
        }
    });
}

/// Loads the changed configuration and puts it in force. An invalid one changes nothing.
pub(super) fn reload(
    path: &Path,
    models: &Models,
    names: &Names,
    leaves: &Leaves,
    config_error: &Mutex<Option<String>>,
    sender: &watch::Sender<Arc<Model>>,
    changed: &Notify,
) {
    let current = models.current();
    let loaded = config::load(path, Generation(current.generation.0 + 1))
        .map_err(|errors| errors.to_string())
        .and_then(|compiled| {
            let ready = egress_on_node(&compiled.model).and_then(|()| Ok(ready_to_intercept(&compiled.model, leaves)?));
            ready.map(|()| compiled).map_err(|error| format!("{error:#}"))
        });
    let error = match loaded {
        Ok(Compiled { model, .. }) => {
            if (Model { generation: current.generation, ..model.clone() }) != *current {
                let model = Arc::new(model);
                tracing::info!(generation = model.generation.0, "the changed configuration is in force");
                tell_warnings(&model);
                names.follow(&model);
                models.adopt(Arc::clone(&model));
                sender.send_replace(model);
                changed.notify_one();
            }
            None
        }
        Err(text) => {
            tracing::error!(generation = current.generation.0, "the changed configuration is refused");
            log::lines(&text).for_each(|line| tracing::error!("{line}"));
            Some(text)
        }
    };
    *config_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
}

/// Writes the warnings of a configuration to the log.
pub(super) fn tell_warnings(model: &Model) {
    for warning in &model.warnings {
        log::lines(warning).for_each(|line| tracing::warn!("{line}"));
    }
}

/// Checks that there is a CA which may sign for the hosts of intercepted APIs, before any is intercepted.
pub(super) fn ready_to_intercept(model: &Model, leaves: &Leaves) -> Result<(), tls::Error> {
    let mut hosts = model.apis.iter().filter(|api| api.mode == Mode::Intercept).flat_map(|api| &api.hosts).peekable();
    if hosts.peek().is_some() { leaves.ready(hosts) } else { Ok(()) }
}
