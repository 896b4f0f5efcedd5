//! What policies do beside changing the message: they count, hold places, and report.
//!
//! One rule says what a policy with `enabled: report` may do of this: it evaluates and counts, because otherwise it could not say
//! what it would refuse, and it adds to the account. It writes no record, keeps no value, sends nothing and fetches no token.
//! [`super::kind::WhenReported`] says it of each policy, and [`Effects::mark`] with [`Effects::drop_records`] holds it.

use std::fmt;
use std::sync::Arc;

use super::meter::Meters;
use super::state::State;
use crate::model::{Expression, Reason, Section, Told};

/// What policies do beside changing the message.
#[derive(Debug, Default)]
pub struct Effects {
    /// Places that the request holds until its response has ended.
    pub held: Vec<Held>,
    /// The account of what each policy did, where somebody wants one.
    pub steps: Option<Vec<Step>>,
    /// What policies would have refused that only report: their names, the reasons and the messages.
    pub reports: Vec<(&'static str, Reason, String)>,
    /// What happens when the response has ended.
    pub meters: Meters,
    /// Records that policies have written and that are not passed on yet.
    pub(in crate::policy) told: Vec<Told>,
    /// Counts that are taken back if the response says so.
    pub(in crate::policy) undecided: Vec<Undecided>,
}

/// A place that a request holds. It is free again when this is dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is held, not read")] Box<dyn Place>);

/// A place that a request can hold.
pub(in crate::policy) trait Place: fmt::Debug + Send + Sync {}

impl Held {
    pub(in crate::policy) fn new(place: impl Place + 'static) -> Self {
        Self(Box::new(place))
    }
}

/// What a policy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The section in which the policy ran.
    pub section: Section,
    /// The scope in which the policy is written.
    pub scope: Arc<str>,
    /// The name of the policy, as in the configuration.
    pub policy: &'static str,
    /// The `id` of the policy.
    pub id: Option<Arc<str>>,
    /// Whether the policy only reports.
    pub report: bool,
    /// What it did; secrets are masked.
    pub did: String,
}

/// A count that is taken back unless a condition on the response holds.
pub(in crate::policy) struct Undecided {
    pub(in crate::policy) condition: Expression,
    pub(in crate::policy) take_back: Box<dyn FnOnce(&State) + Send + Sync>,
}

impl fmt::Debug for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Undecided").field(&self.condition).finish_non_exhaustive()
    }
}

impl Effects {
    /// Adds to the account of the policy that runs, where somebody wants one.
    pub(in crate::policy) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(step) = self.steps.as_mut().and_then(|steps| steps.last_mut()) {
            if !step.did.is_empty() {
                step.did.push_str("; ");
            }
            step.did.push_str(&what());
        }
    }

    /// Begins the account of a policy, where somebody wants one.
    pub(super) fn begin(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.steps {
            steps.push(step());
        }
    }

    /// Returns how many records there are and how many will be written when the response has ended.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.told.len(), self.meters.mark())
    }

    /// Drops the records that were written since a mark, and those that would be written when the response has ended.
    pub(super) fn drop_records(&mut self, (told, meters): (usize, usize)) {
        self.told.truncate(told);
        self.meters.silence(meters);
    }
}
