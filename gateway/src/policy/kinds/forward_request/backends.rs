//! Servers that do the same: which of them gets a request, and which of them gets none for a while.
//!
//! A circuit breaker judges a server for each owner of callers on its own, because a caller can provoke failures: an owner's
//! failures stop the owner's own requests. They stop those of all only together with failures of others: at least two
//! owners, of whom each counts for at most half of what the breaker needs. After that pause each owner finds out with one
//! request of its own, and the first success ends it for all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Breaker, Member, Reason, Service};
use crate::policy::engine::Fault;

/// Longest pause that a member can ask for.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The most owners that a member is judged for apart; further ones have no breaker but that of all.
const OWNERS: usize = 1024;

/// How the members of services are.
#[derive(Debug, Default)]
pub(in crate::policy) struct Backends {
    members: Mutex<HashMap<(Arc<str>, String), State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What it is ahead of, or behind, its share (smooth weighted round robin).
    credit: i64,
    /// How it is for each owner whose requests failed.
    circuits: HashMap<Arc<str>, Circuit>,
    /// Failures within the breaker's window, of all owners: at most half of what the breaker needs of each.
    failures: VecDeque<(Duration, Arc<str>)>,
    /// Until when it gets no requests of anybody.
    open: Option<Duration>,
    /// What it answered when it was last asked how it is.
    ill: Option<String>,
    requests: u64,
    failed: u64,
}

/// How a member is for one owner.
#[derive(Debug, Default)]
struct Circuit {
    /// When its requests failed, within the breaker's window.
    failures: VecDeque<Duration>,
    /// Until when its requests do not go to the member.
    open: Option<Duration>,
    /// Since when the one request is on its way that decides.
    probed: Option<Duration>,
}

/// How a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRow {
    /// Its service.
    pub service: Arc<str>,
    /// Where it is.
    pub member: String,
    /// `closed`: it gets requests; `open`: none, or none of some owners; `half-open`: one of each owner, which decides.
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
    /// Returns the member that gets the next request of this owner, if possible none of those that were tried.
    ///
    /// # Errors
    /// The breakers of all are open.
    pub(in crate::policy) fn choose(
        &self,
        service: &Service,
        owner: &Arc<str>,
        tried: &[usize],
        at: Duration,
    ) -> Result<usize, Box<Fault>> {
        let mut states = self.states();
        let mut candidates: Vec<(usize, &Member)> = Vec::new();
        let mut soonest: Option<Duration> = None;
        for (index, member) in service.members.iter().enumerate() {
            let state = states.entry(key(service, member)).or_default();
            match state.opens_in(service.breaker.as_ref(), owner, at) {
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
        state.probes(owner, at);
        Ok(index)
    }

    /// Notes what came of a request of this owner: the status of a response, or none, and the pause that it asks for.
    pub(in crate::policy) fn outcome(
        &self,
        service: &Service,
        owner: &Arc<str>,
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
            return state.succeeded(owner);
        }
        let until = at + breaker.open.max(retry_after.unwrap_or_default().min(LONGEST));
        if let Some(whose) = state.failed(breaker, owner, at, until) {
            tracing::warn!(backend = %service.name, member = %member.endpoint, whose, "circuit breaker opened: too many failures");
        }
    }

    /// What a health check says.
    pub(in crate::policy) fn checked(&self, service: &Service, index: usize, ill: Option<String>) {
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
    pub(in crate::policy) fn rows(&self, service: &Service, at: Duration) -> Vec<BackendRow> {
        let mut states = self.states();
        let row = |member: &Member| {
            let state = states.entry(key(service, member)).or_default();
            let open = state.circuits.values().filter_map(|circuit| circuit.open).chain(state.open).max();
            let open_for = open.map_or(Duration::ZERO, |until| until.saturating_sub(at));
            BackendRow {
                service: Arc::clone(&service.name),
                member: shown(member),
                breaker: match open {
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
    /// Returns how long it gets no request of this owner, if it gets none.
    fn opens_in(&self, breaker: Option<&Breaker>, owner: &Arc<str>, at: Duration) -> Option<Duration> {
        let breaker = breaker?;
        let circuit = self.circuits.get(owner);
        let open = self.open.max(circuit.and_then(|circuit| circuit.open))?;
        if at < open {
            return Some(open - at);
        }
        // A probe whose caller has gone tells nothing.
        let probe = circuit?.probed? + breaker.open;
        (at < probe).then(|| probe - at)
    }

    /// A request of this owner goes to it: the one that decides, if its breaker was open.
    fn probes(&mut self, owner: &Arc<str>, at: Duration) {
        let was_open = self.open.is_some() || self.circuits.get(owner).is_some_and(|circuit| circuit.open.is_some());
        if was_open && let Some(circuit) = self.circuit(owner) {
            circuit.probed = Some(at);
        }
    }

    fn succeeded(&mut self, owner: &Arc<str>) {
        if let Some(circuit) = self.circuits.get_mut(owner)
            && circuit.probed.take().is_some()
        {
            circuit.open = None;
            self.open = None;
        }
    }

    /// Counts a failure; returns for whom that opens the breaker, if it does.
    fn failed(&mut self, breaker: &Breaker, owner: &Arc<str>, at: Duration, until: Duration) -> Option<&'static str> {
        let most = usize::try_from(breaker.failures).unwrap_or(usize::MAX);
        let mut opened = None;
        self.circuits.retain(|other, circuit| other == owner || circuit.is_needed(breaker, at));
        if let Some(circuit) = self.circuit(owner) {
            circuit.failures.push_back(at);
            circuit.forget(breaker, at);
            if circuit.probed.take().is_some() || circuit.failures.len() >= most {
                circuit.failures.clear();
                circuit.open = Some(until);
                opened = Some("one owner");
            }
        }
        self.failures.retain(|(time, _)| *time + breaker.window >= at);
        let own = || self.failures.iter().filter(|(_, of)| of == owner);
        if own().count() >= most.div_ceil(2) {
            let oldest = self.failures.iter().position(|(_, of)| of == owner);
            oldest.map(|index| self.failures.remove(index));
        }
        self.failures.push_back((at, Arc::clone(owner)));
        let others = self.failures.iter().any(|(_, of)| of != owner);
        if others && self.failures.len() >= most {
            self.failures.clear();
            self.open = Some(until);
            opened = Some("all");
        }
        opened
    }

    /// Returns the circuit of an owner, unless there are too many.
    fn circuit(&mut self, owner: &Arc<str>) -> Option<&mut Circuit> {
        if self.circuits.len() >= OWNERS && !self.circuits.contains_key(owner) {
            return None;
        }
        Some(self.circuits.entry(Arc::clone(owner)).or_default())
    }
}

impl Circuit {
    fn forget(&mut self, breaker: &Breaker, at: Duration) {
        while self.failures.front().is_some_and(|first| *first + breaker.window < at) {
            self.failures.pop_front();
        }
    }

    /// Returns whether it says more than a new one.
    fn is_needed(&mut self, breaker: &Breaker, at: Duration) -> bool {
        self.forget(breaker, at);
        let is_recent = |time: Option<Duration>| time.is_some_and(|time| at < time + LONGEST);
        is_recent(self.open) || is_recent(self.probed) || !self.failures.is_empty()
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

    fn owner(name: &str) -> Arc<str> {
        name.into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const FAILED: (Option<u16>, Option<Duration>) = (Some(503), None);
    const WELL: (Option<u16>, Option<Duration>) = (Some(200), None);

    #[test]
    fn each_gets_its_share_evenly() {
        let (backends, service) = (Backends::default(), service(&[(3, 1), (1, 1), (9, 2)], false));
        let chosen: Vec<_> = (0..8).map(|_| backends.choose(&service, &owner("a"), &[], at(0)).unwrap()).collect();
        assert_eq!(chosen, [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(
            backends.choose(&service, &owner("a"), &[0, 1], at(0)).unwrap(),
            2,
            "those that failed are not asked again"
        );
    }

    #[test]
    fn who_fails_too_often_is_left_alone_and_then_asked_once() {
        let (backends, service) = (Backends::default(), service(&[(1, 1)], true));
        backends.outcome(&service, &owner("a"), 0, FAILED, at(0));
        backends.outcome(&service, &owner("a"), 0, FAILED, at(11));
        assert!(backends.choose(&service, &owner("a"), &[], at(11)).is_ok(), "the first is forgotten");
        backends.outcome(&service, &owner("a"), 0, FAILED, at(12));
        let refused = backends.choose(&service, &owner("a"), &[], at(13)).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), (Reason::BackendUnavailable, Some(at(4))));
        assert!(backends.choose(&service, &owner("a"), &[], at(17)).is_ok(), "one");
        assert!(backends.choose(&service, &owner("a"), &[], at(17)).is_err(), "and no other");
        backends.outcome(&service, &owner("a"), 0, FAILED, at(18));
        assert!(backends.choose(&service, &owner("a"), &[], at(22)).is_err(), "it has failed again");
        assert!(backends.choose(&service, &owner("a"), &[], at(23)).is_ok());
        backends.outcome(&service, &owner("a"), 0, WELL, at(24));
        assert!(
            backends.choose(&service, &owner("a"), &[], at(24)).is_ok()
                && backends.choose(&service, &owner("a"), &[], at(24)).is_ok()
        );
    }

    #[test]
    fn a_longer_pause_that_the_member_asks_for_is_kept_to() {
        let (backends, service) = (Backends::default(), service(&[(1, 1)], true));
        backends.outcome(&service, &owner("a"), 0, FAILED, at(0));
        backends.outcome(&service, &owner("a"), 0, (None, Some(at(60))), at(0));
        assert!(
            backends.choose(&service, &owner("a"), &[], at(59)).is_err()
                && backends.choose(&service, &owner("a"), &[], at(60)).is_ok()
        );
    }

    fn strict(failures: u32) -> Service {
        let mut service = service(&[(1, 1)], true);
        service.breaker = service.breaker.map(|breaker| Breaker { failures, ..breaker });
        service
    }

    #[test]
    fn one_owner_opens_the_breaker_for_nobody_else() {
        let (backends, service) = (Backends::default(), strict(4));
        for second in 0..100 {
            backends.outcome(&service, &owner("hostile"), 0, FAILED, at(second / 10));
        }
        assert!(backends.choose(&service, &owner("hostile"), &[], at(9)).is_err());
        assert!(backends.choose(&service, &owner("victim"), &[], at(9)).is_ok());
        backends.outcome(&service, &owner("victim"), 0, FAILED, at(9));
        assert!(
            backends.choose(&service, &owner("victim"), &[], at(9)).is_ok(),
            "one failure of its own is not enough"
        );
    }

    #[test]
    fn failures_of_two_owners_open_it_for_all_and_one_success_closes_it() {
        for failures in [1, 2, 4, 5] {
            let (backends, service) = (Backends::default(), strict(failures));
            for _ in 0..failures {
                backends.outcome(&service, &owner("a"), 0, FAILED, at(0));
                backends.outcome(&service, &owner("b"), 0, FAILED, at(0));
            }
            let choose = |who: &str, second| backends.choose(&service, &owner(who), &[], at(second));
            assert!(choose("c", 4).is_err(), "{failures}");
            assert!(choose("c", 5).is_ok() && choose("c", 5).is_err(), "one request decides");
            assert!(choose("d", 5).is_ok(), "for each owner its own: the first may be hostile");
            backends.outcome(&service, &owner("c"), 0, FAILED, at(5));
            assert!(choose("c", 9).is_err() && choose("e", 9).is_ok());
            backends.outcome(&service, &owner("d"), 0, WELL, at(9));
            assert!(choose("d", 9).is_ok() && choose("d", 9).is_ok());
        }
    }

    #[test]
    fn owners_that_are_judged_apart_are_bounded() {
        let (backends, service) = (Backends::default(), strict(3));
        for number in 0..2 * OWNERS {
            backends.outcome(&service, &owner(&number.to_string()), 0, FAILED, at(0));
        }
        let states = backends.states();
        let state = states.values().next().unwrap();
        assert!(state.circuits.len() <= OWNERS && state.failures.len() <= 3);
    }

    #[test]
    fn the_ill_get_none_unless_all_are() {
        let (backends, service) = (Backends::default(), service(&[(1, 1), (1, 2)], false));
        backends.checked(&service, 0, Some("503".into()));
        assert_eq!(backends.choose(&service, &owner("a"), &[], at(0)).unwrap(), 1);
        backends.checked(&service, 1, Some("503".into()));
        assert_eq!(backends.choose(&service, &owner("a"), &[], at(0)).unwrap(), 0);
    }
}
