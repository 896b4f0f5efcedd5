//! Host names to addresses, kept fresh by TTL; names and APIs to the rows of the kernel's table.

mod resolve;

mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::model::{Host, Model};

pub use table::table;

/// The listed hosts and their addresses.
#[derive(Debug)]
pub struct Names {
    servers: Vec<SocketAddr>,
    keep: Duration,
    hosts: Mutex<BTreeMap<Host, Entry>>,
    tried: Notify,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Addresses with the moment they were last seen in DNS; the current ones first.
    addresses: Vec<(IpAddr, Instant)>,
    error: Option<String>,
    failures: u32,
    next: Instant,
    asked: bool,
    tried: bool,
}

/// What resolution says of a host.
#[derive(Clone, Debug)]
pub struct NameStatus {
    /// The host.
    pub host: Host,
    /// Its addresses, current ones first.
    pub addresses: Vec<IpAddr>,
    /// Why it could not be resolved the last time.
    pub error: Option<String>,
}

impl Names {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);
    const WORST_BACKOFF: Duration = Duration::from_secs(30);

    /// With these DNS servers, or the system's if there are none; addresses are kept this long after DNS dropped
    /// them.
    pub fn new(servers: &[SocketAddr], keep: Duration) -> Self {
        Self { servers: servers.to_vec(), keep, hosts: Mutex::default(), tried: Notify::new() }
    }

    /// The addresses of a host, current ones first.
    pub fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        self.entries().get(host).map(|entry| entry.addresses.iter().map(|(ip, _)| *ip).collect()).unwrap_or_default()
    }

    /// Every listed host.
    pub fn status(&self) -> Vec<NameStatus> {
        let row = |(host, entry): (&Host, &Entry)| NameStatus {
            host: host.clone(),
            addresses: entry.addresses.iter().map(|(ip, _)| *ip).collect(),
            error: entry.error.clone(),
        };
        self.entries().iter().map(row).collect()
    }

    /// Ends when every host of the model has been tried at least once.
    pub async fn tried_once(&self) {
        loop {
            let notified = self.tried.notified();
            if self.entries().values().all(|entry| entry.tried) {
                return;
            }
            notified.await;
        }
    }

    /// Takes the model's hosts in: new ones are due at once, those that are not listed any more are forgotten.
    pub fn follow(&self, model: &Model) {
        let listed = model.hosts();
        let mut entries = self.entries();
        entries.retain(|host, _| listed.contains(host));
        for host in listed {
            entries.entry(host).or_insert_with(|| Entry {
                addresses: Vec::new(),
                error: None,
                failures: 0,
                next: Instant::now(),
                asked: false,
                tried: false,
            });
        }
    }

    /// Keeps the addresses fresh; calls back whenever some changed. Never ends.
    pub async fn run(self: Arc<Self>, mut models: watch::Receiver<Arc<Model>>, on_change: impl Fn() + Send + Sync) {
        let mut lookups = JoinSet::new();
        loop {
            for host in self.due(Instant::now()) {
                let servers = self.servers.clone();
                lookups.spawn(async move { (resolve::resolve(&servers, &host).await, host) });
            }
            let next = self.entries().values().filter(|entry| !entry.asked).map(|entry| entry.next).min();
            let wait = next.map_or(Self::LONGEST, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                // One answer at a time: a server that is silent about one host holds up no other.
                Some(done) = lookups.join_next() => {
                    if let Ok((answer, host)) = done
                        && self.learn(&host, answer, Instant::now())
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

    /// The hosts to ask about now.
    fn due(&self, now: Instant) -> Vec<Host> {
        let mut entries = self.entries();
        let due = entries.iter_mut().filter(|(_, entry)| !entry.asked && entry.next <= now);
        due.map(|(host, entry)| {
            entry.asked = true;
            host.clone()
        })
        .collect()
    }

    /// Takes an answer in; says whether the addresses are others now.
    fn learn(&self, host: &Host, answer: Result<resolve::Answer, String>, now: Instant) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(host) else { return false };
        (entry.asked, entry.tried) = (false, true);
        let before: Vec<_> = entry.addresses.iter().map(|(ip, _)| *ip).collect();
        match answer {
            Ok(answer) => {
                let kept = entry.addresses.iter().copied().filter(|(ip, seen)| {
                    !answer.addresses.contains(ip) && now.saturating_duration_since(*seen) < self.keep
                });
                entry.addresses = answer.addresses.iter().map(|ip| (*ip, now)).chain(kept).collect();
                entry.error = None;
                entry.failures = 0;
                entry.next = now + answer.ttl.clamp(Self::SHORTEST, Self::LONGEST);
            }
            Err(error) => {
                tracing::warn!(%host, %error, "a listed host cannot be resolved: its known addresses stay captured");
                entry.error = Some(error);
                entry.failures = entry.failures.saturating_add(1);
                let backoff = Self::SHORTEST.saturating_mul(2u32.saturating_pow(entry.failures.min(5) - 1));
                entry.next = now + backoff.min(Self::WORST_BACKOFF);
            }
        }
        before != entry.addresses.iter().map(|(ip, _)| *ip).collect::<Vec<_>>()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Host, Entry>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
