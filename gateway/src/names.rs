//! Resolves host names, keeps their addresses fresh by TTL, and derives the rows of the kernel's table.

mod directory;

mod entry;

mod exempt;

mod forwarder;

mod learnt;

mod listed;

mod observed;

mod publication;

mod resolve;

mod scoped;

mod seen;

mod strangers;

mod table;

#[cfg(test)]
mod testing;

mod trusted;

mod wanted;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::directory::Directory;
use self::learnt::{Bounds, Learnt};
use self::listed::Listed;
use self::observed::Observed;
use self::publication::Publication;
use self::resolve::{Families, Resolver};
use self::strangers::Strangers;
use self::trusted::Trusted;
use crate::model::{Exempt, Host, Model};

pub use forwarder::{
    Exit as DnsExit, ForeignSockets as ForeignDnsSockets, Forwarder, Rooms as DnsRooms,
    STALE_AFTER as FORWARDER_STALE_AFTER, Sockets as DnsSockets,
};
pub use listed::NameStatus;
pub use publication::Changes;
pub use scoped::{RowsAt, fit, joined, scoped_rows_at};
pub use seen::{KnownAddress, KnownName, Seen};
pub use table::{Listings, Table, rows_at, table};

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// DNS servers; those of the system, if there are none.
    pub servers: Vec<SocketAddr>,
    /// How long an address is kept after DNS dropped it.
    pub keep: Duration,
    /// Most addresses of a name.
    pub max_addresses: usize,
    /// DNS servers, beside those that Egret and the node ask, whose responses count for every caller.
    pub trusted_servers: Vec<SocketAddr>,
    /// Most names that are learnt from callers' DNS responses.
    pub max_names: usize,
    /// Most different addresses of these names.
    pub max_learnt: usize,
}

/// Returns whether an address is on the node.
pub type OnNode = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The listed hosts and their addresses; the hosts of strangers, as they come.
pub struct Names {
    settings: Settings,
    resolver: Resolver,
    on_node: OnNode,
    listed: Mutex<Listed>,
    directory: ArcSwap<Directory>,
    learnt: Mutex<Learnt>,
    trusted: Trusted,
    observed: Observed,
    publication: Publication,
    strangers: Strangers,
    tried: Notify,
    /// A name below a wildcard is due.
    due: Notify,
    dropped: AtomicU64,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    const LONGEST: Duration = Duration::from_secs(300);

    /// Most addresses of a name that are learnt from callers' DNS responses.
    const SEEN_OF_A_NAME: usize = 64;

    /// Creates it, without a host. `exempt` marks the sockets of its own lookups.
    pub fn new(settings: Settings, on_node: OnNode, exempt: Exempt) -> Self {
        let resolver = Resolver::new(settings.servers.clone(), exempt);
        let strangers = Strangers::new(resolver.clone());
        let trusted = Trusted::new(settings.servers.iter().chain(&settings.trusted_servers).copied());
        let bounds = Bounds {
            addresses_of_a_name: settings.max_addresses.min(Self::SEEN_OF_A_NAME),
            addresses: settings.max_learnt,
            names_of_an_owner: (settings.max_names / 4).max(1),
            names: settings.max_names,
        };
        Self {
            settings,
            resolver,
            on_node,
            listed: Mutex::default(),
            directory: ArcSwap::default(),
            learnt: Mutex::new(Learnt::new(bounds, Instant::now())),
            trusted,
            observed: Observed::new(),
            publication: Publication::default(),
            strangers,
            tried: Notify::new(),
            due: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Returns the addresses of a listed host, current ones first.
    pub fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        self.listed().addresses(host, Instant::now())
    }

    /// Resolves a name that only a wildcard lists, for this owner, and keeps it fresh while it is used. Returns when it is known, or
    /// after some seconds.
    pub async fn resolve(&self, host: &Host, owner: &Arc<str>) {
        const PATIENCE: Duration = Duration::from_secs(3);
        let directory = self.directory.load_full();
        let Some(entry) = directory.listings(host.as_str()).next() else { return };
        if !self.listed().want(host, owner, &entry.reach, Instant::now()) {
            return;
        }
        self.due.notify_one();
        let known = async {
            loop {
                let tried = self.tried.notified();
                if self.listed().is_tried(host) {
                    return;
                }
                tried.await;
            }
        };
        // The name stays wanted: a later connection finds it.
        let _ = tokio::time::timeout(PATIENCE, known).await;
    }

    /// Returns whether every listed host has an address.
    pub fn all_resolved(&self) -> bool {
        self.listed().all_resolved()
    }

    /// Returns whether DNS says that a host lives at an address. For a host that is not listed it asks, for some seconds at most.
    pub async fn lives_at(&self, host: Host, address: IpAddr) -> bool {
        // A statement of its own: the lock ends with it.
        let is_listed = self.listed().knows(&host);
        match is_listed {
            true => self.addresses(&host).contains(&address),
            false => self.strangers.lives_at(host, address).await,
        }
    }

    /// Returns the addresses of a host of Egret's own configuration, such as the API server's. Nothing is remembered.
    ///
    /// # Errors
    /// Why the host could not be resolved.
    pub async fn look_up(&self, host: &Host) -> Result<Vec<IpAddr>, String> {
        self.resolver.resolve(host, Families::Both).await.map(|response| response.addresses)
    }

    /// Returns the state of every listed host.
    pub fn status(&self) -> Vec<NameStatus> {
        self.listed().status()
    }

    /// Returns how many addresses were dropped because their names had too many.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every host of the model has been tried at least once.
    pub async fn tried_once(&self) {
        loop {
            let notified = self.tried.notified();
            if self.listed().all_tried() {
                return;
            }
            notified.await;
        }
    }

    /// Takes over the model's hosts: new ones are due at once, hosts that are not listed any more are forgotten.
    pub fn follow(&self, model: &Model) {
        self.directory.store(Arc::new(Directory::of(model)));
        let directory = self.directory.load();
        self.listed().follow(&model.hosts(), |host| directory.lists(host.as_str()), Instant::now());
        drop(directory);
        self.forget_unlisted();
    }

    /// Has the whole table published again: the configuration has changed.
    pub fn republish(&self) {
        self.publication.note_all();
    }

    /// Returns the next changes that the kernel's table does not have, once there are some.
    pub async fn changes(&self) -> Changes {
        self.publication.due().await;
        self.publication.take()
    }

    /// Notes that the kernel's table has these changes, as far as it can have them.
    pub fn published(&self, changes: &Changes) {
        self.publication.finish(changes);
    }

    /// Keeps the addresses fresh. Never ends.
    pub async fn run(self: Arc<Self>, mut models: watch::Receiver<Arc<Model>>) {
        let mut lookups = JoinSet::new();
        loop {
            for host in self.listed().due(Instant::now()) {
                let resolver = self.resolver.clone();
                lookups.spawn(async move { (resolver.resolve(&host, Families::Both).await, host) });
            }
            let next = self.listed().next();
            let wait = next.map_or(Self::LONGEST, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                // One response at a time: a server that is silent about one host holds up no other.
                Some(done) = lookups.join_next() => {
                    if let Ok((response, host)) = done {
                        self.learn(&host, response);
                    }
                    self.tried.notify_waiters();
                }
                () = tokio::time::sleep(wait) => {}
                () = self.due.notified() => {}
                changed = models.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Takes a response in.
    fn learn(&self, host: &Host, response: Result<resolve::Response, String>) {
        let learned = self.listed().learn(host, response, &self.settings, &self.on_node, Instant::now());
        if learned.dropped > 0 {
            self.dropped.fetch_add(learned.dropped, Ordering::Relaxed);
        }
        if !learned.changed.is_empty() {
            self.publication.note(learned.changed);
        }
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
