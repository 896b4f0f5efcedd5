use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Names;
use super::entry::{LONGEST, SHORTEST, refusal};
use super::learnt::{Learnt, Source};
use crate::model::{Host, Listing, Scope, Wildcard};

/// The addresses in a DNS response to a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name that the caller asked for: in lower case, without a trailing dot.
    pub name: String,
    /// The addresses that the response has for this name, through aliases too.
    pub addresses: Vec<IpAddr>,
    /// The shortest time for which a record holds.
    pub ttl: Duration,
    /// The server that responded.
    pub server: SocketAddr,
    /// The cgroup of the caller.
    pub caller: u64,
    /// Whether the caller asked from the node's network namespace. In another one the address of a server that the node trusts may be
    /// anybody's.
    pub is_from_node: bool,
}

/// An address of a name.
#[derive(Clone, Debug)]
pub struct KnownAddress {
    /// The address itself.
    pub address: IpAddr,
    /// The owner whose DNS response taught it, and the callers that it counts for; absent where Egret resolved it.
    pub learnt: Option<(Arc<str>, Scope)>,
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub struct KnownName {
    /// The name, in lower case.
    pub name: String,
    /// The owner whose DNS response taught it, and the callers that it counts for; absent where Egret resolved it.
    pub learnt: Option<(Arc<str>, Scope)>,
    /// Its addresses, and how long each is kept: until DNS drops it, if absent.
    pub addresses: Vec<(IpAddr, Option<Duration>)>,
    /// Why it could not be resolved the last time.
    pub error: Option<String>,
}

impl Names {
    /// Returns whether the configuration lists a name: in lower case, without a trailing dot.
    pub fn is_listed(&self, name: &str) -> bool {
        self.directory.load().lists(name)
    }

    /// Returns the DNS servers that Egret and the node ask, and those that the configuration trusts.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.trusted.all()
    }

    /// Remembers the addresses of a host that no API lists, to show its name where a caller of this owner connects to them.
    pub fn observe(&self, seen: &Seen, owner: &Arc<str>) {
        if let Ok(host) = Host::parse(&seen.name) {
            self.observed.note(owner, &host, &seen.addresses);
        }
    }

    /// Returns the name for which callers of this owner got an address: as its DNS responses say, or as Egret knows it.
    pub fn name_at(&self, owner: &str, address: IpAddr) -> Option<Host> {
        let listed = |listing: Listing| match listing {
            Listing::Host(host) => Some(host),
            Listing::Wildcard(_) => None,
        };
        self.observed.name(owner, address).or_else(|| self.listings_at(address).into_iter().find_map(listed))
    }

    /// Takes the addresses in a DNS response in, to a caller of this owner, which has this cgroup. Returns once the kernel's table has
    /// them: at once if nothing is new.
    pub async fn learn_seen(&self, seen: Seen, owner: &Arc<str>, cgroup: u64) {
        let addresses = self.note_seen(&seen, owner, cgroup, Instant::now());
        if !addresses.is_empty() {
            self.publication.published(&addresses).await;
        }
    }

    /// Notes the addresses that are accepted, and returns them.
    fn note_seen(&self, seen: &Seen, owner: &Arc<str>, cgroup: u64, now: Instant) -> Vec<IpAddr> {
        // What is no host name is nobody's.
        if !Host::parse(&seen.name).is_ok_and(|host| host.as_str() == seen.name) {
            return Vec::new();
        }
        let is_trusted = seen.is_from_node && self.trusted.has(seen.server);
        let scope = if is_trusted { Scope::Everybody } else { Scope::Owner(cgroup) };
        let lifetime = seen.ttl.clamp(SHORTEST, LONGEST).max(self.settings.keep);
        let directory = self.directory.load();
        let mut all = Vec::new();
        for entry in directory.listings(&seen.name) {
            let is_accepted = |ip: &IpAddr| refusal(&entry.reach, *ip, &self.on_node).is_none();
            let accepted: Vec<_> = seen.addresses.iter().map(IpAddr::to_canonical).filter(is_accepted).collect();
            if accepted.is_empty() {
                continue;
            }
            let source = Source { owner: Arc::clone(owner), scope, listing: Arc::clone(&entry.listing) };
            // Under one lock: another caller with the same response must find that the addresses are pending.
            let mut learnt = self.learnt();
            let changed = learnt.learn(&source, &seen.name, &accepted, lifetime, now);
            if !changed.is_empty() {
                self.publication.note(changed);
            }
            drop(learnt);
            all.extend(accepted);
        }
        all
    }

    /// Returns the listings whose names are at an address, for every caller.
    pub fn listings_at(&self, address: IpAddr) -> Vec<Listing> {
        let mut listings: Vec<_> = self.listed().hosts_at(address).into_iter().map(Listing::Host).collect();
        for source in self.learnt().sources_at(address) {
            if source.scope == Scope::Everybody && !listings.contains(&source.listing) {
                listings.push((*source.listing).clone());
            }
        }
        listings
    }

    /// Returns the listings whose names are at an address, for these callers.
    pub fn listings_for(&self, address: IpAddr, scope: Scope) -> Vec<Listing> {
        let mut listings = self.listings_at(address);
        if scope != Scope::Everybody {
            listings.extend(self.scoped_at(address).remove(&scope).unwrap_or_default());
        }
        listings
    }

    /// Returns the listings whose names are at an address for the callers of one owner alone, by owner.
    pub fn scoped_at(&self, address: IpAddr) -> BTreeMap<Scope, Vec<Listing>> {
        owners(self.learnt().sources_at(address))
    }

    /// Returns the same for every address that counts for some owners alone.
    pub fn scoped(&self) -> BTreeMap<IpAddr, BTreeMap<Scope, Vec<Listing>>> {
        let learnt = self.learnt();
        let scoped = learnt.everywhere().map(|(address, sources)| (address, owners(sources)));
        scoped.filter(|(_, owners)| !owners.is_empty()).collect()
    }

    /// Returns the owners that addresses count for alone, by their cgroups.
    pub fn scope_owners(&self) -> HashMap<u64, Arc<str>> {
        self.learnt().scopes()
    }

    /// Returns the names that the callers of one owner alone know an address by.
    pub fn names_for(&self, address: IpAddr, scope: Scope) -> Vec<Host> {
        self.learnt().names_at(address, scope).into_iter().filter_map(|name| Host::parse(name).ok()).collect()
    }

    /// Returns the addresses of each listing that count for every caller: those that Egret resolved first.
    pub fn everywhere(&self) -> HashMap<Listing, Vec<IpAddr>> {
        let mut of: HashMap<Listing, Vec<IpAddr>> = HashMap::new();
        for status in self.status() {
            of.insert(Listing::Host(status.host), status.addresses);
        }
        let mut there: HashSet<(Listing, IpAddr)> =
            of.iter().flat_map(|(listing, all)| all.iter().map(|ip| (listing.clone(), *ip))).collect();
        for (address, sources) in self.learnt().everywhere() {
            for source in sources.iter().filter(|source| source.scope == Scope::Everybody) {
                if there.insert(((*source.listing).clone(), address)) {
                    of.entry((*source.listing).clone()).or_default().push(address);
                }
            }
        }
        of
    }

    /// Returns what is known of names, at most so many: those that Egret resolves first, then those that callers' DNS responses
    /// taught. The second value is the number without the maximum.
    pub fn known(&self, most: usize) -> (Vec<KnownName>, usize) {
        let now = Instant::now();
        let (mut known, resolved) = self.listed().known(most, now);
        let learnt = self.learnt();
        let rest = most - known.len();
        known.extend(learnt.all(now).take(rest).map(|name| KnownName {
            name: name.name.to_owned(),
            learnt: Some((Arc::clone(&name.source.owner), name.source.scope)),
            addresses: name.addresses().map(|(ip, left)| (ip, Some(left))).collect(),
            error: None,
        }));
        (known, resolved + learnt.names())
    }

    /// Returns the addresses that are known of a name, for everybody and for the callers of this scope, each once.
    pub fn addresses_known(&self, host: &Host, scope: Scope) -> Vec<KnownAddress> {
        let resolved = self.listed().addresses(host, Instant::now());
        let mut known: Vec<_> = resolved.into_iter().map(|address| KnownAddress { address, learnt: None }).collect();
        for (source, addresses) in self.learnt().of(host.as_str()) {
            if source.scope != Scope::Everybody && source.scope != scope {
                continue;
            }
            for address in
                addresses.filter(|address| !known.iter().any(|known| known.address == *address)).collect::<Vec<_>>()
            {
                known.push(KnownAddress { address, learnt: Some((Arc::clone(&source.owner), source.scope)) });
            }
        }
        known
    }

    /// Returns how many names below a wildcard callers' DNS responses have taught.
    pub fn learnt_below(&self, wildcard: &Wildcard) -> usize {
        self.learnt().names_of(&Listing::Wildcard(wildcard.clone()))
    }

    /// Forgets names that have expired, but for those at addresses that live flows use, and names that count only for owners whose
    /// cgroup is gone.
    pub fn sweep(&self, in_use: HashSet<IpAddr>, is_gone: impl Fn(u64) -> bool) {
        self.trusted.refresh();
        let now = Instant::now();
        self.listed().forget_unused(now);
        // Asking for a cgroup is a system call: nobody waits for the lock meanwhile.
        let scopes = self.learnt().scopes();
        let gone = scopes.into_keys().filter(|cgroup| is_gone(*cgroup)).collect();
        let mut learnt = self.learnt();
        let mut changed = learnt.forget_scopes(&gone);
        changed.extend(learnt.sweep(in_use, now));
        drop(learnt);
        if !changed.is_empty() {
            self.publication.note(changed);
        }
    }

    /// Forgets names that the configuration does not list any more, and addresses that they may not have any more.
    pub(super) fn forget_unlisted(&self) {
        let directory = self.directory.load();
        let may = |source: &Source, ip| {
            directory.entry(&source.listing).is_some_and(|entry| refusal(&entry.reach, ip, &self.on_node).is_none())
        };
        let changed = self.learnt().retain(may);
        if !changed.is_empty() {
            self.publication.note(changed);
        }
    }

    pub(super) fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the listings of the sources that count for one owner alone, by owner.
fn owners(sources: &[Arc<Source>]) -> BTreeMap<Scope, Vec<Listing>> {
    let mut owners: BTreeMap<Scope, Vec<Listing>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.scope != Scope::Everybody) {
        let listings = owners.entry(source.scope).or_default();
        if !listings.contains(&source.listing) {
            listings.push((*source.listing).clone());
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Settings;
    use crate::names::directory::Directory;
    use crate::names::testing::model;

    const SERVER: &str = "192.0.2.53:53";

    fn names(hosts: &[&str]) -> Names {
        let settings = Settings {
            servers: vec![SERVER.parse().unwrap()],
            keep: Duration::from_secs(60),
            max_addresses: 8,
            trusted_servers: Vec::new(),
            max_names: 100,
            max_learnt: 100,
        };
        let names = Names::new(settings, Box::new(|ip| ip == IpAddr::from([203, 0, 113, 99])), Arc::new(|_| Ok(())));
        names.directory.store(Arc::new(Directory::of(&model(hosts))));
        names
    }

    fn seen(name: &str, address: [u8; 4], server: &str) -> Seen {
        let ttl = Duration::from_secs(1);
        Seen {
            name: name.to_owned(),
            addresses: vec![address.into()],
            ttl,
            server: server.parse().unwrap(),
            caller: 7,
            is_from_node: true,
        }
    }

    #[test]
    fn names_are_listed_by_themselves_and_by_wildcards() {
        let names = names(&["api.partner.example", "*.other.example"]);
        for (name, expected) in [
            ("api.partner.example", true),
            ("www.partner.example", false),
            ("a.b.other.example", true),
            ("other.example", false),
            ("", false),
        ] {
            assert_eq!(names.is_listed(name), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn a_response_is_learnt_when_the_table_has_it() {
        let names = Arc::new(names(&["*.partner.example"]));
        let address = [203, 0, 113, 7];
        let learning = tokio::spawn({
            let names = Arc::clone(&names);
            async move { names.learn_seen(seen("a.partner.example", address, SERVER), &"one".into(), 7).await }
        });
        let changes = names.changes().await;
        assert_eq!(changes.addresses.as_deref(), Some(&[address.into()][..]));
        assert_eq!(names.listings_at(address.into()).len(), 1);
        assert!(!learning.is_finished());
        names.published(&changes);
        learning.await.unwrap();
        names.learn_seen(seen("a.partner.example", address, SERVER), &"one".into(), 7).await;
    }

    #[tokio::test]
    async fn a_listed_host_lives_where_egret_resolves_it() {
        let names = names(&["api.partner.example"]);
        let (host, address) = (Host::parse("api.partner.example").unwrap(), [203, 0, 113, 7].into());
        names.follow(&model(&["api.partner.example"]));
        assert!(!names.lives_at(host.clone(), address).await, "it is not resolved yet");
        let response = crate::names::resolve::Response { addresses: vec![address], ttl: Duration::from_secs(60) };
        names.learn(&host, Ok(response));
        assert!(names.lives_at(host, address).await);
    }

    #[test]
    fn what_a_name_may_not_have_is_not_learnt() {
        let names = names(&["*.partner.example"]);
        let now = Instant::now();
        for (name, address) in [
            ("a.partner.example", [10, 0, 0, 1]),
            ("a.partner.example", [127, 0, 0, 1]),
            ("a.partner.example", [203, 0, 113, 99]),
            ("stranger.example", [203, 0, 113, 7]),
            ("A.partner.example", [203, 0, 113, 7]),
        ] {
            assert!(
                names.note_seen(&seen(name, address, SERVER), &"one".into(), 7, now).is_empty(),
                "{name} {address:?}"
            );
        }
    }

    #[test]
    fn a_response_from_another_network_namespace_counts_for_its_caller_only() {
        let names = names(&["*.partner.example"]);
        let seen = Seen { is_from_node: false, ..seen("a.partner.example", [203, 0, 113, 7], SERVER) };
        assert_eq!(names.note_seen(&seen, &"one".into(), 7, Instant::now()).len(), 1);
        assert!(names.listings_at([203, 0, 113, 7].into()).is_empty());
        assert_eq!(names.listings_for([203, 0, 113, 7].into(), Scope::Owner(7)).len(), 1);
    }

    #[test]
    fn a_server_that_the_node_does_not_trust_counts_for_its_caller_only() {
        let names = names(&["*.partner.example"]);
        let accepted = names.note_seen(
            &seen("a.partner.example", [203, 0, 113, 7], "198.51.100.53:53"),
            &"one".into(),
            7,
            Instant::now(),
        );
        assert_eq!(accepted.len(), 1);
        assert!(names.listings_at([203, 0, 113, 7].into()).is_empty());
        assert!(names.everywhere().is_empty());
        let address = [203, 0, 113, 7].into();
        assert_eq!(names.scoped().keys().collect::<Vec<_>>(), [&address]);
        for (scope, expected) in [(Scope::Owner(7), 1), (Scope::Owner(8), 0), (Scope::Everybody, 0)] {
            assert_eq!(names.listings_for(address, scope).len(), expected, "{scope:?}");
            assert_eq!(names.names_for(address, scope).len(), expected, "{scope:?}");
        }
        names.sweep(HashSet::new(), |cgroup| cgroup == 7);
        assert!(names.scoped().is_empty(), "the owner's cgroup is gone");
    }
}
