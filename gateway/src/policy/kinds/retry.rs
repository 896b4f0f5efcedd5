#[cfg(test)]
mod properties;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Expression, LimitId, OfPlace, Pending};
use crate::policy::engine::{
    Call, Compiled, Fault, Kind, Outcome, Policy, Reads, Responds, Sections, Side, Traits, WhenReported, World, bodies,
    expression, fields, list,
};

/// Runs its policies again while a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry<K> {
    /// The condition, evaluated after each try. Absent: there is no response, or one with status 502, 503 or 504.
    pub condition: Option<Expression>,
    /// The most tries after the first one.
    pub count: u32,
    /// The pause before the second try.
    pub interval: Duration,
    /// The longest pause.
    pub max_interval: Duration,
    /// Whether requests are sent again that are not safe to be sent twice (RFC 9110 §9.2.2).
    pub any_method: bool,
    /// What its budget is stored under, across reloads.
    pub identity: OfPlace<LimitId>,
    /// How many of a hundred requests may be sent once more; any number, if absent.
    pub budget: Option<u32>,
    /// The policies that run.
    pub policies: Vec<Arc<Policy<K>>>,
}

impl<K: Compiled> Kind for Retry<K> {
    const NAME: &'static str = "retry";
    const SECTIONS: Sections = Sections::BACKEND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: self.condition.iter().collect(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: true,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Repeats,
            counts_by: self.condition.iter().collect(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Runs,
        }
    }
}

impl<K: Compiled> Retry<K> {
    /// Returns the same policy without the policies in it.
    pub(in crate::policy) fn shallow(&self) -> Self {
        Self { policies: Vec::new(), ..self.clone() }
    }

    /// Runs its policies until they need not run again.
    pub(in crate::policy) fn run<'a>(
        &'a self,
        call: &'a mut Call<'_>,
        world: &'a mut dyn World,
    ) -> Pending<'a, Result<Outcome, Box<Fault>>> {
        Box::pin(async move {
            // What is streamed can be sent once.
            bodies::whole(Side::Request, call, world).await?;
            world.state().of::<Budgets>().earn(self);
            for times in 0.. {
                let outcome = list(&self.policies, call, world).await;
                match pause(self, call, outcome.as_ref().err().map(|fault| &**fault), times)? {
                    None => return outcome,
                    Some(_) if !world.state().of::<Budgets>().spend(self) => {
                        call.note(|| "not again: too many requests were sent again lately".to_owned());
                        return outcome;
                    }
                    Some(pause) => {
                        call.note(|| format!("again after {pause:?}"));
                        world.pause(pause).await;
                    }
                }
            }
            Ok(Outcome::Continue)
        })
    }
}

/// The tries that are left: each request adds its share, and each further try takes one. A third party that is down receives little
/// more than the requests that there are.
#[derive(Debug, Default)]
struct Budgets(Mutex<HashMap<LimitId, u32>>);

/// The tries that there are at first, in hundredths: a few requests can be sent again at any time.
const RESERVE: u32 = 10 * ONE;
/// The most tries that add up, in hundredths.
const MOST: u32 = 100 * ONE;
const ONE: u32 = 100;

impl Budgets {
    /// Adds the share of a request.
    fn earn<K>(&self, retry: &Retry<K>) {
        let Some(share) = retry.budget else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.entry(retry.identity.0.clone()).or_insert(RESERVE);
        *left = left.saturating_add(share).min(MOST);
    }

    /// Takes a try, if one is left.
    fn spend<K>(&self, retry: &Retry<K>) -> bool {
        if retry.budget.is_none() {
            return true;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.entry(retry.identity.0.clone()).or_insert(RESERVE);
        let enough = *left >= ONE;
        *left -= if enough { ONE } else { 0 };
        enough
    }
}

/// Returns the pause after which the policies run again after so many tries, if they do.
///
/// # Errors
/// The condition failed.
fn pause<K>(
    retry: &Retry<K>,
    call: &Call<'_>,
    failed: Option<&Fault>,
    times: u32,
) -> Result<Option<Duration>, Box<Fault>> {
    if times >= retry.count || !(retry.any_method || is_idempotent(call)) {
        return Ok(None);
    }
    let again = match (&retry.condition, &call.message.response) {
        (_, None) => failed.is_some_and(|fault| fault.unanswered.is_some()),
        (Some(condition), Some(_)) => expression::holds(condition, call)?,
        (None, Some(response)) => matches!(response.status.as_u16(), 502..=504),
    };
    if !again {
        return Ok(None);
    }
    let response = call.message.response.as_ref();
    if let Some(asked) = response.and_then(|response| fields::retry_after(&response.headers, call.context.time)) {
        // The caller is told of a pause that is longer than its owner waits.
        return Ok((asked <= retry.max_interval).then_some(asked));
    }
    let grown = retry.interval.saturating_mul(1 << times.min(20)).min(retry.max_interval);
    // From a half to the whole, so that callers who failed together do not come together.
    let chance =
        f64::from(u32::try_from(RandomState::new().hash_one(times) >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    Ok(Some(grown.mul_f64(0.5 + chance / 2.0)))
}

/// RFC 9110 §9.2.2.
fn is_idempotent(call: &Call<'_>) -> bool {
    matches!(call.message.request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_party_that_is_down_gets_little_more_than_there_is() {
        let retry = Retry {
            condition: None,
            count: 3,
            interval: Duration::ZERO,
            max_interval: Duration::ZERO,
            any_method: false,
            identity: OfPlace(LimitId::saved("retry")),
            budget: Some(20),
            policies: Vec::<Arc<Policy<crate::policy::Statement>>>::new(),
        };
        let budgets = Budgets::default();
        let mut again = 0;
        for _ in 0..1000 {
            budgets.earn(&retry);
            again += (0..retry.count).filter(|_| budgets.spend(&retry)).count();
        }
        assert_eq!(again, 10 + 1000 / 5);
        let unbounded = Retry { budget: None, ..retry };
        assert!((0..1000).all(|_| budgets.spend(&unbounded)));
    }
}
