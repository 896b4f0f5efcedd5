use std::sync::Arc;

use crate::model::Expression;
use crate::policy::engine::{
    Call, Compiled, Fault, Kind, Policy, Reads, Responds, Sections, Traits, WhenReported, Within, expression,
};

/// Runs the policies of the first branch whose condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choose<K> {
    /// The branches, in their order.
    pub branches: Vec<Branch<K>>,
}

/// Policies under a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch<K> {
    /// The condition; the policies run in all other cases where it is absent.
    pub when: Option<Expression>,
    /// The policies of the branch.
    pub then: Vec<Arc<Policy<K>>>,
}

impl<K: Compiled> Kind for Choose<K> {
    const NAME: &'static str = "choose";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: self.conditions(),
            conditions: self.conditions(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Runs,
        }
    }
}

impl<K> Choose<K> {
    fn conditions(&self) -> Vec<&Expression> {
        self.branches.iter().filter_map(|branch| branch.when.as_ref()).collect()
    }

    /// Returns the policies of each branch.
    pub(in crate::policy) fn inner(&self) -> Vec<(Within<'_>, &[Arc<Policy<K>>])> {
        let branches = self
            .branches
            .iter()
            .map(|Branch { when, then }| (when.as_ref().map_or(Within::Otherwise, Within::When), then.as_slice()));
        branches.collect()
    }

    /// Returns the same branches without their policies.
    pub(in crate::policy) fn shallow(&self) -> Self {
        let branch = |branch: &Branch<K>| Branch { when: branch.when.clone(), then: Vec::new() };
        Self { branches: self.branches.iter().map(branch).collect() }
    }

    /// Returns the policies that run in the place of this one.
    ///
    /// # Errors
    /// A condition failed.
    pub(in crate::policy) fn run(&self, call: &mut Call<'_>) -> Result<&[Arc<Policy<K>>], Box<Fault>> {
        for branch in &self.branches {
            if branch.when.as_ref().map_or(Ok(true), |when| expression::holds(when, call))? {
                call.note(|| branch.when.as_ref().map_or("otherwise".to_owned(), |when| when.source.to_string()));
                return Ok(&branch.then);
            }
        }
        Ok(&[])
    }
}
