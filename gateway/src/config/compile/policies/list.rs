//! The lists of policies: in their order, each where it makes sense.

use std::sync::Arc;

use serde_saphyr::Spanned;

use super::{Entry, Shared};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::policies::{PolicyFile, Step};
use crate::model::{LimitId, Section};
use crate::policy::{Policy, Responds, Sections, Statement};

/// The policies of a section, as they are read.
pub(super) struct List<'a, 'b> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) section: Section,
    pub(super) scope: Arc<str>,
    /// The `id` of the policy that is read.
    pub(super) id: Option<Arc<str>>,
    /// The fragments that this is in.
    pub(super) within: Vec<&'a str>,
    /// What these would do is put on record, and not done.
    pub(super) report: bool,
    /// What counts are kept under; each once.
    pub(super) identities: Vec<LimitId>,
    pub(super) problems: &'b mut Vec<Problem>,
}

impl<'a> List<'a, '_> {
    /// The whole section.
    pub(super) fn top(&mut self, steps: &'a [Spanned<Step>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for step in steps {
            match &step.value {
                Step::Base => entries.push(Entry::Base),
                Step::Policy(_) => {
                    let place = Spanned::new((), step.referenced, step.defined);
                    let policies = self.steps(std::slice::from_ref(step));
                    entries.extend(policies.into_iter().map(|policy| Entry::Policy(policy, place.clone())));
                }
            }
        }
        self.nothing_after_the_end(steps);
        let sends = |entry: &Entry| match entry {
            Entry::Base => true,
            Entry::Policy(policy, _) => sends(policy),
        };
        if self.section == Section::Backend
            && !entries.iter().any(sends)
            && let Some(first) = steps.first()
        {
            let help = "add forward-request, or base";
            self.problems.push(Problem::at(first, "no policy of this section forwards the request", help));
        }
        entries
    }

    pub(super) fn steps(&mut self, steps: &'a [Spanned<Step>]) -> Vec<Arc<Policy>> {
        let mut policies = Vec::new();
        for step in steps {
            match &step.value {
                Step::Base => {
                    let help = "move it to the list of the section itself";
                    self.problems.push(Problem::at(step, "`base` has no meaning in a fragment or a branch", help));
                }
                Step::Policy(file) => match &file.include_fragment {
                    Some(name) => {
                        let before = self.report;
                        self.report |= is_reported(file.enabled.as_ref(), self.problems);
                        policies.extend(self.fragment(name));
                        self.report = before;
                    }
                    None => policies.extend(self.policy(step, file)),
                },
            }
        }
        self.nothing_after_the_end(steps);
        policies
    }

    fn nothing_after_the_end(&mut self, steps: &[Spanned<Step>]) {
        let ends = |step: &Spanned<Step>| match &step.value {
            Step::Base => false,
            Step::Policy(file) => file.ends(),
        };
        if let Some(after) = steps.iter().position(ends).and_then(|last| steps.get(last + 1)) {
            let help = "remove it, or move it before return-response";
            self.problems.push(Problem::at(after, "this policy never runs: return-response ends the section", help));
        }
    }

    fn fragment(&mut self, name: &'a Spanned<String>) -> Vec<Arc<Policy>> {
        let text = name.value.trim();
        let Some((known, steps)) = self.shared.fragments.get_key_value(text) else {
            let help = suggestion(text, self.shared.fragments.keys());
            let rule = format!("no fragment is named `{text}`");
            self.problems.push(Problem::at(name, rule, help).lacking(&["fragments"]));
            return Vec::new();
        };
        if self.within.contains(&known.as_str()) {
            self.problems.push(Problem::at(name, "this fragment includes itself", "remove the include"));
            return Vec::new();
        }
        self.within.push(known);
        let policies = self.steps(steps);
        self.within.pop();
        policies
    }

    fn policy(&mut self, step: &Spanned<Step>, file: &'a PolicyFile) -> Option<Arc<Policy>> {
        let before = self.report;
        self.report |= is_reported(file.enabled.as_ref(), self.problems);
        let id: Option<Arc<str>> = file.id.as_ref().map(|id| id.value.as_str().into());
        let outer = std::mem::replace(&mut self.id, id.clone());
        let mut statements = self.statements(file);
        self.id = outer;
        let report = std::mem::replace(&mut self.report, before);
        let misspelled = statements.is_empty() && self.problems.iter().any(|problem| problem.is_in_line_of(step));
        if statements.len() != 1 && !misspelled {
            let (rule, help) = if statements.is_empty() {
                ("this item has no policy", "add one, like `set-header: {name: X-Team, value: billing}`")
            } else {
                ("this item has more than one policy", "begin a new item, with a dash, for each policy")
            };
            self.problems.push(Problem::at(step, rule, help));
        }
        let statement = statements.pop()??;
        if let Some((rule, help)) = misplaced(&statement, self.section) {
            self.problems.push(Problem::at(step, format!("{} {rule}", statement.label()), help));
        }
        let forwards = matches!(statement.properties().responds, Responds::Forwards | Responds::Repeats);
        if let (Some(written), true) = (&file.enabled, report && forwards) {
            let rule = format!("{} cannot be `enabled: report`: the request would not be forwarded", statement.label());
            self.problems.push(Problem::at(written, rule, "remove it"));
        }
        let written = self.shared.written.at(step.defined);
        Some(Arc::new(Policy::new(id, Arc::clone(&self.scope), report, statement).written(written)))
    }
}

pub(super) fn is_reported(enabled: Option<&Spanned<String>>, problems: &mut Vec<Problem>) -> bool {
    match enabled.map(|written| (written, written.value.as_str())) {
        None | Some((_, "enforce")) => false,
        Some((_, "report")) => true,
        Some((written, _)) => {
            problems.push(Problem::at(
                written,
                format!("`{}` is not a value of `enabled`", written.value),
                "write enforce or report",
            ));
            false
        }
    }
}

/// Returns whether a policy may end with a response.
pub(super) fn sends(policy: &Policy) -> bool {
    policy.statement.any(&|statement| match statement.properties().responds {
        Responds::Itself | Responds::Forwards | Responds::Repeats => true,
        Responds::Never | Responds::FromCache => false,
    })
}

/// Returns why a policy makes no sense in a section, and what to do about it.
fn misplaced(statement: &Statement, section: Section) -> Option<(&'static str, &'static str)> {
    let Sections { places, rule, help } = statement.places();
    (!places.contains(&section)).then_some((rule, help))
}
