//! Keeps the kernel's table up to date with the configuration and the resolved names.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::egress::egress_on_node;
use super::log;
use super::models::Models;
use super::warnings::warnings;
use crate::capture::{self, Capture};
use crate::config::{self, Compiled};
use crate::model::{Api, Generation, Mode, Model, Redirect, Wildcard};
use crate::names::{self, Changes, Listings, Names, Table};
use crate::tls::{self, Leaves};

/// How often warnings are looked for while names change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes the kernel's table from the configuration and the names' addresses.
pub(super) struct Publisher {
    capture: Arc<Capture>,
    models: Arc<Models>,
    names: Arc<Names>,
    /// Rows that a former process left. They stay until each listed host is resolved: if DNS fails at the start, connections that
    /// were captured before must not go direct.
    adopted: Vec<Redirect>,
    /// How many rows the table has no room for.
    left_out: Arc<AtomicUsize>,
    /// The warnings that were logged, and when they were looked for.
    warned: HashSet<String>,
    looked: Option<Instant>,
    /// What is in the table.
    published: HashMap<SocketAddr, Redirect>,
    /// The model that the table is made of, and its listings.
    made_of: Option<(Generation, Listings)>,
}

impl Publisher {
    /// Creates it; `left_out` tells how many rows the table has no room for.
    pub(super) fn new(
        capture: &Arc<Capture>,
        models: &Arc<Models>,
        names: &Arc<Names>,
        adopted: Vec<Redirect>,
        left_out: &Arc<AtomicUsize>,
    ) -> Self {
        Self {
            capture: Arc::clone(capture),
            models: Arc::clone(models),
            names: Arc::clone(names),
            adopted,
            left_out: Arc::clone(left_out),
            warned: HashSet::new(),
            looked: None,
            published: HashMap::new(),
            made_of: None,
        }
    }

    /// Makes the whole table.
    pub(super) fn publish(&mut self) -> Result<(), capture::Error> {
        if !self.adopted.is_empty() && self.names.all_resolved() {
            self.adopted.clear();
        }
        self.warn();
        let model = self.models.current();
        let room = capture::CAPACITY.saturating_sub(self.adopted.len());
        let everywhere = self.names.everywhere();
        let table = names::table(&model, room, |listing| everywhere.get(listing).cloned().unwrap_or_default());
        self.alarm(&table);
        let mut rows = table.rows;
        let wanted: HashSet<_> = rows.iter().map(|row| row.destination).collect();
        rows.extend(self.adopted.iter().filter(|row| !wanted.contains(&row.destination)).cloned());
        self.made_of = Some((model.generation, Listings::of(&model)));
        let result = self.capture.publish(&rows);
        self.published = rows.into_iter().map(|row| (row.destination, row)).collect();
        result
    }

    /// Brings the rows of some addresses up to date: the whole table, where that is not enough.
    fn publish_changes(&mut self, changes: &Changes) -> Result<(), capture::Error> {
        let model = self.models.current();
        match (&changes.addresses, &self.made_of) {
            (Some(addresses), Some((generation, listings)))
                if *generation == model.generation
                    && self.adopted.is_empty()
                    && self.left_out.load(Ordering::Relaxed) == 0 =>
            {
                let (mut wanted, mut gone) = (Vec::new(), Vec::new());
                for address in addresses {
                    let there = self.names.listings_at(*address);
                    let rows = names::rows_at(&model, listings, *address, &there);
                    let ports =
                        listings.ports.iter().filter(|port| !rows.iter().any(|row| row.destination.port() == **port));
                    let missing = ports.map(|port| SocketAddr::new(*address, *port));
                    gone.extend(missing.filter(|destination| self.published.contains_key(destination)));
                    wanted.extend(rows.into_iter().filter(|row| self.published.get(&row.destination) != Some(row)));
                }
                let new = wanted.iter().filter(|row| !self.published.contains_key(&row.destination)).count();
                if self.published.len() + new - gone.len() > capture::CAPACITY {
                    return self.publish();
                }
                let result = self.capture.change(&wanted, &gone);
                for destination in &gone {
                    self.published.remove(destination);
                }
                self.published.extend(wanted.into_iter().map(|row| (row.destination, row)));
                if self.looked.is_none_or(|looked| looked.elapsed() > LOOK_EVERY) {
                    self.warn();
                }
                // What is in the table is not known: make all of it.
                result.or_else(|_| self.publish())
            }
            _ => self.publish(),
        }
    }

    /// Logs each warning once.
    fn warn(&mut self) {
        self.looked = Some(Instant::now());
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

/// Publishes changes until stopped.
pub(super) fn spawn_publisher(mut publisher: Publisher, stop: &CancellationToken) {
    let stop = stop.clone();
    tokio::spawn(async move {
        let names = Arc::clone(&publisher.names);
        while let Some(changes) = stop.run_until_cancelled(names.changes()).await {
            if let Err(error) = publisher.publish_changes(&changes) {
                tracing::error!(%error, "cannot change the kernel's table");
            }
            names.published(&changes);
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
                names.republish();
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
    let intercepted = model.apis.iter().filter(|api| api.mode == Mode::Intercept);
    // A CA that may sign for the domain may sign for the names below it (RFC 5280 §4.2.1.10).
    let hosts =
        |api: &'_ Api| api.hosts.iter().chain(api.wildcards.iter().map(Wildcard::domain)).cloned().collect::<Vec<_>>();
    let hosts: Vec<_> = intercepted.flat_map(hosts).collect();
    if hosts.is_empty() { Ok(()) } else { leaves.ready(&hosts) }
}
