use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::resolve::{Families, Resolver};
use crate::model::Host;

/// Longest wait for an answer about one stranger.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest lookup. It is shorter than the wait, so that a failure is remembered.
const LOOKUP: Duration = Duration::from_millis(2500);

/// Lookups at the same time.
const LOOKUPS: usize = 256;

/// Hosts that are remembered.
const HOSTS: usize = 4096;

/// Addresses of a host that are remembered.
const ADDRESSES: usize = 256;

/// How long what is known of a host holds, by TTL.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// How long it holds that a host could not be resolved.
const FAILED: Duration = Duration::from_secs(5);

/// Hosts that the configuration does not list, and where they live according to DNS. Lookups and memory are bounded.
#[derive(Debug)]
pub(super) struct Strangers {
    resolver: Resolver,
    hosts: Mutex<HashMap<Question, Arc<Stranger>>>,
    lookups: Semaphore,
}

/// Only the family of the caller's connection matters: a server that is silent about the other one delays nothing.
type Question = (Host, Families);

#[derive(Debug)]
struct Stranger {
    since: Instant,
    /// Addresses that earlier lookups found. Large third parties name other addresses in each response.
    before: Vec<IpAddr>,
    found: OnceCell<Found>,
}

#[derive(Debug)]
struct Found {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Strangers {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self { resolver, hosts: Mutex::default(), lookups: Semaphore::new(LOOKUPS) }
    }

    /// Returns whether a host lives at an address. A host that cannot be resolved in time lives nowhere.
    pub(super) async fn lives_at(&self, host: Host, address: IpAddr) -> bool {
        let question = (host, if address.is_ipv4() { Families::V4 } else { Families::V6 });
        let found = async {
            let known = self.known(&question);
            if self.addresses(&question, &known).await.contains(&address) {
                return true;
            }
            // Another response may name other addresses.
            let Some(renewed) = self.renewed(&question, &known, Instant::now()) else { return false };
            self.addresses(&question, &renewed).await.contains(&address)
        };
        timeout(PATIENCE, found).await.unwrap_or(false)
    }

    /// Returns what is known of a host, or begins to learn it.
    fn known(&self, question: &Question) -> Arc<Stranger> {
        let now = Instant::now();
        let known = self.hosts().get(question).cloned();
        match known {
            Some(known) if known.found.get().is_none_or(|found| now < found.until) => known,
            known => self.begin(question, known.as_deref(), now),
        }
    }

    /// Returns a new beginning, unless what is known is new enough.
    fn renewed(&self, question: &Question, known: &Arc<Stranger>, now: Instant) -> Option<Arc<Stranger>> {
        let is_old = now.saturating_duration_since(known.since) >= SHORTEST;
        is_old.then(|| self.begin(question, Some(known), now))
    }

    fn begin(&self, question: &Question, before: Option<&Stranger>, now: Instant) -> Arc<Stranger> {
        let mut addresses = before.and_then(|before| Some(before.found.get()?.addresses.clone())).unwrap_or_default();
        addresses.truncate(ADDRESSES);
        let begun = Arc::new(Stranger { since: now, before: addresses, found: OnceCell::new() });
        let mut hosts = self.hosts();
        if hosts.len() >= HOSTS {
            hosts.retain(|_, stranger| stranger.found.get().is_none_or(|found| now < found.until));
        }
        if hosts.len() >= HOSTS
            && let Some(oldest) =
                hosts.iter().min_by_key(|(_, stranger)| stranger.since).map(|(oldest, _)| oldest.clone())
        {
            hosts.remove(&oldest);
        }
        hosts.insert(question.clone(), Arc::clone(&begun));
        begun
    }

    /// Returns the addresses of a host. Callers that ask at the same time share one lookup.
    async fn addresses<'a>(&self, (host, families): &Question, stranger: &'a Stranger) -> &'a [IpAddr] {
        let look_up = async {
            // It is never closed.
            let _permit = self.lookups.acquire().await;
            let looked_up = timeout(LOOKUP, self.resolver.resolve(host, *families)).await;
            let (mut addresses, holds) = match looked_up.unwrap_or_else(|late| Err(late.to_string())) {
                Ok(response) => (response.addresses, response.ttl.clamp(SHORTEST, LONGEST)),
                Err(error) => {
                    tracing::debug!(%host, %error, "a stranger's host cannot be resolved");
                    (Vec::new(), FAILED)
                }
            };
            // A host that does not exist any more lives nowhere.
            if !addresses.is_empty() {
                addresses.truncate(ADDRESSES);
                addresses
                    .extend(stranger.before.iter().filter(|ip| !addresses.contains(ip)).copied().collect::<Vec<_>>());
            }
            Found { addresses, until: Instant::now() + holds }
        };
        &stranger.found.get_or_init(|| look_up).await.addresses
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, HashMap<Question, Arc<Stranger>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: usize) -> Question {
        (Host::parse(&format!("host{number}.example")).unwrap(), Families::V4)
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let strangers = Strangers::new(Resolver::new(Vec::new(), Arc::new(|_| Ok(()))));
        for number in 0..HOSTS + 100 {
            strangers.known(&question(number));
        }
        assert_eq!(strangers.hosts().len(), HOSTS);
    }

    #[test]
    fn addresses_of_earlier_responses_are_remembered_while_they_hold() {
        let strangers = Strangers::new(Resolver::new(Vec::new(), Arc::new(|_| Ok(()))));
        let question = question(1);
        let first = strangers.known(&question);
        let now = first.since;
        let found = |addresses: Vec<IpAddr>| Found { addresses, until: now + LONGEST };
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        first.found.set(found(vec![address])).unwrap();
        assert!(Arc::ptr_eq(&strangers.known(&question), &first), "it holds");
        assert!(strangers.renewed(&question, &first, now).is_none(), "it is new");
        let second = strangers.renewed(&question, &first, now + SHORTEST).unwrap();
        assert_eq!(second.before, [address]);
        assert!(Arc::ptr_eq(&strangers.known(&question), &second), "callers share the lookup");
    }
}
