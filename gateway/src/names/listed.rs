use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use super::entry::{Entry, Learned};
use super::{OnNode, Settings, resolve};
use crate::model::{Host, Reach};

/// The hosts that the configuration lists, and their addresses in both directions.
#[derive(Debug, Default)]
pub(super) struct Listed {
    hosts: BTreeMap<Host, Entry>,
    at: HashMap<IpAddr, Vec<Host>>,
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
    pub(super) fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        self.hosts.get(host).map(Entry::addresses).unwrap_or_default()
    }

    pub(super) fn hosts_at(&self, address: IpAddr) -> Vec<Host> {
        self.at.get(&address).cloned().unwrap_or_default()
    }

    pub(super) fn knows(&self, host: &Host) -> bool {
        self.hosts.contains_key(host)
    }

    pub(super) fn status(&self) -> Vec<NameStatus> {
        let row = |(host, entry): (&Host, &Entry)| NameStatus {
            host: host.clone(),
            addresses: entry.addresses(),
            refused: entry.refused.clone(),
            error: entry.error.clone(),
        };
        self.hosts.iter().map(row).collect()
    }

    pub(super) fn all_tried(&self) -> bool {
        self.hosts.values().all(|entry| entry.tried)
    }

    /// Returns whether every host has an address.
    pub(super) fn all_resolved(&self) -> bool {
        self.hosts.values().all(Entry::is_resolved)
    }

    /// Follows the configuration. A host whose rule for addresses changed is due at once.
    pub(super) fn follow(&mut self, listed: &BTreeMap<Host, Reach>, now: Instant) {
        let gone: Vec<_> = self.hosts.keys().filter(|host| !listed.contains_key(*host)).cloned().collect();
        for host in gone {
            let entry = self.hosts.remove(&host);
            self.index(&host, &entry.map(|entry| entry.addresses()).unwrap_or_default(), &[]);
        }
        for (host, reach) in listed {
            match self.hosts.get_mut(host) {
                Some(entry) => entry.follow(reach, now),
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
