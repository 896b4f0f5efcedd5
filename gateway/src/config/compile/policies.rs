//! Policies: each checked where it stands, then those of all scopes in the order in which they run.

mod addresses;
mod clear;
mod list;
mod nested;
pub(super) mod path;
mod product;
mod reader;
mod sight;
mod signed;
mod workloads;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_saphyr::Spanned;

pub(super) use self::addresses::addresses_of;
use self::list::{List, is_reported};
use self::path::template;
use self::product::Offered;
use self::sight::Needing;
pub(super) use self::workloads::workloads;
use super::Outside;
use super::contract::Contracts;
use super::expression::Scope;
use super::openapi::{self, Imported};
use super::values::Values;
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::policies::{PoliciesFile, Step};
use crate::config::file::{ApiFile, File, OperationFile};
use crate::config::written::WrittenPolicies;
use crate::model::{
    ByProduct, CarriedPolicies, CounterStore, KeySet, Mode, Operation, PathTemplate, Rules, Section, Service,
};
use crate::policy::{Forward, Policies, Policy, Statement};

const DEFAULT_MAX_BODY: u32 = 1 << 20;

/// What policies of all APIs share.
pub(super) struct Shared<'a> {
    global: Scoped,
    products: Vec<Offered>,
    fragments: &'a BTreeMap<String, Vec<Spanned<Step>>>,
    written: &'a WrittenPolicies<'a>,
    values: Values,
    services: BTreeMap<String, Arc<Service>>,
    counters: Option<Arc<CounterStore>>,
    /// Whether they are written, right or wrong.
    has_counters: bool,
    /// And whether each is a secret.
    variables: BTreeMap<String, bool>,
    outside: &'a Outside<'a>,
    /// Each once, whoever checks with them.
    keys: RefCell<Vec<Arc<KeySet>>>,
    /// Whether there is an access log.
    recorded: bool,
    /// Whether Egret asks the Kubernetes API server.
    has_api_server: bool,
}

/// The sections of a scope, before those of wider ones are put in the place of `base`.
#[derive(Default)]
struct Scoped {
    sections: [Option<Vec<Entry>>; 4],
}

enum Entry {
    Base,
    /// And where it is written.
    Policy(Arc<Policy>, Spanned<()>),
}

const SECTIONS: [Section; 4] = [Section::Inbound, Section::Backend, Section::Outbound, Section::OnError];

impl<'a> Shared<'a> {
    pub(super) fn new(
        file: &'a File,
        written: &'a WrittenPolicies<'a>,
        values: Values,
        services: BTreeMap<String, Arc<Service>>,
        counters: Option<Arc<CounterStore>>,
        outside: &'a Outside<'a>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut variables = BTreeMap::new();
        let apis = file.apis.iter().flat_map(|api| {
            let operations = api.operations.iter().filter_map(|operation| operation.policies.as_ref());
            api.policies.iter().chain(operations)
        });
        let products = file.products.iter().filter_map(|product| product.policies.as_ref());
        for policies in file.policies.iter().chain(products).chain(apis) {
            sections(policies).into_iter().flatten().for_each(|steps| variables_of(steps, &mut variables));
        }
        file.fragments.values().for_each(|steps| variables_of(steps, &mut variables));
        let access_log = file.telemetry.as_ref().and_then(|telemetry| telemetry.access_log.as_deref());
        let mut shared = Self {
            global: Scoped::default(),
            products: Vec::new(),
            fragments: &file.fragments,
            written,
            values,
            services,
            counters,
            has_counters: file.counters.is_some(),
            variables,
            outside,
            keys: RefCell::default(),
            recorded: access_log != Some("off"),
            has_api_server: file.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.api),
        };
        if let Some(policies) = &file.policies {
            shared.global = shared.scoped(policies, "global", problems);
        }
        shared.products = shared.offered(file, problems);
        shared
    }

    /// What expressions in a section may name.
    fn scope(&self, section: Section) -> Scope<'_> {
        let Self { variables, values, has_api_server, .. } = self;
        Scope { section, variables, values, has_api_server: *has_api_server }
    }

    /// What policies check signatures with.
    pub(super) fn keys(&self) -> Vec<Arc<KeySet>> {
        self.keys.borrow().clone()
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
        let products: Vec<_> = self.products.iter().filter(|offered| offered.has(name)).collect();
        let scopes = Scopes { global, products: &products, own: own.as_ref() };
        let otherwise = scopes.compose(None, problems);
        let max_body = usize::try_from(file.max_body.unwrap_or(DEFAULT_MAX_BODY)).unwrap_or(usize::MAX);
        let mut document = file.openapi.as_ref().and_then(|written| openapi::read(written, outside, problems));
        let mut imported = document.as_mut().map(|document| document.operations(problems)).unwrap_or_default();
        // Nobody knows the operations of a document that cannot be read, which was reported.
        let has_unread = file.openapi.is_some() && imported.is_empty();
        let mut contracts = Contracts::new(file, max_body, document.as_ref());
        contracts.of(None, &otherwise, problems);
        let mut operations = Vec::new();
        for written in &file.operations {
            let own = imported.iter().position(|known| known.name == written.name.value.trim());
            let known = own.map(|index| imported.remove(index));
            let others = (!has_unread).then_some(imported.as_slice());
            operations.push(self.operation((name, written), known, others, &scopes, &mut contracts, problems));
        }
        // Each of the others is as the API is.
        operations.extend(imported.iter().map(|known| Operation {
            name: known.name.as_str().into(),
            method: Some(known.method.as_str().into()),
            path: known.path.clone(),
            policies: otherwise.clone(),
            contract: contracts.of(Some(known), &otherwise, problems),
        }));
        let faults = contracts.into_faults();
        if let Some(document) = &document {
            document.report(&faults, problems);
        }
        self.unique(&file.operations, problems);
        if file.only_operations && operations.is_empty() && !has_unread {
            let help = "add operations, or remove `only_operations`";
            let rule = "this API would refuse all requests: it has no operations";
            problems.push(Problem::at(&file.name, rule, help).lacking(&["operations", "openapi"]));
        }
        let mut rules = Rules {
            operations,
            otherwise,
            products: products.iter().map(|offered| offered.product.clone()).collect(),
            only_operations: file.only_operations,
            strict_paths: false,
            every_request: false,
            max_body,
            plain_secrets: file.plain_secrets,
        };
        rules.strict_paths = path::strict(file, &rules, problems);
        let needs =
            |policy: &Arc<Policy>| policy.statement.any(&|statement| statement.properties().needs_every_request);
        rules.every_request = rules.only_operations
            || file.operations.iter().any(|operation| operation.policies.is_some())
            || each(&rules).flat_map(Policies::sections).flatten().any(needs);
        let policed = !products.is_empty() || each(&rules).any(|policies| !policies.is_empty());
        let wants_strict = file.paths.is_some() && rules.strict_paths;
        let is_own = own.is_some() || file.operations.iter().any(|operation| operation.policies.is_some());
        let rule = match policed {
            true if is_own || !products.is_empty() => Some(Needing::OwnPolicies),
            true => Some(Needing::PoliciesOfAll),
            false if file.only_operations => Some(Needing::OnlyOperations),
            false => wants_strict.then_some(Needing::StrictPaths),
        };
        if let Some(rule) = rule {
            clear::secrets(file, mode, &rules, problems);
            sight::check(file, mode, rule, problems);
        }
        (policed || wants_strict || !rules.operations.is_empty()).then(|| Arc::new(rules))
    }

    fn operation(
        &self,
        (api, file): (&str, &OperationFile),
        imported: Option<Imported>,
        others: Option<&[Imported]>,
        scopes: &Scopes<'_>,
        contracts: &mut Contracts<'_>,
        problems: &mut Vec<Problem>,
    ) -> Operation {
        let name = file.name.value.trim();
        let own =
            file.policies.as_ref().map(|policies| self.scoped(policies, &format!("operation {api}/{name}"), problems));
        let method = file.method.as_ref().and_then(|written| {
            let method = Method::from_bytes(written.value.trim().as_bytes());
            if method.is_err() || written.value.trim().is_empty() {
                problems.push(Problem::at(
                    written,
                    format!("`{}` is not an HTTP method", written.value),
                    "write a method like GET or POST",
                ));
            }
            method.ok().map(|method| method.as_str().into())
        });
        let policies = scopes.compose(own.as_ref(), problems);
        let contract = contracts.of(imported.as_ref(), &policies, problems);
        let (path, method) = match (&file.path, imported) {
            (Some(written), _) => (template(written, problems), method),
            (None, Some(known)) => {
                let described = known.method.as_str().into();
                (known.path, method.or(Some(described)))
            }
            (None, None) => {
                if let Some(others) = others {
                    let names: Vec<_> = others.iter().map(|known| known.name.clone()).collect();
                    let help = match names.as_slice() {
                        [] => "add `path: /prices/{id}`".to_owned(),
                        names => suggestion(name, names.iter()),
                    };
                    let problem = Problem::at(&file.name, "this operation has no path", help);
                    problems.push(problem.lacking(&["path", "openapi"]));
                }
                (PathTemplate::default(), method)
            }
        };
        Operation { name: name.into(), method, path, policies, contract }
    }

    fn unique(&self, operations: &[OperationFile], problems: &mut Vec<Problem>) {
        for (index, operation) in operations.iter().enumerate() {
            let before = &operations[..index];
            if let Some(other) = before.iter().find(|other| other.name.value == operation.name.value) {
                let problem =
                    Problem::at(&operation.name, "another operation of this API has this name", "rename one of them");
                problems.push(problem.with(&other.name));
            }
            let method = |file: &OperationFile| file.method.as_ref().map(|method| method.value.clone());
            let Some(path) = &operation.path else { continue };
            let same = |other: &&OperationFile| {
                other.path.as_ref().is_some_and(|other| other.value == path.value) && method(other) == method(operation)
            };
            if let Some(other) = before.iter().find(same).and_then(|other| other.path.as_ref()) {
                let rule = "another operation of this API has this method and path";
                problems.push(Problem::at(path, rule, "remove one of them").with(other));
            }
        }
    }

    fn scoped(&self, file: &PoliciesFile, scope: &str, problems: &mut Vec<Problem>) -> Scoped {
        let mut scoped = Scoped::default();
        let report = is_reported(file.enabled.as_ref(), problems);
        for ((section, steps), place) in SECTIONS.into_iter().zip(sections(file)).zip(&mut scoped.sections) {
            *place = steps.map(|steps| {
                let mut list = List {
                    shared: self,
                    section,
                    scope: scope.into(),
                    id: None,
                    within: Vec::new(),
                    report,
                    identities: Vec::new(),
                    problems,
                };
                list.top(steps)
            });
        }
        scoped
    }
}

/// What holds for an API, from the widest to the narrowest.
struct Scopes<'a> {
    global: &'a Scoped,
    products: &'a [&'a Offered],
    own: Option<&'a Scoped>,
}

impl Scopes<'_> {
    /// With those of an operation.
    fn compose(&self, operation: Option<&Scoped>, problems: &mut Vec<Problem>) -> ByProduct {
        let mut with = |product: Option<&Scoped>| {
            let scopes: Vec<_> = [Some(self.global), product, self.own, operation].into_iter().flatten().collect();
            CarriedPolicies::new(compose(&scopes, problems))
        };
        ByProduct {
            without: with(None),
            with: self.products.iter().map(|offered| with(offered.scoped.as_ref())).collect(),
        }
    }
}

fn sections(file: &PoliciesFile) -> [Option<&Vec<Spanned<Step>>>; 4] {
    [file.inbound.as_ref(), file.backend.as_ref(), file.outbound.as_ref(), file.on_error.as_ref()]
}

/// What these policies set; a secret, if any of them says so.
fn variables_of(steps: &[Spanned<Step>], variables: &mut BTreeMap<String, bool>) {
    for step in steps {
        let Step::Policy(policy) = &step.value else { continue };
        for (name, secret) in policy.variables() {
            *variables.entry(name.value.trim().to_owned()).or_default() |= secret;
        }
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

/// Returns the lists of policies that may apply to the requests of an API.
fn each(rules: &Rules) -> impl Iterator<Item = &Policies> {
    rules.each().filter_map(Policies::of)
}

/// Policies in their order, and where each is written.
type Running<'a> = Vec<(Arc<Policy>, Option<&'a Spanned<()>>)>;

/// What runs, from the widest of these scopes to the narrowest.
fn compose<'a>(scopes: &[&'a Scoped], problems: &mut Vec<Problem>) -> Policies {
    let forward = Policy::new(None, "default".into(), false, Statement::ForwardRequest(Forward::default()));
    let section = |index: usize, mut running: Running<'a>| {
        for entries in scopes.iter().filter_map(|scope| scope.sections[index].as_ref()) {
            let wider = std::mem::take(&mut running);
            for entry in entries {
                match entry {
                    Entry::Base => running.extend(wider.iter().cloned()),
                    Entry::Policy(policy, place) => running.push((Arc::clone(policy), Some(place))),
                }
            }
        }
        running
    };
    let (inbound, backend) = (section(0, Vec::new()), section(1, vec![(Arc::new(forward), None)]));
    signed::check(inbound.iter().chain(&backend), problems);
    let policies = |running: Running<'_>| running.into_iter().map(|(policy, _)| policy).collect::<Vec<_>>();
    let [inbound, backend, outbound, on_error] =
        [inbound, backend, section(2, Vec::new()), section(3, Vec::new())].map(policies);
    Policies::new([inbound, backend, outbound, on_error])
}
