//! Policies: each checked where it stands, then those of all scopes in the order in which they run.

mod list;
mod path;
mod statement;
mod telemetry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use serde_saphyr::Spanned;

use self::list::{List, is_reported};
use self::path::template;
use super::Outside;
use super::openapi::{self, Imported};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::policies::{OperationFile, PoliciesFile, Step};
use crate::config::file::{ApiFile, File};
use crate::model::{
    Forward, Mode, NamedValue, Operation, PathTemplate, Policies, Policy, Rules, Section, Statement, looks_at_request,
};

const DEFAULT_MAX_BODY: u32 = 1 << 20;

/// What policies of all APIs share.
pub(super) struct Shared<'a> {
    global: Scoped,
    fragments: &'a BTreeMap<String, Vec<Spanned<Step>>>,
    values: BTreeMap<String, Arc<NamedValue>>,
    variables: BTreeSet<String>,
    /// Whether there is an access log.
    recorded: bool,
}

/// The sections of a scope, before those of wider ones are put in the place of `base`.
#[derive(Default)]
struct Scoped {
    sections: [Option<Vec<Entry>>; 4],
}

enum Entry {
    Base,
    Policy(Arc<Policy>),
}

const SECTIONS: [Section; 4] = [Section::Inbound, Section::Backend, Section::Outbound, Section::OnError];

impl<'a> Shared<'a> {
    pub(super) fn new(file: &'a File, values: BTreeMap<String, Arc<NamedValue>>, problems: &mut Vec<Problem>) -> Self {
        let mut variables = BTreeSet::new();
        let apis = file.apis.iter().flat_map(|api| {
            let operations = api.operations.iter().filter_map(|operation| operation.policies.as_ref());
            api.policies.iter().chain(operations)
        });
        for policies in file.policies.iter().chain(apis) {
            sections(policies).into_iter().flatten().for_each(|steps| variables_of(steps, &mut variables));
        }
        file.fragments.values().for_each(|steps| variables_of(steps, &mut variables));
        let access_log = file.telemetry.as_ref().and_then(|telemetry| telemetry.access_log.as_deref());
        let (global, recorded) = (Scoped::default(), access_log != Some("off"));
        let mut shared = Self { global, fragments: &file.fragments, values, variables, recorded };
        if let Some(policies) = &file.policies {
            shared.global = shared.scoped(policies, "global", problems);
        }
        shared
    }

    /// What is done with the requests of an API, if anything.
    pub(super) fn rules(
        &self,
        file: &ApiFile,
        mode: Mode,
        outside: &Outside<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Rules>> {
        let name = file.name.value.trim();
        let inherit = file.inherit.unwrap_or(true);
        let nothing = Scoped::default();
        let global = if inherit { &self.global } else { &nothing };
        let own = file.policies.as_ref().map(|policies| self.scoped(policies, &format!("api {name}"), problems));
        let scopes: Vec<_> = [Some(global), own.as_ref()].into_iter().flatten().collect();
        let otherwise = Arc::new(compose(&scopes));
        let mut imported =
            file.openapi.as_ref().map(|written| openapi::operations(written, outside, problems)).unwrap_or_default();
        let mut operations = Vec::new();
        for written in &file.operations {
            let own = imported.iter().position(|known| known.name == written.name.value.trim());
            let known = own.map(|index| imported.remove(index));
            operations.push(self.operation(written, known, &imported, &scopes, problems));
        }
        // Each of the others is as the API is.
        operations.extend(imported.into_iter().map(|Imported { name, method, path }| Operation {
            name: name.as_str().into(),
            method: Some(method.as_str().into()),
            path:
                file.openapi.as_ref().map_or_else(PathTemplate::default, |written| template(&path, written, problems)),
            policies: Arc::clone(&otherwise),
        }));
        self.unique(&file.operations, problems);
        if file.only_operations && operations.is_empty() {
            let help = "list them, or leave only_operations out";
            problems.push(Problem::at(
                &file.name,
                "no request of this API would be let through: it has no operations",
                help,
            ));
        }
        let policed = !otherwise.is_empty() || operations.iter().any(|operation| !operation.policies.is_empty());
        if policed || file.only_operations {
            can_be_seen(file, mode, own.is_some() || !operations.is_empty(), problems);
        }
        let rules = Rules {
            operations,
            otherwise,
            only_operations: file.only_operations,
            max_body: usize::try_from(file.max_body.unwrap_or(DEFAULT_MAX_BODY)).unwrap_or(usize::MAX),
            plain_secrets: file.plain_secrets,
        };
        (policed || !rules.operations.is_empty()).then(|| Arc::new(rules))
    }

    fn operation(
        &self,
        file: &OperationFile,
        imported: Option<Imported>,
        others: &[Imported],
        scopes: &[&Scoped],
        problems: &mut Vec<Problem>,
    ) -> Operation {
        let name = file.name.value.trim();
        let own = file.policies.as_ref().map(|policies| self.scoped(policies, &format!("operation {name}"), problems));
        let scopes: Vec<_> = scopes.iter().copied().chain(&own).collect();
        let method = file.method.as_ref().and_then(|written| {
            let method = Method::from_bytes(written.value.trim().as_bytes());
            if method.is_err() || written.value.trim().is_empty() {
                problems.push(Problem::at(written, "not a method", "GET, POST, ..."));
            }
            method.ok().map(|method| method.as_str().into())
        });
        let (path, method) = match (&file.path, imported) {
            (Some(written), _) => (template(&written.value, written, problems), method),
            (None, Some(known)) => {
                (template(&known.path, &file.name, problems), method.or_else(|| Some(known.method.as_str().into())))
            }
            (None, None) => {
                let names: Vec<_> = others.iter().map(|known| known.name.clone()).collect();
                let help =
                    if names.is_empty() { "path: /prices/{id}".to_owned() } else { suggestion(name, names.iter()) };
                problems.push(Problem::at(&file.name, "this operation has no path", help));
                (PathTemplate::default(), method)
            }
        };
        Operation { name: name.into(), method, path, policies: Arc::new(compose(&scopes)) }
    }

    fn unique(&self, operations: &[OperationFile], problems: &mut Vec<Problem>) {
        for (index, operation) in operations.iter().enumerate() {
            let before = &operations[..index];
            if let Some(other) = before.iter().find(|other| other.name.value == operation.name.value) {
                let problem = Problem::at(&operation.name, "another operation of this API has this name", "rename one");
                problems.push(problem.with(&other.name));
            }
            let method = |file: &OperationFile| file.method.as_ref().map(|method| method.value.clone());
            let Some(path) = &operation.path else { continue };
            let same = |other: &&OperationFile| {
                other.path.as_ref().is_some_and(|other| other.value == path.value) && method(other) == method(operation)
            };
            if let Some(other) = before.iter().find(same).and_then(|other| other.path.as_ref()) {
                let rule = "another operation of this API has this method and path";
                problems.push(Problem::at(path, rule, "remove one").with(other));
            }
        }
    }

    fn scoped(&self, file: &PoliciesFile, scope: &str, problems: &mut Vec<Problem>) -> Scoped {
        let mut scoped = Scoped::default();
        let report = is_reported(file.enabled.as_ref(), problems);
        for ((section, steps), place) in SECTIONS.into_iter().zip(sections(file)).zip(&mut scoped.sections) {
            *place = steps.map(|steps| {
                let mut list =
                    List { shared: self, section, scope: scope.into(), within: Vec::new(), report, problems };
                list.top(steps)
            });
        }
        scoped
    }
}

/// Requests of some APIs are not seen: policies there would do nothing.
fn can_be_seen(file: &ApiFile, mode: Mode, own: bool, problems: &mut Vec<Problem>) {
    let ports: Option<Vec<u16>> = file.ports.as_ref().map(|ports| ports.iter().map(|port| port.value).collect());
    let tls = ports.is_none_or(|ports| ports.contains(&443));
    let rule = match mode {
        Mode::Bind | Mode::Deny => {
            format!("in mode {} Egret sees no requests: policies would do nothing", mode.label())
        }
        Mode::Passthrough if tls => {
            "in mode passthrough TLS is left as it is: policies would see no request of it".to_owned()
        }
        Mode::Passthrough | Mode::Intercept if !file.opaque_ports.is_empty() => {
            "on opaque ports Egret sees no requests: policies would do nothing there".to_owned()
        }
        Mode::Passthrough | Mode::Intercept => return,
    };
    let help = match (mode, own) {
        (_, false) => "these are the policies of all APIs: write inherit: false, or mode: intercept",
        (Mode::Passthrough, _) if tls => "mode: intercept; or, where only plain HTTP is meant, ports: [80]",
        (Mode::Passthrough | Mode::Intercept, _) => "an API of its own for those ports",
        (Mode::Bind | Mode::Deny, _) => "mode: intercept",
    };
    problems.push(Problem::at(file.mode.as_ref().unwrap_or(&file.name), rule, help));
}

fn sections(file: &PoliciesFile) -> [Option<&Vec<Spanned<Step>>>; 4] {
    [file.inbound.as_ref(), file.backend.as_ref(), file.outbound.as_ref(), file.on_error.as_ref()]
}

/// What some policy of these sets.
fn variables_of(steps: &[Spanned<Step>], variables: &mut BTreeSet<String>) {
    for step in steps {
        let Step::Policy(policy) = &step.value else { continue };
        let names = [
            policy.set_variable.as_ref().map(|set| &set.name),
            policy.cache_lookup_value.as_ref().map(|lookup| &lookup.variable),
        ];
        variables.extend(names.into_iter().flatten().map(|name| name.value.trim().to_owned()));
        for branch in policy.choose.iter().flatten() {
            branch.then.iter().chain(&branch.otherwise).for_each(|steps| variables_of(steps, variables));
        }
        policy
            .retry
            .iter()
            .filter_map(|retry| retry.policies.as_ref())
            .for_each(|steps| variables_of(steps, variables));
    }
}

/// What runs, from the widest of these scopes to the narrowest.
fn compose(scopes: &[&Scoped]) -> Policies {
    let forward = Policy::new(None, "default".into(), false, Statement::ForwardRequest(Forward::default()));
    let section = |index: usize, mut running: Vec<Arc<Policy>>| {
        for entries in scopes.iter().filter_map(|scope| scope.sections[index].as_ref()) {
            let wider = std::mem::take(&mut running);
            for entry in entries {
                match entry {
                    Entry::Base => running.extend(wider.iter().cloned()),
                    Entry::Policy(policy) => running.push(Arc::clone(policy)),
                }
            }
        }
        running
    };
    let (inbound, backend) = (section(0, Vec::new()), section(1, vec![Arc::new(forward)]));
    let (outbound, on_error) = (section(2, Vec::new()), section(3, Vec::new()));
    let looks_back = [&backend, &outbound, &on_error].into_iter().any(|policies| looks_at_request(policies));
    Policies { inbound, backend, outbound, on_error, looks_back }
}
