use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{OnNode, Settings, resolve};
use crate::model::{Host, Reach};

pub(super) const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(300);
const WORST_BACKOFF: Duration = Duration::from_secs(30);

/// A listed host.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    reach: Reach,
    /// Addresses with the time at which DNS last named them; the current ones first.
    addresses: Vec<(IpAddr, Instant)>,
    pub(super) refused: Vec<(IpAddr, &'static str)>,
    pub(super) error: Option<String>,
    failures: u32,
    /// When it is due.
    pub(super) next: Instant,
    pub(super) asked: bool,
    pub(super) tried: bool,
    /// Whether it has more addresses than are kept.
    overflows: bool,
    /// When the addresses of a name below a wildcard were last needed; absent for a host that is listed by its name.
    pub(super) used: Option<Instant>,
}

/// What a response has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    /// The addresses that the host has now and had not, or the other way round.
    pub(super) changed: Vec<IpAddr>,
    /// How many addresses were dropped.
    pub(super) dropped: u64,
}

/// Returns why a name may not have this address, if it may not.
pub(super) fn refusal(reach: &Reach, ip: IpAddr, on_node: &OnNode) -> Option<&'static str> {
    let own = || (matches!(reach, Reach::Public(_)) && on_node(ip)).then_some("it is an address of this node");
    reach.refusal(ip).or_else(own)
}

impl Entry {
    pub(super) fn new(reach: Reach, now: Instant) -> Self {
        Self {
            reach,
            addresses: Vec::new(),
            refused: Vec::new(),
            error: None,
            failures: 0,
            next: now,
            asked: false,
            tried: false,
            overflows: false,
            used: None,
        }
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|(ip, _)| *ip).collect()
    }

    /// Returns the addresses, each with the time until the next lookup.
    pub(super) fn addresses_with_age(&self, now: Instant) -> Vec<(IpAddr, Option<Duration>)> {
        let left = self.next.saturating_duration_since(now);
        self.addresses.iter().map(|(ip, _)| (*ip, Some(left))).collect()
    }

    pub(super) fn is_resolved(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(super) fn follow(&mut self, reach: &Reach, now: Instant) {
        if self.reach != *reach {
            self.reach = reach.clone();
            self.next = now;
        }
    }

    /// Takes a response in; returns how many addresses were dropped because there are too many.
    pub(super) fn learn(
        &mut self,
        host: &Host,
        response: Result<resolve::Response, String>,
        settings: &Settings,
        on_node: &OnNode,
        now: Instant,
    ) -> u64 {
        (self.asked, self.tried) = (false, true);
        match response.and_then(|response| self.accept(host, response, on_node)) {
            Ok(response) => {
                self.error = None;
                self.failures = 0;
                self.next = now + response.ttl.clamp(SHORTEST, LONGEST);
                self.merge(host, &response.addresses, settings, on_node, now)
            }
            Err(error) => {
                if self.error.as_ref() != Some(&error) {
                    tracing::warn!(%host, %error, "a listed host cannot be resolved: its known addresses stay captured");
                }
                self.error = Some(error);
                self.failures = self.failures.saturating_add(1);
                let backoff = SHORTEST.saturating_mul(2u32.saturating_pow(self.failures.min(5) - 1));
                self.next = now + backoff.min(WORST_BACKOFF);
                0
            }
        }
    }

    /// Returns the response without the addresses that the host may not have.
    fn accept(
        &mut self,
        host: &Host,
        response: resolve::Response,
        on_node: &OnNode,
    ) -> Result<resolve::Response, String> {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for ip in response.addresses {
            match self.refusal(ip, on_node) {
                None => accepted.push(ip),
                Some(why) => refused.push((ip, why)),
            }
        }
        refused.sort_unstable();
        if self.refused != refused {
            if let Some((address, why)) = refused.first() {
                let count = refused.len();
                tracing::warn!(
                    %host, count, %address, why,
                    "DNS names addresses that this host may not have: they are neither captured nor connected to; \
                     `allow_addresses` of its API can allow them"
                );
            }
            self.refused = refused;
        }
        match (accepted.is_empty(), self.refused.first()) {
            (true, Some((address, why))) => Err(format!("it has no usable address: {address}: {why}")),
            (true, None) => Err("it has no address".to_owned()),
            (false, _) => Ok(resolve::Response { addresses: accepted, ttl: response.ttl }),
        }
    }

    fn refusal(&self, ip: IpAddr, on_node: &OnNode) -> Option<&'static str> {
        refusal(&self.reach, ip, on_node)
    }

    /// Puts current addresses before those that DNS has dropped lately. The newest are kept if there are too many.
    fn merge(&mut self, host: &Host, current: &[IpAddr], settings: &Settings, on_node: &OnNode, now: Instant) -> u64 {
        let mut there = HashSet::new();
        let is_kept = |(ip, seen): &(IpAddr, Instant)| {
            now.saturating_duration_since(*seen) < settings.keep && self.refusal(*ip, on_node).is_none()
        };
        let kept = self.addresses.iter().copied().filter(is_kept);
        let mut all: Vec<_> =
            current.iter().map(|ip| (*ip, now)).chain(kept).filter(|(ip, _)| there.insert(*ip)).collect();
        let dropped = all.len().saturating_sub(settings.max_addresses);
        all.truncate(settings.max_addresses);
        if dropped > 0 && !self.overflows {
            let most = settings.max_addresses;
            tracing::warn!(%host, dropped, most, "this host has more addresses than resolver.max_addresses: the newest are captured");
        }
        self.overflows = dropped > 0;
        self.addresses = all;
        u64::try_from(dropped).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            servers: Vec::new(),
            keep: Duration::from_secs(60),
            max_addresses: 3,
            trusted_servers: Vec::new(),
            max_names: 16,
            max_learnt: 16,
        }
    }

    fn learn(entry: &mut Entry, addresses: &[&str], now: Instant) -> u64 {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let on_node: OnNode = Box::new(|ip| ip == "203.0.113.99".parse::<IpAddr>().unwrap());
        let response = resolve::Response { addresses, ttl: Duration::from_secs(1) };
        entry.learn(&Host::parse("api.partner.example").unwrap(), Ok(response), &settings(), &on_node, now)
    }

    fn entry(now: Instant) -> Entry {
        Entry::new(Reach::Public(Vec::new()), now)
    }

    fn shown(entry: &Entry) -> Vec<String> {
        entry.addresses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_addresses_are_kept() {
        let now = Instant::now();
        let mut entry = entry(now);
        assert_eq!(learn(&mut entry, &["203.0.113.1", "203.0.113.2"], now), 0);
        assert_eq!(learn(&mut entry, &["203.0.113.3", "203.0.113.4"], now), 1);
        assert_eq!(shown(&entry), ["203.0.113.3", "203.0.113.4", "203.0.113.1"]);
        assert_eq!(learn(&mut entry, &["203.0.113.5"], now + Duration::from_secs(120)), 0);
        assert_eq!(shown(&entry), ["203.0.113.5"], "the others are too old");
    }

    #[test]
    fn an_address_that_the_host_may_not_have_is_refused_and_shown() {
        let now = Instant::now();
        let mut entry = entry(now);
        learn(&mut entry, &["10.0.0.1", "203.0.113.99", "203.0.113.1"], now);
        assert_eq!(shown(&entry), ["203.0.113.1"]);
        assert_eq!(entry.refused.len(), 2);
        learn(&mut entry, &["10.0.0.1"], now);
        assert_eq!(shown(&entry), ["203.0.113.1"], "known addresses stay");
        assert!(entry.error.as_ref().unwrap().contains("10.0.0.1"), "{:?}", entry.error);
    }

    #[test]
    fn allowing_addresses_makes_the_host_due() {
        let now = Instant::now();
        let mut entry = entry(now);
        learn(&mut entry, &["10.0.0.1"], now);
        entry.follow(&Reach::Public(vec!["10.0.0.0/8".parse().unwrap()]), now);
        assert!(entry.next <= now);
        learn(&mut entry, &["10.0.0.1"], now);
        assert_eq!((shown(&entry), entry.refused.len()), (vec!["10.0.0.1".to_owned()], 0));
    }
}
