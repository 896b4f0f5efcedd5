//! Servers that do the same: which of them gets a request, and which of them is left alone for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::call::Fault;
use crate::model::{Breaker, Member, Reason, Service};

/// Longest pause that a member can ask for.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How the members of services are.
#[derive(Debug, Default)]
pub(super) struct Backends {
    members: Mutex<HashMap<(Arc<str>, String), State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What it is ahead of, or behind, its share (smooth weighted round robin).
    credit: i64,
    /// When it failed, within its breaker's window.
    failures: VecDeque<Duration>,
    /// Until when it gets no requests.
    open: Option<Duration>,
    /// Since when the one request is on its way that decides.
    probed: Option<Duration>,
    /// What it answered when it was last asked how it is.
    ill: Option<String>,
    requests: u64,
    failed: u64,
}

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRow {
    /// Its service.
    pub service: Arc<str>,
    /// Where it is.
    pub member: String,
    /// `closed`: it gets requests; `open`: none; `half-open`: one, which decides.
    pub breaker: &'static str,
    /// Why it is not well, as its health check says.
    pub ill: Option<String>,
    /// Requests that it got.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// For how long it still gets none.
    pub open_for: Duration,
}

impl Backends {
    /// The member that gets the next request, if possible none of these.
    ///
    /// # Errors
    /// The breakers of all are open.
    pub(super) fn choose(&self, service: &Service, tried: &[usize], at: Duration) -> Result<usize, Box<Fault>> {
        let mut states = self.states();
        let mut candidates: Vec<(usize, &Member)> = Vec::new();
        let mut soonest: Option<Duration> = None;
        for (index, member) in service.members.iter().enumerate() {
            let state = states.entry(key(service, member)).or_default();
            match state.opens_in(service.breaker.as_ref(), at) {
                None => candidates.push((index, member)),
                Some(wait) => soonest = Some(soonest.map_or(wait, |other| other.min(wait))),
            }
        }
        let well =
            |&(_, member): &(usize, &Member)| states.get(&key(service, member)).is_none_or(|state| state.ill.is_none());
        // Where none is well, their checks may be what is wrong.
        if candidates.iter().any(well) {
            candidates.retain(well);
        }
        if candidates.iter().any(|(index, _)| !tried.contains(index)) {
            candidates.retain(|(index, _)| !tried.contains(index));
        }
        let Some(first) = candidates.iter().map(|(_, member)| member.priority).min() else {
            let message = format!("all of backend {} are left alone for a while: they failed too often", service.name);
            return Err(Fault::new(Reason::BackendUnavailable, 503, message).after(soonest.unwrap_or_default()));
        };
        candidates.retain(|(_, member)| member.priority == first);
        let total: i64 = candidates.iter().map(|(_, member)| i64::from(member.weight)).sum();
        let mut best: Option<(usize, &Member, i64)> = None;
        for (index, member) in candidates {
            let state = states.entry(key(service, member)).or_default();
            state.credit += i64::from(member.weight);
            if best.is_none_or(|(.., credit)| state.credit > credit) {
                best = Some((index, member, state.credit));
            }
        }
        let Some((index, member, _)) = best else { return Ok(0) };
        let state = states.entry(key(service, member)).or_default();
        state.credit -= total;
        state.requests += 1;
        if state.open.is_some() {
            state.probed = Some(at);
        }
        Ok(index)
    }

    /// What came of it: an answer's status, or none, and after how long it says that there is sense in another try.
    pub(super) fn outcome(
        &self,
        service: &Service,
        index: usize,
        (status, retry_after): (Option<u16>, Option<Duration>),
        at: Duration,
    ) {
        let Some(member) = service.members.get(index) else { return };
        let mut states = self.states();
        let state = states.entry(key(service, member)).or_default();
        let bad = |status: u16| match &service.breaker {
            Some(breaker) => breaker.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status)),
            None => status >= 500,
        };
        let failed = status.is_none_or(bad);
        state.failed += u64::from(failed);
        let Some(breaker) = &service.breaker else { return };
        if !failed {
            if state.probed.take().is_some() {
                state.open = None;
            }
            return;
        }
        state.failures.push_back(at);
        while state.failures.front().is_some_and(|first| *first + breaker.window < at) {
            state.failures.pop_front();
        }
        let probed = state.probed.take().is_some();
        if probed || state.failures.len() >= breaker.failures as usize {
            state.failures.clear();
            state.open = Some(at + breaker.open.max(retry_after.unwrap_or_default().min(LONGEST)));
            tracing::warn!(backend = %service.name, member = %member.endpoint, "failed too often: left alone for a while");
        }
    }

    /// What a health check says.
    pub(super) fn checked(&self, service: &Service, index: usize, ill: Option<String>) {
        let Some(member) = service.members.get(index) else { return };
        let mut states = self.states();
        let state = states.entry(key(service, member)).or_default();
        if state.ill.is_some() != ill.is_some() {
            let how = ill.as_deref().unwrap_or("well again");
            tracing::info!(backend = %service.name, member = %member.endpoint, how, "health check");
        }
        state.ill = ill;
    }

    /// How each is.
    pub(super) fn rows(&self, service: &Service, at: Duration) -> Vec<BackendRow> {
        let mut states = self.states();
        let row = |member: &Member| {
            let state = states.entry(key(service, member)).or_default();
            let open_for = state.open.map_or(Duration::ZERO, |until| until.saturating_sub(at));
            BackendRow {
                service: Arc::clone(&service.name),
                member: shown(member),
                breaker: match state.open {
                    None => "closed",
                    Some(_) if open_for.is_zero() => "half-open",
                    Some(_) => "open",
                },
                ill: state.ill.clone(),
                requests: state.requests,
                failed: state.failed,
                open_for,
            }
        };
        service.members.iter().map(row).collect()
    }

    fn states(&self) -> MutexGuard<'_, HashMap<(Arc<str>, String), State>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long it gets no request, if it gets none.
    fn opens_in(&self, breaker: Option<&Breaker>, at: Duration) -> Option<Duration> {
        let (open, breaker) = (self.open?, breaker?);
        if at < open {
            return Some(open - at);
        }
        // A probe whose caller has gone tells nothing.
        let probe = self.probed? + breaker.open;
        (at < probe).then(|| probe - at)
    }
}

fn key(service: &Service, member: &Member) -> (Arc<str>, String) {
    (Arc::clone(&service.name), shown(member))
}

fn shown(member: &Member) -> String {
    format!("{}{}", member.endpoint, member.base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Host};

    fn service(members: &[(u32, u32)], breaker: bool) -> Service {
        let member = |(index, &(weight, priority)): (usize, &(u32, u32))| Member {
            endpoint: Arc::new(Endpoint {
                host: Host::parse(&format!("m{index}.example")).unwrap(),
                port: 80,
                tls: None,
            }),
            base: "".into(),
            weight,
            priority,
        };
        let seconds = Duration::from_secs;
        let breaker =
            breaker.then(|| Breaker { failures: 2, window: seconds(10), open: seconds(5), statuses: vec![(500, 599)] });
        Service { name: "s".into(), members: members.iter().enumerate().map(member).collect(), breaker, health: None }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const FAILED: (Option<u16>, Option<Duration>) = (Some(503), None);
    const WELL: (Option<u16>, Option<Duration>) = (Some(200), None);

    #[test]
    fn each_gets_its_share_evenly() {
        let (backends, service) = (Backends::default(), service(&[(3, 1), (1, 1), (9, 2)], false));
        let chosen: Vec<_> = (0..8).map(|_| backends.choose(&service, &[], at(0)).unwrap()).collect();
        assert_eq!(chosen, [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(backends.choose(&service, &[0, 1], at(0)).unwrap(), 2, "those that failed are not asked again");
    }

    #[test]
    fn who_fails_too_often_is_left_alone_and_then_asked_once() {
        let (backends, service) = (Backends::default(), service(&[(1, 1)], true));
        backends.outcome(&service, 0, FAILED, at(0));
        backends.outcome(&service, 0, FAILED, at(11));
        assert!(backends.choose(&service, &[], at(11)).is_ok(), "the first is forgotten");
        backends.outcome(&service, 0, FAILED, at(12));
        let refused = backends.choose(&service, &[], at(13)).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), (Reason::BackendUnavailable, Some(at(4))));
        assert!(backends.choose(&service, &[], at(17)).is_ok(), "one");
        assert!(backends.choose(&service, &[], at(17)).is_err(), "and no other");
        backends.outcome(&service, 0, FAILED, at(18));
        assert!(backends.choose(&service, &[], at(22)).is_err(), "it has failed again");
        assert!(backends.choose(&service, &[], at(23)).is_ok());
        backends.outcome(&service, 0, WELL, at(24));
        assert!(backends.choose(&service, &[], at(24)).is_ok() && backends.choose(&service, &[], at(24)).is_ok());
    }

    #[test]
    fn a_longer_pause_that_the_member_asks_for_is_kept_to() {
        let (backends, service) = (Backends::default(), service(&[(1, 1)], true));
        backends.outcome(&service, 0, FAILED, at(0));
        backends.outcome(&service, 0, (None, Some(at(60))), at(0));
        assert!(backends.choose(&service, &[], at(59)).is_err() && backends.choose(&service, &[], at(60)).is_ok());
    }

    #[test]
    fn the_ill_get_none_unless_all_are() {
        let (backends, service) = (Backends::default(), service(&[(1, 1), (1, 2)], false));
        backends.checked(&service, 0, Some("503".into()));
        assert_eq!(backends.choose(&service, &[], at(0)).unwrap(), 1);
        backends.checked(&service, 1, Some("503".into()));
        assert_eq!(backends.choose(&service, &[], at(0)).unwrap(), 0);
    }
}
