//! Values in the words of the configuration.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::document::Node;
use crate::config::{AccessLog, Kubernetes};
use crate::model::{
    Api, Audience, Backend, Breaker, CounterStore, FailMode, Health, Member, Operation, Otlp, Product, Proxy, Service,
    Signal, TlsVersion, Unlisted, UnlistedClass, ValueSource, number,
};

/// Returns the workloads that an API is for.
pub(super) fn audience(audience: &Audience) -> String {
    let which = if audience.filter.allow { "allow" } else { "forbid" };
    format!("{which} {}, others: {}", number(audience.filter.matches.len(), "workload"), audience.others.label())
}

pub(super) fn plain<T: ToString>(value: &T) -> String {
    value.to_string()
}

pub(super) fn optional<T>(value: &Option<T>, text: impl Fn(&T) -> String) -> String {
    value.as_ref().map_or_else(|| "none".to_owned(), text)
}

pub(super) fn path<T: AsRef<Path>>(path: &T) -> String {
    path.as_ref().display().to_string()
}

/// Returns a duration as the configuration has it: in the largest unit that gives a whole number.
pub(super) fn duration(duration: &Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.into_iter().find(|(unit, _)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", milliseconds / unit)
}

pub(super) fn access_log(log: &AccessLog) -> String {
    match log {
        AccessLog::File(file) => path(file),
        AccessLog::Off => "off".to_owned(),
        AccessLog::Stdout => "stdout".to_owned(),
    }
}

pub(super) fn kubernetes(server: &Kubernetes) -> String {
    let node = server.node.as_deref().unwrap_or("this host");
    match &server.kubeconfig {
        Some(file) => format!("API server of {}, node {node}", path(file)),
        None => format!("API server of the pod's service account, node {node}"),
    }
}

pub(super) fn tls_version(version: &TlsVersion) -> String {
    version.label().to_owned()
}

/// Returns the settings of TLS in the words of the configuration.
pub(super) fn tls(backend: &Backend) -> String {
    let mut keys = vec![format!("min_version: '{}'", backend.min_tls.label())];
    if !backend.authorities.is_empty() {
        keys.push(format!("ca: {}", number(backend.authorities.len(), "certificate")));
    }
    if !backend.pins.is_empty() {
        keys.push(format!("pins: {}", number(backend.pins.len(), "key")));
    }
    keys.extend(backend.client.is_some().then(|| "client_certificate: a certificate".to_owned()));
    format!("{{{}}}", keys.join(", "))
}

pub(super) fn breaker(breaker: &Breaker) -> String {
    let Breaker { failures, window, open, statuses } = breaker;
    let status = |(first, last): &(u16, u16)| {
        if first == last { format!("'{first}'") } else { format!("'{first}-{last}'") }
    };
    let statuses = statuses.iter().map(status).collect::<Vec<_>>().join(", ");
    let (window, open) = (duration(window), duration(open));
    format!("{{failures: {failures}, window: {window}, open: {open}, statuses: [{statuses}]}}")
}

pub(super) fn health(health: &Health) -> String {
    let Health { path, interval, timeout } = health;
    format!("{{path: {path}, interval: {}, timeout: {}}}", duration(interval), duration(timeout))
}

pub(super) fn addresses(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") }
}

pub(super) fn proxy(proxy: &Option<Arc<Proxy>>) -> String {
    let Some(proxy) = proxy else { return "none".to_owned() };
    let who = proxy.credentials.as_ref().map(|(username, _)| format!(" as {username}"));
    let except: Vec<_> = proxy.except.iter().map(ToString::to_string).collect();
    let except = if except.is_empty() { String::new() } else { format!(", except {}", except.join(", ")) };
    format!("{proxy}{}{except}", who.unwrap_or_default())
}

pub(super) fn source(source: &ValueSource, base: &Path) -> String {
    match source {
        ValueSource::Text(text) => format!("value {}", Node::Text(text.to_string())),
        ValueSource::File(path) => format!("file {}", path.strip_prefix(base).unwrap_or(path).display()),
        ValueSource::Environment(name) => format!("env {name}"),
    }
}

pub(super) fn offered(product: &Product) -> String {
    let whom = if product.subscription_required { "subscribers only" } else { "all" };
    let subscriptions = product.subscriptions.iter().map(|subscription| {
        let key = if subscription.key.is_some() { ", by a key" } else { "" };
        format!("{} ({}{key})", subscription.name, number(subscription.workloads.len(), "workload"))
    });
    format!("for {whom}: {}", subscriptions.collect::<Vec<_>>().join(", "))
}

pub(super) fn served(service: &Service) -> String {
    let member = |member: &Member| {
        format!("{}{} (weight {}, priority {})", member.endpoint, member.base, member.weight, member.priority)
    };
    let members: Vec<_> = service.members.iter().map(member).collect();
    let (breaker, health) = (optional(&service.breaker, breaker), optional(&service.health, health));
    format!("{}; circuit_breaker {breaker}; health {health}", members.join(", "))
}

pub(super) fn counted(counters: &CounterStore) -> String {
    let CounterStore { endpoint, database, username, password, timeout, refuse } = counters;
    let name = username.as_deref().unwrap_or("the default user");
    let (failure, password) = (if *refuse { "refuse" } else { "count_here" }, optional(password, plain));
    let where_to = format!(
        "{}, TLS {}, database {database}",
        endpoint.authority(),
        optional(&endpoint.tls, |settings| tls(settings))
    );
    format!("{where_to}, as {name}, password {password}; timeout {}; on_failure {failure}", duration(timeout))
}

pub(super) fn exported(otlp: &Otlp) -> String {
    let Otlp { endpoint, base, headers, interval, sampling, propagate, signals: _ } = otlp;
    let signals = Signal::ALL.into_iter().filter(|signal| otlp.sends(*signal)).map(Signal::label);
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
    let share = f64::from(*sampling) / f64::from(Otlp::EVERY_REQUEST);
    format!(
        "{endpoint}{base}, TLS {}; signals {}; headers {}; interval {}; sampling {share}; propagate {propagate}",
        optional(&endpoint.tls, |settings| tls(settings)),
        signals.collect::<Vec<_>>().join(", "),
        headers.join(", "),
        duration(interval)
    )
}

pub(super) fn unlisted(unlisted: &Unlisted) -> String {
    let class = |class: &UnlistedClass| match class.except.as_slice() {
        [] => class.action.label().to_owned(),
        except => {
            let except: Vec<_> = except.iter().map(ToString::to_string).collect();
            format!("{} except {}", class.action.label(), except.join(", "))
        }
    };
    let rules = unlisted
        .rules
        .iter()
        .map(|rule| format!("; {} for {}", class(&rule.class), number(rule.workloads.len(), "workload")));
    let fail = if unlisted.fail == FailMode::Open { "; fail open" } else { "" };
    format!("{}{}{fail}", class(&unlisted.otherwise), rules.collect::<String>())
}

pub(super) fn target(operation: &Operation) -> String {
    format!("{} {}", operation.method.as_deref().unwrap_or("any"), operation.path)
}

pub(super) fn summary(api: &Api) -> String {
    let hosts: Vec<_> = api.listings().map(|listing| listing.to_string()).collect();
    let ports: Vec<_> = api.ports.iter().map(ToString::to_string).collect();
    let (hosts, ports) = (hosts.join(", "), ports.join(", "));
    format!("{hosts}, ports {ports}, mode {}, fail {}", api.mode.label(), api.fail.label())
}
