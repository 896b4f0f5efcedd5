use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Entry, Learned};
use super::wanted::Wanted;
use super::{KnownName, OnNode, Settings, resolve};
use crate::model::{Host, Reach};

/// The hosts that the configuration lists, and their addresses in both directions.
#[derive(Debug, Default)]
pub(super) struct Listed {
    hosts: BTreeMap<Host, Entry>,
    at: HashMap<IpAddr, Vec<Host>>,
    /// The names below wildcards that are among `hosts`.
    wanted: Wanted,
}

/// What resolution says of a host.
#[derive(Clone, Debug)]
pub struct NameStatus {
    /// The name of the host.
    pub host: Host,
    /// Its addresses, current ones first.
    pub addresses: Vec<IpAddr>,
    /// The addresses in the newest response that are not accepted, and why.
    pub refused: Vec<(IpAddr, &'static str)>,
    /// Why it could not be resolved the last time.
    pub error: Option<String>,
}

impl Listed {
    /// Time after which a name below a wildcard is forgotten that nobody needs.
    const UNUSED: Duration = Duration::from_secs(300);

    pub(super) fn addresses(&mut self, host: &Host, now: Instant) -> Vec<IpAddr> {
        let Some(entry) = self.hosts.get_mut(host) else { return Vec::new() };
        if let Some(used) = &mut entry.used {
            *used = now;
        }
        entry.addresses()
    }

    /// Notes that an owner needs the addresses of a name below a wildcard; returns whether they still have to be asked for.
    pub(super) fn want(&mut self, host: &Host, owner: &Arc<str>, reach: &Reach, now: Instant) -> bool {
        if self.hosts.get(host).is_some_and(|entry| entry.used.is_none()) {
            return false;
        }
        for forgotten in self.wanted.want(owner, host) {
            self.forget(&forgotten);
        }
        let entry = self.hosts.entry(host.clone()).or_insert_with(|| Entry::new(reach.clone(), now));
        entry.used = Some(now);
        !entry.tried
    }

    pub(super) fn is_tried(&self, host: &Host) -> bool {
        self.hosts.get(host).is_none_or(|entry| entry.tried)
    }

    /// Forgets the names below wildcards that nobody has needed lately.
    pub(super) fn forget_unused(&mut self, now: Instant) {
        let is_unused =
            |entry: &Entry| entry.used.is_some_and(|used| now.saturating_duration_since(used) >= Self::UNUSED);
        let unused: Vec<_> =
            self.hosts.iter().filter(|(_, entry)| is_unused(entry)).map(|(host, _)| host.clone()).collect();
        for host in unused {
            self.wanted.forget(&host);
            self.forget(&host);
        }
    }

    fn forget(&mut self, host: &Host) {
        let entry = self.hosts.remove(host);
        self.index(host, &entry.map(|entry| entry.addresses()).unwrap_or_default(), &[]);
    }

    pub(super) fn hosts_at(&self, address: IpAddr) -> Vec<Host> {
        self.at.get(&address).cloned().unwrap_or_default()
    }

    pub(super) fn knows(&self, host: &Host) -> bool {
        self.hosts.get(host).is_some_and(|entry| entry.used.is_none())
    }

    pub(super) fn status(&self) -> Vec<NameStatus> {
        let row = |(host, entry): (&Host, &Entry)| NameStatus {
            host: host.clone(),
            addresses: entry.addresses(),
            refused: entry.refused.clone(),
            error: entry.error.clone(),
        };
        self.hosts.iter().filter(|(_, entry)| entry.used.is_none()).map(row).collect()
    }

    /// Returns at most so many hosts and the number of all.
    pub(super) fn known(&self, most: usize, now: Instant) -> (Vec<KnownName>, usize) {
        let known = |(host, entry): (&Host, &Entry)| KnownName {
            name: host.to_string(),
            learnt: None,
            addresses: entry.addresses_with_age(now),
            error: entry.error.clone(),
        };
        (self.hosts.iter().take(most).map(known).collect(), self.hosts.len())
    }

    pub(super) fn all_tried(&self) -> bool {
        self.by_name().all(|entry| entry.tried)
    }

    /// Returns whether every host has an address.
    pub(super) fn all_resolved(&self) -> bool {
        self.by_name().all(Entry::is_resolved)
    }

    /// Returns the hosts that are listed by their names.
    fn by_name(&self) -> impl Iterator<Item = &Entry> {
        self.hosts.values().filter(|entry| entry.used.is_none())
    }

    /// Follows the configuration. A host whose rule for addresses changed is due at once.
    pub(super) fn follow(&mut self, listed: &BTreeMap<Host, Reach>, is_covered: impl Fn(&Host) -> bool, now: Instant) {
        let stays =
            |host: &Host, entry: &Entry| listed.contains_key(host) || (entry.used.is_some() && is_covered(host));
        let gone: Vec<_> =
            self.hosts.iter().filter(|(host, entry)| !stays(host, entry)).map(|(host, _)| host.clone()).collect();
        for host in gone {
            self.wanted.forget(&host);
            self.forget(&host);
        }
        for (host, reach) in listed {
            match self.hosts.get_mut(host) {
                Some(entry) => {
                    entry.used = None;
                    self.wanted.forget(host);
                    entry.follow(reach, now);
                }
                None => drop(self.hosts.insert(host.clone(), Entry::new(reach.clone(), now))),
            }
        }
    }

    /// Returns the hosts to ask about now, and notes that they are asked about.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Host> {
        let due = self.hosts.iter_mut().filter(|(_, entry)| !entry.asked && entry.next <= now);
        due.map(|(host, entry)| {
            entry.asked = true;
            host.clone()
        })
        .collect()
    }

    /// Returns when the next host is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.hosts.values().filter(|entry| !entry.asked).map(|entry| entry.next).min()
    }

    pub(super) fn learn(
        &mut self,
        host: &Host,
        response: Result<resolve::Response, String>,
        settings: &Settings,
        on_node: &OnNode,
        now: Instant,
    ) -> Learned {
        let Some(entry) = self.hosts.get_mut(host) else { return Learned::default() };
        let before = entry.addresses();
        let dropped = entry.learn(host, response, settings, on_node, now);
        let after = entry.addresses();
        if before != after {
            self.index(host, &before, &after);
        }
        let gone = before.iter().filter(|address| !after.contains(address));
        let changed = gone.chain(after.iter().filter(|address| !before.contains(address))).copied().collect();
        Learned { changed, dropped }
    }

    fn index(&mut self, host: &Host, before: &[IpAddr], after: &[IpAddr]) {
        for address in before {
            if let Some(hosts) = self.at.get_mut(address) {
                hosts.retain(|other| other != host);
                if hosts.is_empty() {
                    self.at.remove(address);
                }
            }
        }
        for address in after {
            self.at.entry(*address).or_default().push(host.clone());
        }
    }
}
