use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Host, Listing, Model, Reach, domains_above};

/// The listings of the configuration, by name. Immutable.
#[derive(Debug, Default)]
pub(super) struct Directory {
    hosts: HashMap<Host, Entry>,
    below: HashMap<Host, Entry>,
}

/// A listing, the addresses that its names may have, and the ports that it is captured with.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) listing: Arc<Listing>,
    pub(super) reach: Reach,
    ports: Vec<u16>,
}

impl Directory {
    pub(super) fn of(model: &Model) -> Self {
        let mut directory = Self::default();
        for api in &model.apis {
            for listing in api.listings() {
                let (entries, key) = match &listing {
                    Listing::Host(host) => (&mut directory.hosts, host.clone()),
                    Listing::Wildcard(wildcard) => (&mut directory.below, wildcard.domain().clone()),
                };
                let entry = entries.entry(key).or_insert_with(|| Entry {
                    listing: Arc::new(listing),
                    reach: Reach::Public(Vec::new()),
                    ports: Vec::new(),
                });
                entry.ports.extend_from_slice(&api.ports);
                if let Reach::Public(allowed) = &mut entry.reach {
                    allowed.extend_from_slice(&api.allow_addresses);
                }
            }
        }
        directory
    }

    /// Returns whether a name is listed: in lower case, without a trailing dot.
    pub(super) fn lists(&self, name: &str) -> bool {
        self.hosts.contains_key(name) || (!self.below.is_empty() && self.wildcards(name).next().is_some())
    }

    /// Returns the listings that hold for a name with one port or another: for each port, the most exact one.
    pub(super) fn listings<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        let mut ports: Vec<u16> = Vec::new();
        self.hosts.get(name).into_iter().chain(self.wildcards(name)).filter(move |entry| {
            let is_more = entry.ports.iter().any(|port| !ports.contains(port));
            ports.extend_from_slice(&entry.ports);
            is_more
        })
    }

    /// Returns the entry of a listing.
    pub(super) fn entry(&self, listing: &Listing) -> Option<&Entry> {
        match listing {
            Listing::Host(host) => self.hosts.get(host),
            Listing::Wildcard(wildcard) => self.below.get(wildcard.domain()),
        }
    }

    fn wildcards<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        domains_above(name).filter_map(|domain| self.below.get(domain))
    }
}
