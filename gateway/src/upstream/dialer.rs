use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::race::{self, race};
use super::{Upstream, open};
use crate::model::{Exempt, Reason};
use crate::permit::{Permit, Target};

/// Longest wait for the third party, over all its addresses.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to third parties (RFC 8305, Happy Eyeballs). It remembers addresses that failed lately and tries them last: a silent one
/// of several addresses costs a moment once, not with each connection.
pub struct Dialer {
    exempt: Exempt,
    failed: Mutex<HashMap<SocketAddr, Instant>>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// How long a failed address is tried last.
    const TRIED_LAST: Duration = Duration::from_secs(30);

    /// Failed addresses that are remembered.
    const REMEMBERED: usize = 1024;

    /// Creates a dialer with the mark of Egret's own sockets.
    pub fn new(exempt: Exempt) -> Self {
        Self { exempt, failed: Mutex::default() }
    }

    /// Dials what the permit names until one address accepts: in the permit's order, but with families in turns and failed addresses
    /// last. The next address is tried beside those before it when they have not accepted for a moment.
    ///
    /// # Errors
    /// The reason of the last address that failed.
    pub async fn connect(&self, permit: &Permit) -> Result<Upstream, Reason> {
        let open = |target: Target| async move { open(&target, permit.tunnel(), &self.exempt).await };
        if let [target] = permit.targets() {
            return timeout(PATIENCE, open(*target)).await.unwrap_or(Err(Reason::UpstreamTimeout));
        }
        let targets = self.in_order(permit.targets(), Instant::now());
        let ended = timeout(PATIENCE, race(targets, race::NEXT, open)).await;
        let race::Ended { outcome, slower } = ended.map_err(|_| Reason::UpstreamTimeout)?;
        for (target, reason) in slower {
            if reason.is_none_or(is_of_the_address) {
                self.remember(target.destination, Instant::now());
            }
        }
        let upstream = outcome.map_err(|reason| reason.unwrap_or(Reason::UpstreamUnreachable))?;
        self.failed().remove(&upstream.remote);
        Ok(upstream)
    }

    fn in_order(&self, targets: &[Target], now: Instant) -> Vec<Target> {
        let mut targets = race::in_turns(targets.to_vec(), |target| target.destination.is_ipv4());
        if targets.len() > 1 {
            let failed = self.failed();
            let has_failed = |target: &Target| {
                failed
                    .get(&target.destination)
                    .is_some_and(|since| now.saturating_duration_since(*since) < Self::TRIED_LAST)
            };
            targets.sort_by_key(has_failed);
        }
        targets
    }

    fn remember(&self, address: SocketAddr, now: Instant) {
        let mut failed = self.failed();
        if failed.len() >= Self::REMEMBERED {
            failed.retain(|_, since| now.saturating_duration_since(*since) < Self::TRIED_LAST);
        }
        if failed.len() < Self::REMEMBERED {
            failed.insert(address, now);
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether another address may do better. A lack of ports or of the egress address is not the third party's fault.
fn is_of_the_address(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UpstreamRefused
            | Reason::UpstreamReset
            | Reason::UpstreamTimeout
            | Reason::UpstreamUnreachable
            | Reason::ProxyUnreachable
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn target(address: &str) -> Target {
        Target { destination: address.parse().unwrap(), source: None }
    }

    #[test]
    fn failed_addresses_are_tried_last_for_a_while() {
        let dialer = Dialer::new(Arc::new(|_| Ok(())));
        let (now, targets) = (Instant::now(), ["203.0.113.1:80", "203.0.113.2:80", "203.0.113.3:80"].map(target));
        dialer.remember(targets[0].destination, now);
        assert_eq!(dialer.in_order(&targets, now), [targets[1], targets[2], targets[0]]);
        assert_eq!(dialer.in_order(&targets, now + Dialer::TRIED_LAST), targets);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let dialer = Dialer::new(Arc::new(|_| Ok(())));
        let now = Instant::now();
        for port in 0..5_000 {
            dialer.remember(SocketAddr::from(([203, 0, 113, 1], port)), now);
        }
        assert_eq!(dialer.failed().len(), Dialer::REMEMBERED);
        dialer.remember(target("203.0.113.2:80").destination, now + Dialer::TRIED_LAST);
        assert_eq!(dialer.failed().len(), 1);
    }
}
