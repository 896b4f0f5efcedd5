//! Policies that contain lists of policies. They are compiled here, because only the configuration knows lists and fragments.

use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;

use super::list::{List, sends};
use crate::config::compile::duration;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::{BranchFile, PolicyFile, RetryFile};
use crate::model::Expression;
use crate::policy::{Branch, Choose, Forward, Policy, Retry, Statement};
use crate::syntax::{Reader, Wanted};

/// Requests of a hundred that may be sent again.
const DEFAULT_BUDGET: u32 = 20;

impl<'a> List<'a, '_> {
    /// Compiles what is written; `None` for what cannot be compiled.
    pub(super) fn statements(&mut self, file: &'a PolicyFile) -> Vec<Option<Statement>> {
        let mut statements = file.compile(self);
        if let Some(branches) = &file.choose {
            statements.push(Some(Statement::Choose(Choose { branches: self.branches(branches) })));
        }
        if let Some(retry) = &file.retry {
            statements.push(Some(Statement::Retry(self.retry(retry))));
        }
        statements
    }

    fn branches(&mut self, files: &'a [BranchFile]) -> Vec<Branch> {
        let mut branches = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let last = index + 1 == files.len();
            match (&file.when, &file.then, &file.otherwise) {
                (Some(when), Some(then), None) => {
                    let when = self.condition(when);
                    let then = self.steps(then);
                    branches.extend(when.map(|when| Branch { when: Some(when), then }));
                }
                (None, None, Some(otherwise)) if last => {
                    branches.push(Branch { when: None, then: self.steps(otherwise) });
                }
                (when, _, otherwise) => {
                    let place =
                        when.as_ref().map(|when| Problem::at(when, "this branch has `when`, but no `then`", ""));
                    let steps = otherwise.as_ref().and_then(|steps| steps.first());
                    let other = steps.map(|step| {
                        Problem::at(step, "`otherwise` is not the last branch, or has other keys beside it", "")
                    });
                    let help = "write choose: [{when: CONDITION, then: [...]}, {otherwise: [...]}]";
                    self.problems.extend(place.or(other).map(|problem| problem.helped(help)));
                }
            }
        }
        branches
    }

    fn retry(&mut self, file: &'a RetryFile) -> Retry {
        let policies = match &file.policies {
            Some(steps) => {
                let policies = self.steps(steps);
                if let Some(first) = steps.first().filter(|_| !policies.iter().any(|policy| sends(policy))) {
                    self.problems.push(Problem::at(
                        first,
                        "none of these policies forwards the request",
                        "add forward-request",
                    ));
                }
                policies
            }
            None => {
                let statement = Statement::ForwardRequest(Forward::default());
                vec![Arc::new(Policy::new(None, Arc::clone(&self.scope), false, statement))]
            }
        };
        Retry {
            condition: file.condition.as_ref().and_then(|condition| self.condition(condition)),
            count: file.count.value,
            interval: self.optional_duration(file.interval.as_ref()).unwrap_or(Duration::from_millis(100)),
            max_interval: self.optional_duration(file.max_interval.as_ref()).unwrap_or(Duration::from_secs(10)),
            any_method: file.any_method,
            identity: Reader::identity(self, "retry", None),
            budget: Some(file.budget.unwrap_or(DEFAULT_BUDGET)).filter(|budget| *budget > 0),
            policies,
        }
    }

    fn condition(&mut self, written: &Spanned<String>) -> Option<Expression> {
        Reader::expression(self, written, Wanted::Bool)
    }

    fn optional_duration(&mut self, written: Option<&Spanned<String>>) -> Option<Duration> {
        written.map(|written| duration(Some(written), Duration::from_secs(1), self.problems))
    }
}
