//! What follows from a response of the collector, and how long to wait before the next attempt (OTLP 1.10, §"OTLP/HTTP Response").

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// Time before the second attempt, unless the collector says otherwise.
const FIRST: Duration = Duration::from_secs(1);

/// Longest time between two attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// What follows from a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The collector has taken it.
    Taken,
    /// The collector will not take it.
    Rejected,
    /// It may be sent again, after this time if the collector has said so.
    Again(Option<Duration>),
}

impl Verdict {
    /// Returns what follows from this response.
    pub fn of(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        match status.as_u16() {
            200..=299 => Self::Taken,
            429 | 502 | 503 | 504 => Self::Again(retry_after(headers, now)),
            _ => Self::Rejected,
        }
    }
}

/// Reads `Retry-After`: seconds or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// The times between attempts: each is twice the one before, less a part that differs from node to node.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    /// Between 0 and 1.
    part: f64,
}

impl Backoff {
    /// Begins anew. `part` says which part of the time may be left out, from 0 to 1: a fleet of nodes does not try at once.
    pub fn new(part: f64) -> Self {
        Self { next: FIRST, part }
    }

    /// Returns how long to wait now: as the collector says, but at most five minutes, or as long as it takes.
    pub fn wait(&mut self, said: Option<Duration>) -> Duration {
        const MOST: Duration = Duration::from_secs(300);
        let own = self.next.mul_f64(1.0 - self.part / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        said.map_or(own, |said| said.min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, retry_after: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Verdict::of(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn only_what_may_pass_later_is_sent_again() {
        assert_eq!(verdict(200, None), Verdict::Taken);
        for status in [429, 502, 503, 504] {
            assert_eq!(verdict(status, None), Verdict::Again(None), "{status}");
        }
        for status in [301, 400, 401, 404, 408, 413, 500, 501] {
            assert_eq!(verdict(status, Some("1")), Verdict::Rejected, "{status}");
        }
    }

    #[test]
    fn the_collector_says_how_long_to_wait() {
        let again = |seconds| Verdict::Again(Some(Duration::from_secs(seconds)));
        assert_eq!(verdict(429, Some("7")), again(7));
        assert_eq!(verdict(503, Some("Sun, 06 Nov 1994 08:49:47 GMT")), again(10));
        assert_eq!(verdict(503, Some("Sun, 06 Nov 1994 08:49:00 GMT")), again(0));
        assert_eq!(verdict(503, Some("soon")), Verdict::Again(None));
        assert_eq!(Backoff::new(0.0).wait(Some(Duration::from_secs(86_400))), Duration::from_secs(300));
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_differ_between_nodes() {
        let mut backoff = Backoff::new(0.0);
        let waits: Vec<_> = (0..7).map(|_| backoff.wait(None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(Backoff::new(1.0).wait(None), Duration::from_millis(500));
    }
}
