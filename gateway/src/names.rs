//! Resolves host names, keeps their addresses fresh by TTL, and derives the rows of the kernel's table.

mod entry;

mod forwarder;

mod listed;

mod resolve;

mod strangers;

mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::listed::Listed;
use self::strangers::Strangers;
use crate::model::{Host, Model};

pub use forwarder::{
    Forwarder, Response as DnsResponse, Rooms as DnsRooms, STALE_AFTER as FORWARDER_STALE_AFTER, Sockets as DnsSockets,
};
pub use listed::NameStatus;
pub use table::{Table, table};

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// DNS servers; those of the system, if there are none.
    pub servers: Vec<SocketAddr>,
    /// How long an address is kept after DNS dropped it.
    pub keep: Duration,
    /// Most addresses of a name.
    pub max_addresses: usize,
}

/// Returns whether an address is on the node.
pub type OnNode = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The listed hosts and their addresses; the hosts of strangers, as they come.
pub struct Names {
    settings: Settings,
    on_node: OnNode,
    listed: Mutex<Listed>,
    strangers: Strangers,
    tried: Notify,
    dropped: AtomicU64,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    const LONGEST: Duration = Duration::from_secs(300);

    /// Creates it, without a host.
    pub fn new(settings: Settings, on_node: OnNode) -> Self {
        let strangers = Strangers::new(settings.servers.clone());
        Self {
            settings,
            on_node,
            listed: Mutex::default(),
            strangers,
            tried: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Returns the addresses of a listed host, current ones first.
    pub fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        self.listed().addresses(host)
    }

    /// Returns the listed hosts that have an address.
    pub fn hosts_at(&self, address: IpAddr) -> Vec<Host> {
        self.listed().hosts_at(address)
    }

    /// Returns whether DNS says that a host lives at an address. For a host that is not listed it asks, for some seconds at most.
    pub async fn lives_at(&self, host: Host, address: IpAddr) -> bool {
        let known = self.listed().knows(&host).then(|| self.addresses(&host));
        match known {
            Some(addresses) => addresses.contains(&address),
            None => self.strangers.lives_at(host, address).await,
        }
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
        self.listed().follow(&model.hosts(), Instant::now());
    }

    /// Keeps the addresses fresh; calls back whenever some changed. Never ends.
    pub async fn run(self: Arc<Self>, mut models: watch::Receiver<Arc<Model>>, on_change: impl Fn() + Send + Sync) {
        let mut lookups = JoinSet::new();
        loop {
            for host in self.listed().due(Instant::now()) {
                let servers = self.settings.servers.clone();
                lookups.spawn(async move { (resolve::resolve(&servers, &host, resolve::Families::Both).await, host) });
            }
            let next = self.listed().next();
            let wait = next.map_or(Self::LONGEST, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                // One response at a time: a server that is silent about one host holds up no other.
                Some(done) = lookups.join_next() => {
                    if let Ok((response, host)) = done
                        && self.learn(&host, response)
                    {
                        on_change();
                    }
                    self.tried.notify_waiters();
                }
                () = tokio::time::sleep(wait) => {}
                changed = models.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Takes a response in; returns whether the addresses have changed.
    fn learn(&self, host: &Host, response: Result<resolve::Response, String>) -> bool {
        let learned = self.listed().learn(host, response, &self.settings, &self.on_node, Instant::now());
        if learned.dropped > 0 {
            self.dropped.fetch_add(learned.dropped, Ordering::Relaxed);
        }
        learned.changed
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
