//! Keeps the kernel's table up to date with the configuration and the resolved names.

mod left;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
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
use crate::model::{Api, Generation, Mode, Model, Redirect, Scope, Wildcard};
use crate::names::{self, Changes, Listings, Names, RowsAt};
use crate::tls::{self, Leaves};

pub(super) use self::left::{IsGone, Left};

/// How often warnings are looked for while names change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes the kernel's table from the configuration and the names' addresses.
pub(super) struct Publisher {
    capture: Arc<Capture>,
    models: Arc<Models>,
    names: Arc<Names>,
    left: Left,
    /// How many rows the table has no room for.
    left_out: Arc<AtomicUsize>,
    /// The warnings that were logged, and when they were looked for.
    warned: HashSet<String>,
    looked: Option<Instant>,
    /// What is in the table, and how much: rows for everybody, and rows of owners.
    published: HashMap<IpAddr, RowsAt>,
    counts: (usize, usize),
    /// The model that the table is made of, and its listings.
    made_of: Option<(Generation, Listings)>,
}

impl Publisher {
    /// Creates it; `left_out` tells how many rows the table has no room for.
    pub(super) fn new(
        capture: &Arc<Capture>,
        models: &Arc<Models>,
        names: &Arc<Names>,
        left: Left,
        left_out: &Arc<AtomicUsize>,
    ) -> Self {
        Self {
            capture: Arc::clone(capture),
            models: Arc::clone(models),
            names: Arc::clone(names),
            left,
            left_out: Arc::clone(left_out),
            warned: HashSet::new(),
            looked: None,
            published: HashMap::new(),
            counts: (0, 0),
            made_of: None,
        }
    }

    /// Makes the whole table.
    pub(super) fn publish(&mut self) -> Result<(), capture::Error> {
        if self.names.all_resolved() {
            self.left.let_names_decide();
        }
        self.warn();
        let model = self.models.current();
        let listings = Listings::of(&model);
        let room = capture::CAPACITY.saturating_sub(self.left.everybodys());
        let everywhere = self.names.everywhere();
        let table = names::table(&model, room, |listing| everywhere.get(listing).cloned().unwrap_or_default());
        let mut everybody: HashMap<IpAddr, Vec<Redirect>> = HashMap::new();
        let is_everybodys: HashSet<_> = table.rows.iter().map(|row| row.destination).collect();
        for row in table.rows {
            everybody.entry(row.destination.ip()).or_default().push(row);
        }
        let scoped = self.names.scoped();
        let of_owners =
            scoped.iter().flat_map(|(address, owners)| names::scoped_rows_at(&model, &listings, *address, owners));
        let mut of_owners: Vec<_> = of_owners.filter(|row| !is_everybodys.contains(&row.destination)).collect();
        // Each needs a row for everybody that leads there, at worst.
        let room = capture::SCOPED_CAPACITY.min(room - is_everybodys.len());
        self.alarm(&table.left_out, names::fit(&mut of_owners, room));
        let mut owners: HashMap<IpAddr, Vec<Redirect>> = HashMap::new();
        for row in of_owners {
            owners.entry(row.destination.ip()).or_default().push(row);
        }
        let addresses: HashSet<_> =
            everybody.keys().chain(owners.keys()).copied().chain(self.left.addresses()).collect();
        let of_address = |address: IpAddr| {
            let (everybody, owners) = (everybody.remove(&address), owners.remove(&address));
            let rows =
                names::joined(everybody.into_iter().flatten(), owners.into_iter().flatten(), self.left.at(address));
            (address, rows)
        };
        self.published = addresses.into_iter().map(of_address).collect();
        self.counts = self.published.values().map(count).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        self.made_of = Some((model.generation, listings));
        let rows: Vec<_> = self.published.values().flat_map(BTreeMap::values).cloned().collect();
        self.capture.publish(&rows)
    }

    /// Brings the rows of some addresses up to date: the whole table, where that is not enough.
    fn publish_changes(&mut self, changes: &Changes) -> Result<(), capture::Error> {
        let model = self.models.current();
        match (&changes.addresses, &self.made_of) {
            (Some(addresses), Some((generation, listings)))
                if *generation == model.generation
                    && !(self.left.waits() && self.names.all_resolved())
                    && self.left_out.load(Ordering::Relaxed) == 0 =>
            {
                let (mut wanted, mut gone, mut counts) = (Vec::new(), Vec::new(), self.counts);
                let mut published = Vec::new();
                for address in addresses.iter().copied().collect::<HashSet<_>>() {
                    let everybody = names::rows_at(&model, listings, address, &self.names.listings_at(address));
                    let owners = names::scoped_rows_at(&model, listings, address, &self.names.scoped_at(address));
                    let rows = names::joined(everybody, owners, self.left.at(address));
                    let before = self.published.get(&address);
                    let was = |key| before.and_then(|before| before.get(key));
                    let gone_from = before.into_iter().flat_map(BTreeMap::keys).filter(|key| !rows.contains_key(key));
                    gone.extend(gone_from.map(|(scope, port)| (*scope, SocketAddr::new(address, *port))));
                    wanted.extend(rows.iter().filter(|(key, row)| was(key) != Some(row)).map(|(_, row)| row.clone()));
                    let (less, more) = (before.map_or((0, 0), count), count(&rows));
                    counts = (counts.0 + more.0 - less.0, counts.1 + more.1 - less.1);
                    published.push((address, rows));
                }
                if counts.0 > capture::CAPACITY || counts.1 > capture::SCOPED_CAPACITY {
                    return self.publish();
                }
                let result = self.capture.change(&wanted, &gone);
                self.counts = counts;
                for (address, rows) in published {
                    match rows.is_empty() {
                        true => drop(self.published.remove(&address)),
                        false => drop(self.published.insert(address, rows)),
                    }
                }
                if self.looked.is_none_or(|looked| looked.elapsed() > LOOK_EVERY) {
                    self.warn();
                }
                // What is in the table is not known: make all of it.
                result.or_else(|_| self.publish())
            }
            _ => self.publish(),
        }
    }

    /// Forgets rows of a former process whose time is over.
    fn expire(&mut self) {
        if self.left.expire()
            && let Err(error) = self.publish()
        {
            tracing::error!(%error, "cannot change the kernel's table");
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

    /// Tells once which APIs, and whether owners, have more addresses than their share of the table.
    fn alarm(&self, of_apis: &[(Arc<str>, usize)], of_owners: usize) {
        let left_out = of_apis.iter().map(|(_, rows)| rows).sum::<usize>() + of_owners;
        if self.left_out.swap(left_out, Ordering::Relaxed) > 0 {
            return;
        }
        for (api, rows) in of_apis {
            tracing::error!(%api, rows, "addresses of this API are not captured: the kernel's table is full");
        }
        if of_owners > 0 {
            tracing::error!(
                rows = of_owners,
                "addresses from DNS servers that the node does not trust are not captured: the kernel's table is full"
            );
        }
    }
}

/// Returns how many rows are for everybody, and how many are of owners.
fn count(rows: &RowsAt) -> (usize, usize) {
    let everybodys = rows.keys().filter(|(scope, _)| *scope == Scope::Everybody).count();
    (everybodys, rows.len() - everybodys)
}

/// Publishes changes until stopped.
pub(super) fn spawn_publisher(mut publisher: Publisher, stop: &CancellationToken) {
    const EXPIRE_EVERY: Duration = Duration::from_secs(5);
    let stop = stop.clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let names = Arc::clone(&publisher.names);
        let mut expiry = tokio::time::interval(EXPIRE_EVERY);
        loop {
            let changes = tokio::select! {
                changes = names.changes() => changes,
                _ = expiry.tick() => {
                    publisher.expire();
                    continue;
                }
            };
            if let Err(error) = publisher.publish_changes(&changes) {
                tracing::error!(%error, "cannot change the kernel's table");
            }
            names.published(&changes);
        }
    }));
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
        Ok(Compiled { model, places, .. }) => {
            if (Model { generation: current.generation, ..model.clone() }) != *current {
                let model = Arc::new(model);
                tracing::info!(generation = model.generation.0, "the changed configuration is in force");
                tell_warnings(&model);
                names.follow(&model);
                models.adopt(Arc::clone(&model));
                sender.send_replace(model);
                names.republish();
            }
            models.moved(places);
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
