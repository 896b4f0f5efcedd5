//! What changes in lists of policies.

use std::sync::Arc;

use super::ChangeKind;
use super::facts::facts;
use crate::model::{CarriedPolicies, Section};
use crate::policy::{Policies, Policy, Statement, Within};

/// A change in a list of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) section: Section,
    pub(super) kind: ChangeKind,
    /// The policy that changed.
    pub(super) what: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

/// A policy as it is compared: those in others stand after them.
#[derive(Clone, Debug)]
struct Item {
    scope: Arc<str>,
    /// The conditions that it is under.
    within: Vec<String>,
    label: &'static str,
    id: Option<Arc<str>>,
    report: bool,
    meaning: Statement,
    /// Its keys and values as written.
    facts: Vec<(String, String)>,
}

/// What is written makes no difference where it means the same.
impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        let Self { scope, within, label, id, report, meaning, facts: _ } = self;
        (scope, within, *label, id, *report) == (&other.scope, &other.within, other.label, &other.id, other.report)
            && (*meaning == other.meaning || (self.facts == other.facts && !meaning.properties().names_files))
    }
}

/// What changes in these sections.
pub(super) fn changes(old: &CarriedPolicies, new: &CarriedPolicies) -> Vec<Found> {
    let none = Policies::default();
    let (old, new) = (Policies::of(old).unwrap_or(&none), Policies::of(new).unwrap_or(&none));
    let sections = [
        (Section::Inbound, &old.inbound, &new.inbound),
        (Section::Backend, &old.backend, &new.backend),
        (Section::Outbound, &old.outbound, &new.outbound),
        (Section::OnError, &old.on_error, &new.on_error),
    ];
    sections.into_iter().flat_map(|(section, old, new)| section_changes(section, &items(old), &items(new))).collect()
}

fn items(policies: &[Arc<Policy>]) -> Vec<Item> {
    fn add(policies: &[Arc<Policy>], within: &[String], items: &mut Vec<Item>) {
        for policy in policies {
            items.push(Item {
                scope: Arc::clone(&policy.scope),
                within: within.to_vec(),
                label: policy.statement.label(),
                id: policy.id.clone(),
                report: policy.report,
                meaning: policy.statement.without_inner(),
                facts: facts(policy),
            });
            for (when, policies) in policy.statement.branches() {
                let condition = match when {
                    Within::When(condition) => format!("when {}", condition.source),
                    Within::Otherwise => "otherwise".to_owned(),
                    Within::Repeated => "retry".to_owned(),
                };
                add(policies, &[within, &[condition]].concat(), items);
            }
        }
    }
    let mut items = Vec::new();
    add(policies, &[], &mut items);
    items
}

fn section_changes(section: Section, old: &[Item], new: &[Item]) -> Vec<Found> {
    let kept = in_common(old, new);
    let mut gone: Vec<_> = (0..old.len()).filter(|index| !kept.iter().any(|(kept, _)| kept == index)).collect();
    let come = (0..new.len()).filter(|index| !kept.iter().any(|(_, kept)| kept == index));
    let mut found = Vec::new();
    let mut without = Vec::new();
    // The more alike, the sooner they are the same policy.
    for after in come {
        match gone.iter().position(|before| old[*before] == new[after]) {
            Some(index) => {
                gone.remove(index);
                let what = new[after].name();
                let place =
                    after.checked_sub(1).map_or("first".to_owned(), |before| format!("after {}", new[before].name()));
                found.push(Found { section, kind: ChangeKind::Moved, what, old: None, new: Some(place) });
            }
            None => without.push(after),
        }
    }
    let alike: [fn(&Item, &Item) -> bool; 3] = [
        |one, other| one.whose() == other.whose() && one.subject() == other.subject(),
        |one, other| one.label == other.label && one.id == other.id && one.subject() == other.subject(),
        |one, other| one.whose() == other.whose(),
    ];
    for alike in alike {
        without.retain(|after| {
            let Some(index) = gone.iter().position(|before| alike(&old[*before], &new[*after])) else { return true };
            let (before, after) = (&old[gone.remove(index)], &new[*after]);
            found.extend(before.changes(after).into_iter().map(|(name, old, new)| {
                let what = if name.is_empty() { after.name() } else { format!("{}, {name}", after.name()) };
                let told = |text: String| Some(text).filter(|text| !text.is_empty());
                Found { section, kind: ChangeKind::Changed, what, old: told(old), new: told(new) }
            }));
            false
        });
    }
    let one = |item: &Item, kind| Found { section, kind, what: item.name(), old: None, new: None };
    found.extend(gone.into_iter().map(|index| Found {
        old: Some(old[index].text()).filter(|text| !text.is_empty()),
        ..one(&old[index], ChangeKind::Removed)
    }));
    found.extend(without.into_iter().map(|index| Found {
        new: Some(new[index].text()).filter(|text| !text.is_empty()),
        ..one(&new[index], ChangeKind::Added)
    }));
    found
}

impl Item {
    /// Which policy it may be.
    fn whose(&self) -> (&str, &[String], &str, Option<&str>) {
        (&self.scope, &self.within, self.label, self.id.as_deref())
    }

    /// What it is about, of those that can be about several things.
    fn subject(&self) -> Option<&str> {
        let named = |wanted: &str| self.facts.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        named("name").or_else(|| named("variable"))
    }

    /// Returns the name that people read.
    fn name(&self) -> String {
        let mut name = self.label.to_owned();
        if let Some(id) = &self.id {
            name.push_str(&format!(" ({id})"));
        } else if let Some(subject) = self.subject() {
            name.push_str(&format!(" {subject}"));
        }
        for condition in &self.within {
            name.push_str(&format!(" [{condition}]"));
        }
        format!("{name} of {}", self.scope)
    }

    fn text(&self) -> String {
        let facts = self.facts.iter().map(|(name, value)| match name.as_str() {
            "" => value.clone(),
            name => format!("{name}: {value}"),
        });
        facts.chain(self.report.then(|| "enabled: report".to_owned())).collect::<Vec<_>>().join(", ")
    }

    /// The fields that differ, with both texts.
    fn changes(&self, new: &Self) -> Vec<(String, String, String)> {
        let mut changes = Vec::new();
        let mut compare = |name: &str, old: String, new: String| {
            if old != new {
                changes.push((name.to_owned(), old, new));
            }
        };
        let enabled = |report: bool| if report { "report" } else { "enforce" }.to_owned();
        compare("enabled", enabled(self.report), enabled(new.report));
        compare("scope", self.scope.to_string(), new.scope.to_string());
        let place = |within: &[String]| if within.is_empty() { "always".to_owned() } else { within.join(", ") };
        compare("condition", place(&self.within), place(&new.within));
        if self.meaning == new.meaning {
            return changes;
        }
        let before = changes.len();
        let mut names: Vec<_> = self.facts.iter().chain(&new.facts).map(|(name, _)| name).collect();
        names.dedup();
        let mut seen = Vec::new();
        for name in names {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let said = |item: &Self| {
                let said = item.facts.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone());
                let said = said.collect::<Vec<_>>().join(", ");
                if said.is_empty() { "none".to_owned() } else { said }
            };
            let (old, new) = (said(self), said(new));
            if old != new {
                changes.push((name.clone(), old, new));
            }
        }
        if changes.len() == before {
            changes.push(("a file or value that it names".to_owned(), String::new(), String::new()));
        }
        changes
    }
}

/// The longest list that is in both, in this order: the indices in the one and in the other.
fn in_common(old: &[Item], new: &[Item]) -> Vec<(usize, usize)> {
    // lengths[i][j]: of old[i..] and new[j..].
    let mut lengths = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, before) in old.iter().enumerate().rev() {
        for (j, after) in new.iter().enumerate().rev() {
            lengths[i][j] =
                if before == after { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut common) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            common.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}
