//! As written to as meant. Pure; every problem is collected.

mod audience;
mod backend;
mod condition;
mod contract;
mod counters;
mod egress;
mod endpoint;
mod expression;
mod hosts;
mod openapi;
mod otlp;
mod policies;
mod schema;
mod strangers;
mod unlisted;
mod upgrades;
mod values;
mod yaml;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;

use self::egress::Ways;
use self::policies::Shared;
use super::diagnostic::Problem;
use super::file::{ApiFile, File, LimitsFile, socket_address};
use super::written::WrittenPolicies;
use super::{
    AccessLog, Ca, Compiled, DEFAULT_CA, DEFAULT_CA_KEY, DEFAULT_KUBELET_LOGS, DEFAULT_KUBELET_PODS, DEFAULT_PINS,
    DEFAULT_SOCKET, DEFAULT_STATE, Kubelet, Kubernetes, Places, Secrets, Settings,
};
use crate::model::{Api, Drain, FailMode, Generation, Limits, Mode, Model, OnRefusal, Pool};
use crate::syntax::place;

const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// Large third parties use some dozens of addresses for a name.
const DEFAULT_MAX_ADDRESSES: usize = 256;

/// A name costs some 200 bytes.
const DEFAULT_MAX_NAMES: usize = 65_536;

/// What is outside of the configuration.
pub(super) struct Outside<'a> {
    /// Where it is: what it names is found from here.
    pub(super) base: &'a Path,
    /// Reads a file.
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// A variable of the process's environment.
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// What is done about secrets.
    pub(super) secrets: Secrets,
}

impl Outside<'_> {
    fn path(&self, written: &str) -> PathBuf {
        self.base.join(written.trim())
    }

    fn contents(&self, written: &Spanned<String>) -> io::Result<Vec<u8>> {
        (self.read)(&self.path(&written.value))
    }
}

/// Compiles; the result is only valid when no problem was added.
pub(super) fn compile(
    file: &File,
    written: &WrittenPolicies<'_>,
    generation: Generation,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Compiled {
    let values = values::compile(&file.values, outside, problems);
    let ways = Ways::new(file, &values, problems);
    let named = values.all();
    let counters = file.counters.as_ref().and_then(|file| counters::compile(&file.value, &values, outside, problems));
    let otlp = file.telemetry.as_ref().and_then(|telemetry| telemetry.otlp.as_ref());
    let otlp = otlp.and_then(|file| otlp::compile(file, &values, outside, problems));
    let services = endpoint::services(&file.backends, outside, problems);
    let backends = services.values().cloned().collect();
    let policies = Shared::new(file, written, values, services, counters.clone(), outside, problems);
    let mut seen = Seen::default();
    let apis: Vec<_> =
        file.apis.iter().map(|api| self::api(api, &ways, &policies, outside, &mut seen, problems)).collect();
    let limits = limits(file.limits.as_ref(), problems);
    bodies_fit(file, limits, problems);
    let model = Model {
        generation,
        egress: ways.all,
        apis,
        values: named,
        backends,
        counters,
        otlp,
        keys: policies.keys(),
        unlisted: unlisted::compile(file, problems),
        limits,
        drain: Drain {
            hand_over: duration(file.drain.as_ref(), Duration::from_secs(600), problems),
            stop: duration(file.stop.as_ref(), Duration::from_secs(5), problems),
        },
        warnings: Vec::new(),
    };
    Compiled { model, settings: settings(file, problems), places: Places::default(), variables: Vec::new() }
}

/// What must be unique over all APIs.
#[derive(Default)]
struct Seen<'a> {
    names: HashMap<&'a str, &'a Spanned<String>>,
    listings: hosts::Seen<'a>,
}

fn api<'a>(
    file: &'a ApiFile,
    ways: &Ways<'_>,
    policies: &Shared<'_>,
    outside: &Outside<'_>,
    seen: &mut Seen<'a>,
    problems: &mut Vec<Problem>,
) -> Api {
    let name = file.name.value.trim();
    if name.is_empty() {
        problems.push(Problem::at(&file.name, "this API has no name", "write a short name: logs and metrics show it"));
    } else if let Some(other) = seen.names.insert(name, &file.name) {
        let problem = Problem::at(&file.name, "another API has this name", "rename one of them: API names are unique");
        problems.push(problem.with(other));
    }
    let ports = ports(file, problems);
    let mode = mode(file, problems);
    let egress = ways.of_api(file, mode, problems);
    let rules = policies.rules(file, mode, outside, problems);
    let (hosts, wildcards) = hosts::compile(file, &ports, &mut seen.listings, problems);
    Api {
        hosts,
        wildcards,
        opaque_ports: opaque_ports(file, &ports, problems),
        workloads: audience::compile(file, mode, problems),
        fail: fail(file, problems),
        on_refusal: on_refusal(file, mode, rules.is_some(), problems),
        on_refusal_workloads: policies::workloads(file.on_refusal_workloads.as_deref().unwrap_or_default(), problems),
        upgrades: upgrades::upgrades(&file.upgrades, problems),
        name: name.into(),
        strangers: strangers::compile(file, mode, egress.as_ref().unwrap_or(&ways.all), problems),
        allow_addresses: strangers::allow_addresses(file, problems),
        ports,
        mode,
        egress,
        pool: Pool {
            idle: file.pool.as_ref().and_then(|pool| pool.idle).map_or(Pool::default().idle, usize::from),
            isolate_workloads: file.pool.as_ref().is_some_and(|pool| pool.isolate_workloads),
        },
        rules,
        backend: file.backend.as_ref().map(|file| Arc::new(backend::compile(file, mode, outside, problems))),
    }
}

fn ports(file: &ApiFile, problems: &mut Vec<Problem>) -> Vec<u16> {
    let Some(written) = &file.ports else { return DEFAULT_PORTS.to_vec() };
    if written.is_empty() {
        problems.push(Problem::at(
            &file.name,
            "this API captures no port",
            "name a port, or remove `ports` for 80 and 443",
        ));
    }
    let mut ports = Vec::new();
    for port in written {
        if ports.contains(&port.value) {
            problems.push(Problem::at(port, "this port is listed twice", "remove one of them"));
        } else {
            ports.push(port.value);
        }
    }
    ports
}

fn opaque_ports(file: &ApiFile, ports: &[u16], problems: &mut Vec<Problem>) -> Vec<u16> {
    for port in file.opaque_ports.iter().filter(|port| !ports.contains(&port.value)) {
        problems.push(Problem::at(port, "this port is not one of the API's `ports`", "add it to `ports`"));
    }
    file.opaque_ports.iter().map(|port| port.value).collect()
}

fn mode(file: &ApiFile, problems: &mut Vec<Problem>) -> Mode {
    let Some(written) = &file.mode else { return Mode::Passthrough };
    match written.value.as_str() {
        "bind" => Mode::Bind,
        "deny" => Mode::Deny,
        "passthrough" => Mode::Passthrough,
        "intercept" => Mode::Intercept,
        _ => {
            problems.push(Problem::at(
                written,
                format!("`{}` is not a mode", written.value),
                "write passthrough, intercept, bind or deny",
            ));
            Mode::Passthrough
        }
    }
}

fn fail(file: &ApiFile, problems: &mut Vec<Problem>) -> FailMode {
    match file.fail.as_ref().map(|written| (written, written.value.as_str())) {
        None | Some((_, "closed")) => FailMode::Closed,
        Some((_, "open")) => FailMode::Open,
        Some((written, _)) => {
            problems.push(Problem::at(
                written,
                format!("`{}` is not a fail mode", written.value),
                "write closed or open",
            ));
            FailMode::Closed
        }
    }
}

fn on_refusal(file: &ApiFile, mode: Mode, has_policies: bool, problems: &mut Vec<Problem>) -> OnRefusal {
    let Some(written) = &file.on_refusal else { return OnRefusal::default() };
    if mode != Mode::Intercept {
        let rule = "`on_refusal` has no effect: callers of this API see no certificate of Egret";
        problems.push(Problem::at(written, rule, "remove it, or write mode: intercept"));
    }
    match written.value.as_str() {
        "fail" => OnRefusal::Fail,
        "passthrough" => {
            let named = file.on_refusal_workloads.as_ref().is_some_and(|workloads| !workloads.is_empty());
            if has_policies && !named {
                let rule = "with policies, `passthrough` lets every caller switch them off: it only has to refuse a certificate";
                let help = "name the workloads for which it holds, like on_refusal_workloads: [{unit: legacy.service}], \
                            or remove it";
                problems.push(Problem::at(written, rule, help));
            }
            OnRefusal::Passthrough
        }
        _ => {
            problems.push(Problem::at(
                written,
                format!("`{}` is not an action for a refusal", written.value),
                "write fail or passthrough",
            ));
            OnRefusal::Fail
        }
    }
}

fn limits(file: Option<&LimitsFile>, problems: &mut Vec<Problem>) -> Limits {
    let default = Limits::default();
    let Some(file) = file else { return default };
    let mut optional = |written: Option<&Spanned<String>>| {
        written.map(|written| duration(Some(written), Duration::from_secs(1), problems))
    };
    Limits {
        idle: optional(file.idle.as_ref()),
        total: optional(file.total.as_ref()),
        connections_per_workload: file.connections_per_workload,
        request_head: duration(file.request_head.as_ref(), default.request_head, problems),
        first_byte: duration(file.first_byte.as_ref(), default.first_byte, problems),
        buffered_bytes: file.buffered_bytes.unwrap_or(default.buffered_bytes),
    }
}

/// The largest body of an API must fit in what one owner of callers may hold: else it would always be refused.
fn bodies_fit(file: &File, limits: Limits, problems: &mut Vec<Problem>) {
    let share = limits.buffered_bytes / 4;
    for api in &file.apis {
        let largest = u64::from(api.max_body.unwrap_or(0));
        if largest > share {
            let rule =
                format!("max_body of {largest} bytes is more than the callers of one owner may hold ({share} bytes)");
            let help =
                format!("set limits.buffered_bytes to {} or more, of which one owner may hold a quarter", largest * 4);
            problems.push(Problem::at(&api.name, rule, help));
        }
    }
}

fn dns_servers<'a>(written: impl Iterator<Item = &'a Spanned<String>>, problems: &mut Vec<Problem>) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for written in written {
        match socket_address(&written.value, 53) {
            Some(address) => servers.push(address),
            None => problems.push(Problem::at(
                written,
                format!("`{}` is not an address", written.value),
                "write the address of a DNS server: ADDRESS or ADDRESS:PORT",
            )),
        }
    }
    servers
}

/// Warns of wildcards that nobody teaches the addresses of.
fn untaught_wildcards(file: &File, problems: &mut Vec<Problem>) {
    if forwards_dns(file) {
        return;
    }
    for api in &file.apis {
        if let Some(written) = api.hosts.iter().find(|host| host.value.starts_with("*.")) {
            let rule =
                "Egret learns the addresses below a wildcard from callers' DNS queries, which do not go through it";
            problems.push(Problem::at(written, rule, "remove dns: {forward: false}").warning());
        }
    }
}

fn forwards_dns(file: &File) -> bool {
    file.dns.as_ref().and_then(|dns| dns.forward).unwrap_or(true)
}

fn settings(file: &File, problems: &mut Vec<Problem>) -> Settings {
    untaught_wildcards(file, problems);
    let (capture, admin) = (file.capture.as_ref(), file.admin.as_ref());
    let (resolver, telemetry) = (file.resolver.as_ref(), file.telemetry.as_ref());
    let resolvers = dns_servers(resolver.iter().flat_map(|resolver| &resolver.servers), problems);
    let trusted_resolvers = dns_servers(resolver.iter().flat_map(|resolver| &resolver.trusted_servers), problems);
    let address = telemetry.and_then(|telemetry| telemetry.address.as_ref()).and_then(|written| {
        let address = written.value.parse().ok();
        if address.is_none() {
            problems.push(Problem::at(
                written,
                format!("`{}` is not an address to listen on", written.value),
                "write ADDRESS:PORT, like 127.0.0.1:9464",
            ));
        }
        address
    });
    let keep = resolver.and_then(|resolver| resolver.keep.as_ref());
    Settings {
        cgroup: capture.and_then(|capture| capture.cgroup.clone()),
        pins: capture.and_then(|capture| capture.pins.clone()).unwrap_or_else(|| PathBuf::from(DEFAULT_PINS)),
        state: file
            .state
            .as_ref()
            .and_then(|state| state.directory.clone())
            .unwrap_or_else(|| PathBuf::from(DEFAULT_STATE)),
        admin_socket: admin.and_then(|admin| admin.socket.clone()).unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
        resolvers,
        trusted_resolvers,
        max_names: resolver
            .and_then(|resolver| resolver.max_names)
            .map_or(DEFAULT_MAX_NAMES, |most| usize::try_from(most).unwrap_or(usize::MAX)),
        forward_dns: forwards_dns(file),
        kubelet: kubelet(file, problems),
        kubernetes: kubernetes(file, problems),
        ca: ca(file),
        keep: duration(keep, Duration::from_secs(3600), problems),
        max_addresses: resolver.and_then(|resolver| resolver.max_addresses).map_or(DEFAULT_MAX_ADDRESSES, usize::from),
        telemetry: address,
        log_requests: telemetry.is_some_and(|telemetry| telemetry.log_requests),
        access_log: match telemetry.and_then(|telemetry| telemetry.access_log.as_deref()) {
            None | Some("stdout") => AccessLog::Stdout,
            Some("off") => AccessLog::Off,
            Some(path) => AccessLog::File(path.into()),
        },
    }
}

fn kubelet(file: &File, problems: &mut Vec<Problem>) -> Kubelet {
    let kubelet = file.kubelet.as_ref();
    let mut directory = |written: Option<&Spanned<String>>, default: &str| {
        let Some(written) = written else { return PathBuf::from(default) };
        let path = PathBuf::from(written.value.trim());
        if path.is_relative() {
            let help = format!("write the directory's path on the node, from the root, like {default}");
            problems.push(Problem::at(written, "this path is relative", help));
        }
        path
    };
    Kubelet {
        pods: directory(kubelet.and_then(|kubelet| kubelet.pods.as_ref()), DEFAULT_KUBELET_PODS),
        logs: directory(kubelet.and_then(|kubelet| kubelet.logs.as_ref()), DEFAULT_KUBELET_LOGS),
        cgroup: kubelet.and_then(|kubelet| kubelet.cgroup.as_ref()).and_then(|path| kubelet_cgroup(path, problems)),
    }
}

fn kubelet_cgroup(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let path = written.value.trim().trim_end_matches('/');
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") || path.starts_with("/sys/fs/cgroup") {
        let rule = format!("`{path}` is not a path below the root of the cgroup hierarchy");
        let help = "write it as /proc/PID/cgroup does, like /kubelet.slice; leave it out if `kubepods` is at the root";
        problems.push(Problem::at(written, rule, help));
        return None;
    }
    Some(path.to_owned())
}

fn kubernetes(file: &File, problems: &mut Vec<Problem>) -> Option<Kubernetes> {
    let written = file.kubernetes.as_ref()?;
    if !written.api {
        let texts = [&written.node, &written.kubeconfig].into_iter().flatten().map(place);
        for key in texts.chain(written.fleet.as_ref().filter(|fleet| fleet.value).map(place)) {
            let rule = "this has no effect: Egret does not ask the API server";
            problems.push(Problem::at(&key, rule, "add api: true").lacking(&["api"]).warning());
        }
        return None;
    }
    // What holds only where it is not asked.
    problems.retain(|problem| !problem.needs_api_server());
    if let Some(node) = &written.node
        && !is_name_of_node(node.value.trim())
    {
        let rule = format!("`{}` cannot be the name of a node", node.value);
        let help = "write it as `kubectl get nodes` shows it: lower-case letters, digits, - and .";
        problems.push(Problem::at(node, rule, help));
    }
    let kubeconfig = written.kubeconfig.as_ref().map(|path| {
        let place = PathBuf::from(path.value.trim());
        if place.is_relative() {
            let help = "write the file's path from the root, like /etc/egret/kubeconfig";
            problems.push(Problem::at(path, "this path is relative", help));
        }
        place
    });
    let node = written.node.as_ref().map(|node| node.value.trim().to_owned());
    Some(Kubernetes { node, kubeconfig, fleet: written.fleet.as_ref().is_some_and(|fleet| fleet.value) })
}

/// Whether Kubernetes can give a node this name (RFC 1123).
fn is_name_of_node(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(fits)
}

fn ca(file: &File) -> Ca {
    let path = |written: Option<&PathBuf>, default| written.cloned().unwrap_or_else(|| PathBuf::from(default));
    let ca = file.ca.as_ref();
    Ca {
        certificate: path(ca.and_then(|ca| ca.certificate.as_ref()), DEFAULT_CA),
        key: path(ca.and_then(|ca| ca.key.as_ref()), DEFAULT_CA_KEY),
    }
}

/// A number and a unit: ms, s, m, h or d.
fn duration(written: Option<&Spanned<String>>, default: Duration, problems: &mut Vec<Problem>) -> Duration {
    let Some(written) = written else { return default };
    let text = written.value.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let parsed = number.parse::<u64>().ok().zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit));
    parsed.map(Duration::from_millis).unwrap_or_else(|| {
        problems.push(Problem::at(
            written,
            format!("`{}` is not a duration", written.value),
            "write a number and a unit: 500ms, 5s, 10m, 1h or 1d",
        ));
        default
    })
}
