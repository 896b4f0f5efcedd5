//! How long a third party keeps an idle connection open, as far as Egret knows.

use std::time::{Duration, Instant};

/// Idle time after which nobody can say whether an unknown third party still listens.
const UNKNOWN: Duration = Duration::from_secs(1);

/// How long an observed limit is believed: it may have been a restart of the third party.
const BELIEVED: Duration = Duration::from_secs(600);

/// The largest and the smallest distance that a request keeps from a limit.
const MAX_MARGIN: Duration = Duration::from_secs(1);
const MIN_MARGIN: Duration = Duration::from_millis(100);

/// What was observed on the connections of one pool entry.
#[derive(Debug, Default)]
pub(super) struct IdleLimit {
    /// The longest idle time after which a connection was still open.
    open: Duration,
    /// The shortest idle time after which the third party closed one, and when that was observed.
    closed: Option<(Duration, Instant)>,
}

impl IdleLimit {
    /// Records that a connection was still open after this idle time.
    pub(super) fn saw_open(&mut self, idle: Duration) {
        self.open = self.open.max(idle);
    }

    /// Records that the third party closed a connection after this idle time.
    pub(super) fn saw_closed(&mut self, idle: Duration, now: Instant) {
        let shortest = self.observed(now).map_or(idle, |known| known.min(idle));
        self.closed = Some((shortest, now));
        self.open = self.open.min(idle);
    }

    /// Whether the third party will still read a request that is sent now over a connection that has been idle for this
    /// long, given the limit that it announced (`Keep-Alive: timeout`) and the round-trip time.
    pub(super) fn is_fresh(
        &self,
        idle: Duration,
        announced: Option<Duration>,
        round_trip: Duration,
        now: Instant,
    ) -> bool {
        let limit = [announced, self.observed(now)].into_iter().flatten().min();
        match limit {
            Some(limit) => {
                let margin = (limit / 4).clamp(MIN_MARGIN, MAX_MARGIN).max(2 * round_trip);
                idle + margin < limit
            }
            None => idle <= self.open.max(UNKNOWN),
        }
    }

    fn observed(&self, now: Instant) -> Option<Duration> {
        let (idle, when) = self.closed?;
        (now.saturating_duration_since(when) < BELIEVED).then_some(idle)
    }
}

/// The idle time that a response announces in `Keep-Alive: timeout=N`, in seconds.
pub(super) fn announced(value: &str) -> Option<Duration> {
    let parameters = value.split(',').filter_map(|parameter| parameter.split_once('='));
    let mut timeouts = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    timeouts.next()?.1.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn an_unknown_third_party_is_trusted_for_a_second_and_for_as_long_as_it_kept_connections_open() {
        let (mut limit, now) = (IdleLimit::default(), Instant::now());
        assert!(limit.is_fresh(ms(900), None, FAST, now));
        assert!(!limit.is_fresh(ms(1100), None, FAST, now));
        limit.saw_open(ms(20_000));
        assert!(limit.is_fresh(ms(20_000), None, FAST, now));
        assert!(!limit.is_fresh(ms(20_001), None, FAST, now));
    }

    #[test]
    fn the_shortest_of_observed_and_announced_limits_holds_with_a_margin() {
        let (mut limit, now) = (IdleLimit::default(), Instant::now());
        assert!(limit.is_fresh(ms(3900), Some(ms(5000)), FAST, now));
        assert!(!limit.is_fresh(ms(4100), Some(ms(5000)), FAST, now));
        limit.saw_closed(ms(300), now);
        limit.saw_closed(ms(5000), now);
        assert!(limit.is_fresh(ms(150), Some(ms(5000)), FAST, now));
        assert!(!limit.is_fresh(ms(250), Some(ms(5000)), FAST, now));
        // A request needs half a round trip to get there, and the response needed the other half.
        assert!(!limit.is_fresh(ms(150), None, ms(100), now));
    }

    #[test]
    fn a_limit_of_zero_is_never_fresh() {
        assert!(!IdleLimit::default().is_fresh(Duration::ZERO, Some(Duration::ZERO), FAST, Instant::now()));
    }

    #[test]
    fn an_observed_limit_is_forgotten_in_time_and_so_is_what_it_disproved() {
        let (mut limit, now) = (IdleLimit::default(), Instant::now());
        limit.saw_open(ms(50_000));
        limit.saw_closed(ms(2000), now);
        let later = now + BELIEVED;
        assert!(limit.is_fresh(ms(2000), None, FAST, later));
        assert!(!limit.is_fresh(ms(2001), None, FAST, later));
    }

    #[test]
    fn announcements_are_read_as_servers_write_them() {
        assert_eq!(announced("timeout=5"), Some(ms(5000)));
        assert_eq!(announced("timeout=5, max=100"), Some(ms(5000)));
        assert_eq!(announced("max=100, Timeout = 75"), Some(ms(75_000)));
        assert_eq!(announced("timeout=\"2\""), Some(ms(2000)));
        assert_eq!(announced("max=100"), None);
        assert_eq!(announced("timeout=-1"), None);
        assert_eq!(announced("timeout"), None);
    }
}
