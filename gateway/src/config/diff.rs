//! What changes from one configuration to another, in words. What is in files that they name is compared where it is a part
//! of the model: certificates are, secrets are not.

mod facts;
mod policies;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use self::text::{
    access_log, addresses, audience, counted, duration, exported, kubernetes, offered, optional, path, plain, proxy,
    served, source, summary, target, tls_version, unlisted,
};
use super::{Compiled, Settings, base};
use crate::model::{Api, Backend, Model, NamedValue, Operation, Product, Rules, number};

/// A difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whose; what all APIs have in common, if absent.
    pub api: Option<String>,
    /// Where: a key of the configuration, or a section of policies, of an operation perhaps.
    pub place: String,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// What, where the place does not say it.
    pub what: Option<String>,
    /// What it was.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is something else.
    Changed,
    /// It runs before, or after, others than it did.
    Moved,
}

impl ChangeKind {
    /// The spelling in the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Moved => "moved",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, place, kind, what, old, new } = self;
        write!(f, "{}: {place} {}", api.as_deref().unwrap_or("all"), kind.label())?;
        what.iter().try_for_each(|what| write!(f, ": {what}"))?;
        match (old, new) {
            (None, None) => Ok(()),
            (Some(one), None) | (None, Some(one)) => write!(f, ": {one}"),
            (Some(old), Some(new)) => write!(f, ": {old} -> {new}"),
        }
    }
}

/// Everything that changes, from the one to the other, which were read from here: for all APIs, then API by API in the order
/// of their names.
pub fn diff((old, before): (&Compiled, &Path), (new, after): (&Compiled, &Path)) -> Vec<Change> {
    let mut all = Changes { api: None, found: Vec::new() };
    all.model(&old.model, &new.model);
    all.values((&old.model.values, base(before)), (&new.model.values, base(after)));
    all.settings(&old.settings, &new.settings);
    let mut found = all.found;
    let apis = [&old.model, &new.model].map(|model| model.apis.iter());
    let mut names: Vec<_> = apis.into_iter().flatten().map(|api| &api.name).collect();
    names.sort();
    names.dedup();
    for name in names {
        let of = |model: &'_ Model| model.apis.iter().position(|api| api.name == *name);
        let mut own = Changes { api: Some(name.to_string()), found: Vec::new() };
        let [before, after] = [&old.model, &new.model].map(|model| of(model).map(|index| (model, &model.apis[index])));
        match (before, after) {
            (Some(before), Some(after)) => own.api(before, after),
            (Some((_, api)), None) => own.push("api", ChangeKind::Removed, None, Some(summary(api)), None),
            (None, Some((_, api))) => own.push("api", ChangeKind::Added, None, None, Some(summary(api))),
            (None, None) => {}
        }
        found.append(&mut own.found);
    }
    found
}

/// The changes of an API, or of what all have in common.
struct Changes {
    api: Option<String>,
    found: Vec<Change>,
}

impl Changes {
    fn push(&mut self, place: &str, kind: ChangeKind, what: Option<String>, old: Option<String>, new: Option<String>) {
        self.found.push(Change { api: self.api.clone(), place: place.to_owned(), kind, what, old, new });
    }

    /// A key with one value.
    fn value<T: PartialEq>(&mut self, place: &str, old: &T, new: &T, text: impl Fn(&T) -> String) {
        if old != new {
            self.push(place, ChangeKind::Changed, None, Some(text(old)), Some(text(new)));
        }
    }

    /// A key with a list whose order means nothing.
    fn each<T: PartialEq + ToString>(&mut self, place: &str, old: &[T], new: &[T]) {
        for gone in old.iter().filter(|one| !new.contains(one)) {
            self.push(place, ChangeKind::Removed, Some(gone.to_string()), None, None);
        }
        for come in new.iter().filter(|one| !old.contains(one)) {
            self.push(place, ChangeKind::Added, Some(come.to_string()), None, None);
        }
    }

    fn model(&mut self, old: &Model, new: &Model) {
        self.value("egress.addresses", &old.egress.addresses, &new.egress.addresses, |all| addresses(all));
        self.value("egress.proxy", &old.egress.proxy, &new.egress.proxy, proxy);
        let (before, after) = (&old.limits, &new.limits);
        self.value("limits.request_head", &before.request_head, &after.request_head, duration);
        self.value("limits.idle", &before.idle, &after.idle, |value| optional(value, duration));
        self.value("limits.total", &before.total, &after.total, |value| optional(value, duration));
        self.value("limits.first_byte", &before.first_byte, &after.first_byte, duration);
        self.value("limits.buffered_bytes", &before.buffered_bytes, &after.buffered_bytes, plain);
        let connections = (&before.connections_per_workload, &after.connections_per_workload);
        self.value("limits.connections_per_workload", connections.0, connections.1, |value| optional(value, plain));
        self.value("capture.unlisted", &old.unlisted, &new.unlisted, unlisted);
        self.value("drain", &old.drain.hand_over, &new.drain.hand_over, duration);
        self.value("stop", &old.drain.stop, &new.drain.stop, duration);
        self.services(old, new);
    }

    /// A file that is named from where the configuration is, is the same wherever that is.
    fn values(&mut self, (old, before): (&[Arc<NamedValue>], &Path), (new, after): (&[Arc<NamedValue>], &Path)) {
        let named = |values: &[Arc<NamedValue>], base: &Path, name: &str| {
            values.iter().find(|value| *value.name == *name).map(|value| source(&value.source, base))
        };
        let mut names: Vec<_> = old.iter().chain(new).map(|value| &value.name).collect();
        names.sort();
        names.dedup();
        for name in names {
            self.changed("values", name, named(old, before, name), named(new, after, name));
        }
    }

    /// A change of these needs a restart.
    fn settings(&mut self, old: &Settings, new: &Settings) {
        self.value("capture.cgroup", &old.cgroup, &new.cgroup, |value| optional(value, path));
        self.value("capture.pins", &old.pins, &new.pins, path);
        self.value("state.directory", &old.state, &new.state, path);
        self.value("admin.socket", &old.admin_socket, &new.admin_socket, path);
        self.each("resolver.servers", &old.resolvers, &new.resolvers);
        self.each("resolver.trusted_servers", &old.trusted_resolvers, &new.trusted_resolvers);
        self.value("resolver.max_names", &old.max_names, &new.max_names, plain);
        self.value("dns.forward", &old.forward_dns, &new.forward_dns, plain);
        self.value("resolver.keep", &old.keep, &new.keep, duration);
        self.value("resolver.max_addresses", &old.max_addresses, &new.max_addresses, plain);
        self.value("kubelet.pods", &old.kubelet.pods, &new.kubelet.pods, path);
        self.value("kubelet.logs", &old.kubelet.logs, &new.kubelet.logs, path);
        self.value("kubelet.cgroup", &old.kubelet.cgroup, &new.kubelet.cgroup, |value| optional(value, plain));
        let server = |settings: &Settings| settings.kubernetes.clone();
        let (old_server, new_server) = (server(old), server(new));
        self.value("kubernetes", &old_server, &new_server, |server| optional(server, kubernetes));
        self.value("ca.certificate", &old.ca.certificate, &new.ca.certificate, path);
        self.value("ca.key", &old.ca.key, &new.ca.key, path);
        self.value("telemetry.address", &old.telemetry, &new.telemetry, |value| optional(value, plain));
        self.value("telemetry.access_log", &old.access_log, &new.access_log, access_log);
        self.value("telemetry.log_requests", &old.log_requests, &new.log_requests, plain);
    }

    fn api(&mut self, (before, old): (&Model, &Api), (after, new): (&Model, &Api)) {
        let listings = |api: &Api| api.listings().collect::<Vec<_>>();
        self.each("hosts", &listings(old), &listings(new));
        self.each("ports", &old.ports, &new.ports);
        self.each("opaque_ports", &old.opaque_ports, &new.opaque_ports);
        self.value("mode", &old.mode, &new.mode, |mode| mode.label().to_owned());
        self.value("workloads", &old.workloads, &new.workloads, |workloads| optional(workloads, audience));
        self.value("fail", &old.fail, &new.fail, |fail| fail.label().to_owned());
        let (from, to) = (before.egress_of(old), after.egress_of(new));
        self.value("egress", &from.addresses, &to.addresses, |all| addresses(all));
        self.value("egress.proxy", &from.proxy, &to.proxy, proxy);
        self.value("on_refusal", &old.on_refusal, &new.on_refusal, |action| action.label().to_owned());
        self.value("strangers", &old.strangers, &new.strangers, |strangers| strangers.label().to_owned());
        self.each("allow_addresses", &old.allow_addresses, &new.allow_addresses);
        let workloads = (&old.on_refusal_workloads, &new.on_refusal_workloads);
        self.value("on_refusal_workloads", workloads.0, workloads.1, |workloads| number(workloads.len(), "workload"));
        self.value("pool.idle", &old.pool.idle, &new.pool.idle, plain);
        let isolated = (&old.pool.isolate_workloads, &new.pool.isolate_workloads);
        self.value("pool.isolate_workloads", isolated.0, isolated.1, plain);
        match (old.backend.as_deref(), new.backend.as_deref()) {
            (Some(old), Some(new)) => self.backend(old, new),
            (None, None) => {}
            (old, new) => {
                let kind = if new.is_some() { ChangeKind::Added } else { ChangeKind::Removed };
                let text = |backend: &Backend| format!("TLS to port {}", backend.port);
                self.push("backend", kind, None, old.map(text), new.map(text));
            }
        }
        self.value("upgrades", &old.upgrades, &new.upgrades, |upgrades| upgrades.join(", "));
        self.rules(old.rules.as_deref(), new.rules.as_deref());
    }

    fn backend(&mut self, old: &Backend, new: &Backend) {
        self.value("backend.port", &old.port, &new.port, plain);
        self.value("backend.tls.min_version", &old.min_tls, &new.min_tls, tls_version);
        let known = |authorities: &Vec<Vec<u8>>| {
            format!("{} in addition to the system's", number(authorities.len(), "certificate"))
        };
        self.value("backend.tls.ca", &old.authorities, &new.authorities, known);
        let pins = |pins: &Vec<_>| number(pins.len(), "key");
        self.value("backend.tls.pins", &old.pins, &new.pins, pins);
        let shown = |client: &Option<_>| if client.is_some() { "a certificate" } else { "none" }.to_owned();
        self.value("backend.tls.client_certificate", &old.client, &new.client, shown);
    }

    fn rules(&mut self, old: Option<&Rules>, new: Option<&Rules>) {
        if let (Some(old), Some(new)) = (old, new) {
            self.value("only_operations", &old.only_operations, &new.only_operations, plain);
            self.value("paths", &old.strict_paths, &new.strict_paths, |strict| {
                if *strict { "strict" } else { "lenient" }.to_owned()
            });
            self.value("max_body", &old.max_body, &new.max_body, plain);
            self.value("plain_secrets", &old.plain_secrets, &new.plain_secrets, plain);
        }
        let nothing = Rules::default();
        let (before, after) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
        self.products(&before.products, &after.products);
        let mut own = policies::changes(&before.otherwise.without, &after.otherwise.without);
        for policies::Found { section, kind, what, old, new } in &own {
            self.push(section.label(), *kind, Some(what.clone()), old.clone(), new.clone());
        }
        for (index, product) in after.products.iter().enumerate() {
            let known = before.products.iter().position(|known| known.name == product.name);
            let found = policies::changes(before.otherwise.of(known), after.otherwise.of(Some(index)));
            // What changes for callers without a product was said.
            for found in found {
                if own.contains(&found) {
                    continue;
                }
                let policies::Found { section, kind, what, old, new } = found.clone();
                self.push(&format!("product {}, {}", product.name, section.label()), kind, Some(what), old, new);
                own.push(found);
            }
        }
        let operations = |rules: Option<&'_ Rules>| rules.map(|rules| rules.operations.clone()).unwrap_or_default();
        self.operations(&operations(old), &operations(new), &own);
    }

    fn products(&mut self, old: &[Product], new: &[Product]) {
        let of = |products: &[Product], name: &str| products.iter().find(|product| *product.name == *name).map(offered);
        let names: BTreeSet<_> = old.iter().chain(new).map(|product| &product.name).collect();
        for name in names {
            self.changed("products", name, of(old, name), of(new, name));
        }
    }

    /// The servers that policies may send to.
    fn services(&mut self, old: &Model, new: &Model) {
        let of = |model: &Model, name: &str| {
            model.backends.iter().find(|service| *service.name == *name).map(|service| served(service))
        };
        let names: BTreeSet<_> = old.backends.iter().chain(&new.backends).map(|service| &service.name).collect();
        for name in names {
            self.changed("backends", name, of(old, name), of(new, name));
        }
        let counted = |model: &Model| model.counters.as_ref().map(|counters| counted(counters));
        self.changed("counters", "counters", counted(old), counted(new));
        let exported = |model: &Model| model.otlp.as_ref().map(|otlp| exported(otlp));
        self.changed("telemetry", "otlp", exported(old), exported(new));
    }

    /// What is there by this name, if it is not what was.
    fn changed(&mut self, section: &str, name: &str, old: Option<String>, new: Option<String>) {
        let kind = match (&old, &new) {
            (old, new) if old == new => return,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (_, Some(_)) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
        };
        self.push(section, kind, Some(name.to_owned()), old, new);
    }

    fn operations(&mut self, old: &[Operation], new: &[Operation], own: &[policies::Found]) {
        for gone in old.iter().filter(|one| !new.iter().any(|other| other.name == one.name)) {
            self.push("operations", ChangeKind::Removed, Some(gone.name.to_string()), Some(target(gone)), None);
        }
        for after in new {
            let Some(before) = old.iter().find(|before| before.name == after.name) else {
                self.push("operations", ChangeKind::Added, Some(after.name.to_string()), None, Some(target(after)));
                continue;
            };
            if target(before) != target(after) {
                let (what, old, new) = (after.name.to_string(), target(before), target(after));
                self.push("operations", ChangeKind::Changed, Some(what), Some(old), Some(new));
            }
            // What changes for the whole API was said.
            let found = policies::changes(&before.policies.without, &after.policies.without);
            for policies::Found { section, kind, what, old, new } in found.into_iter().filter(|one| !own.contains(one))
            {
                self.push(&format!("operation {}, {}", after.name, section.label()), kind, Some(what), old, new);
            }
        }
        let common = |one: &[Operation], other: &[Operation]| {
            let names = one.iter().map(|operation| operation.name.to_string());
            names.filter(|name| other.iter().any(|operation| *operation.name == **name)).collect::<Vec<_>>()
        };
        let (before, after) = (common(old, new), common(new, old));
        if before != after {
            self.push("operations", ChangeKind::Moved, None, Some(before.join(", ")), Some(after.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests;
