//! The state that the admin socket shows.

mod destination;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use egret_kernel::ABI_VERSION;
use http::StatusCode;
use tokio::sync::mpsc;

use super::bypasses::Bypasses;
use super::egress::{NodeAddresses, all_egress};
use super::fleet::Fleet;
use super::models::Models;
use super::namespaces::{Namespaces, Shown};
use super::warnings::warnings;
use crate::admin::{
    ApiRow, BackendRow, CacheRow, Caller, DecisionRow, Draining, EgressRow, Explained, FlowRow, Handler, HookRow,
    HostAddress, HostRow, KubernetesRow, LimitRow, NameRow, NamespaceRow, Question, RedirectRow, RefusalRow, Request,
    RequestRow, Responding, Response, Status, SubscriptionRow, Successor, UnlistedRow, WorkloadApi, WorkloadRow,
};
use crate::capture::Capture;
use crate::connection;
use crate::explain::{self, Before};
use crate::kubernetes::Pods;
use crate::model::{
    Action, Audience, Flow, Host, Identity, Listing, Model, OnRefusal, Redirect, Scope, Wildcard, Workload, is_one_of,
    number,
};
use crate::names::{Forwarder, KnownName, Names};
use crate::policy::{CacheUse, LimitUse};
use crate::telemetry::{Newest, Owner, RequestSnapshot, Snapshot, UnlistedDestination};
use crate::tls::Refusal;

/// What the admin socket shows, and where it comes from.
pub(super) struct AdminState {
    pub(super) capture: Arc<Capture>,
    pub(super) bypasses: Arc<Bypasses>,
    pub(super) connection: Arc<connection::Rooms>,
    pub(super) models: Arc<Models>,
    pub(super) names: Arc<Names>,
    /// Absent while Egret does not forward DNS.
    pub(super) forwarder: Option<Arc<Forwarder>>,
    pub(super) node: Arc<NodeAddresses>,
    pub(super) config: PathBuf,
    pub(super) config_error: Arc<Mutex<Option<String>>>,
    pub(super) draining: Arc<Mutex<Vec<Draining>>>,
    pub(super) listeners: Vec<std::net::SocketAddr>,
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) cgroup: PathBuf,
    pub(super) ca: PathBuf,
    pub(super) persist: bool,
    pub(super) successors: mpsc::UnboundedSender<Successor>,
    /// Whether this process has taken over, and serves.
    pub(super) ready: AtomicBool,
    /// Whether it ends soon.
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) instance: Option<String>,
    /// What the Kubernetes API server says, where it is asked.
    pub(super) kubernetes: Option<Arc<Pods>>,
    /// The nodes of the cluster.
    pub(super) fleet: Arc<Fleet>,
}

impl Handler for AdminState {
    fn respond(&self, request: Request) -> Responding<'_> {
        Box::pin(self.response(request))
    }

    fn hand_over(&self, abi_version: u32, pid: u32, successor: Successor) {
        let refusal = if abi_version != ABI_VERSION {
            Some(format!(
                "process {pid} uses version {abi_version} of the kernel ABI, the running one version {ABI_VERSION}: stop the \
                 running one, run `egret detach`, then start the new one"
            ))
        } else if !self.persist {
            Some(format!("process {} runs without --persist: stop it first", std::process::id()))
        } else {
            None
        };
        match refusal {
            Some(why) => {
                tokio::spawn(successor.refuse(why));
            }
            // They take over one after the other. If this process has stopped, the conversation ends here, and the other asks again.
            None => drop(self.successors.send(successor)),
        }
    }
}

impl AdminState {
    /// Returns why this process is not ready, if it is not: it has not taken over, or listed hosts have no address yet.
    pub(super) fn readiness(&self) -> Result<(), &'static str> {
        if !self.ready.load(Ordering::Relaxed) {
            Err("this process has not taken over yet")
        } else if self.names.status().iter().any(|name| name.addresses.is_empty()) {
            Err("some listed hosts are not resolved yet")
        } else {
            Ok(())
        }
    }

    async fn response(&self, request: Request) -> Response {
        match request {
            Request::Allowlist => match self.fleet.allowlist().await {
                Ok((rows, notes)) => Response::Allowlist { rows, notes },
                Err(error) => Response::Error(format!("{error:#}")),
            },
            Request::Apis => Response::Apis(self.apis()),
            Request::Backends => Response::Backends(self.backends()),
            Request::Bypasses { close } => match self.bypasses.rows(close).await {
                Ok(rows) => Response::Bypasses(rows),
                Err(error) => Response::Error(format!("{error:#}")),
            },
            Request::Caches { most } => {
                let (kept, all) = self.connection.policies.caches(connection::clock(), most);
                Response::Caches { rows: kept.into_iter().map(cache_row).collect(), all }
            }
            Request::Decisions => Response::Decisions(self.decisions()),
            Request::Explain { question, status } => match self.explain(*question, status).await {
                Ok(explained) => Response::Explained(Box::new(explained)),
                Err(why) => Response::Error(format!("{why:#}")),
            },
            Request::ExplainDestination { destination, caller } => match destination.parse() {
                Ok(asked) => Response::ExplainedDestination(Box::new(destination::explain(self, &asked, *caller))),
                Err(why) => Response::Error(format!("{why:#}")),
            },
            Request::Fleet => match self.fleet.nodes().await {
                Ok(rows) => Response::Fleet(rows),
                Err(error) => Response::Error(format!("{error:#}")),
            },
            Request::Flows => Response::Flows(self.flows()),
            Request::ForgetRefusals => Response::Forgotten(self.connection.leaves.refusals().forget()),
            Request::Hooks => Response::Hooks(self.hooks()),
            Request::Hosts { most } => self.hosts(most),
            Request::Limits { most } => {
                let (used, all) = self.connection.policies.limits(SystemTime::now(), connection::clock(), most);
                Response::Limits { rows: used.into_iter().map(limit_row).collect(), all }
            }
            Request::Namespaces { most } => self.namespaces(most).await,
            // Blocks: it starts a process and waits for it.
            Request::Prove => match tokio::task::block_in_place(|| self.capture.prove()) {
                Ok(()) => Response::Proved,
                Err(error) => Response::Error(error.to_string()),
            },
            Request::Redirects => match self.capture.redirects() {
                Ok(rows) => Response::Redirects(self.redirects(rows)),
                Err(error) => Response::Error(error.to_string()),
            },
            Request::Refusals => Response::Refusals(self.refusals()),
            Request::Requests { after } => {
                let (passed, newest) = self.connection.telemetry.passed(after);
                Response::Requests { rows: passed.into_iter().map(request_row).collect(), newest }
            }
            Request::Send(question) => {
                let (model, connection) = (self.models.current(), Arc::clone(&self.connection));
                match explain::send(&question, model, connection).await {
                    Ok(explained) => Response::Explained(Box::new(explained)),
                    Err(why) => Response::Error(format!("{why:#}")),
                }
            }
            Request::Status => Response::Status(Box::new(self.status())),
            Request::Subscriptions => Response::Subscriptions(self.subscriptions()),
            Request::Unlisted { most } => self.unlisted(most),
            Request::Workloads { most } => self.workloads(most),
            Request::TakeOver { .. } => Response::Error("a take-over is a conversation of its own".to_owned()),
        }
    }

    /// Explains a request to the running configuration with the counts of its limits. A workload that has called is known by its
    /// name.
    async fn explain(&self, mut question: Question, status: u16) -> anyhow::Result<Explained> {
        let named = |known: &Caller| known.workload.identity.is_called(&question.caller.workload.identity.name);
        let flow = self.flows().into_iter().find(|flow| named(&flow.caller));
        let original_destination = question.caller.original_destination;
        question.caller = destination::known(self, question.caller);
        question.caller.original_destination =
            original_destination.or(flow.and_then(|flow| flow.caller.original_destination));
        let (model, now) = (self.models.current(), SystemTime::now());
        let before = Before { state: self.connection.policies.counts(now), at: connection::clock() };
        explain::dry(&question, &model, StatusCode::from_u16(status)?, before).await
    }

    fn apis(&self) -> Vec<ApiRow> {
        let model = self.models.current();
        let names = self.names.status();
        let host_row = |host: &crate::model::Host| {
            let status = names.iter().find(|status| status.host == *host);
            NameRow {
                name: host.to_string(),
                addresses: status.map(|status| status.addresses.clone()).unwrap_or_default(),
                refused: status
                    .map(|status| status.refused.iter().map(|(ip, why)| format!("{ip}: {why}")).collect())
                    .unwrap_or_default(),
                error: status.and_then(|status| status.error.clone()),
                learnt: 0,
            }
        };
        let everywhere = if model.apis.iter().all(|api| api.wildcards.is_empty()) {
            HashMap::new()
        } else {
            self.names.everywhere()
        };
        let wildcard_row = |wildcard: &Wildcard| NameRow {
            name: wildcard.to_string(),
            addresses: everywhere.get(&Listing::Wildcard(wildcard.clone())).cloned().unwrap_or_default(),
            refused: Vec::new(),
            error: None,
            learnt: self.names.learnt_below(wildcard),
        };
        let row = |api: &crate::model::Api| ApiRow {
            name: api.name.to_string(),
            hosts: api.hosts.iter().map(host_row).chain(api.wildcards.iter().map(wildcard_row)).collect(),
            ports: api.ports.clone(),
            mode: api.mode.label().to_owned(),
            fail: api.fail.label().to_owned(),
            workloads: api.workloads.as_ref().map(audience),
            strangers: api.strangers.label().to_owned(),
            egress: model.egress_of(api).addresses.clone(),
            proxy: model.egress_of(api).proxy.as_ref().map(ToString::to_string),
        };
        model.apis.iter().map(row).collect()
    }

    fn backends(&self) -> Vec<BackendRow> {
        let model = self.models.current();
        let rows =
            model.backends.iter().flat_map(|service| self.connection.policies.backend(service, connection::clock()));
        rows.map(|row| BackendRow {
            backend: row.service.to_string(),
            member: row.member,
            breaker: row.breaker.to_owned(),
            open_for_seconds: row.open_for.as_secs_f64(),
            ill: row.ill,
            requests: row.requests,
            failed: row.failed,
        })
        .collect()
    }

    fn subscriptions(&self) -> Vec<SubscriptionRow> {
        let (model, now) = (self.models.current(), connection::clock());
        let mut rows: Vec<SubscriptionRow> = Vec::new();
        for api in &model.apis {
            for product in api.rules.iter().flat_map(|rules| &rules.products) {
                for subscription in &product.subscriptions {
                    if let Some(row) = rows.iter_mut().find(|row| *row.subscription == *subscription.name) {
                        row.apis.push(api.name.to_string());
                        continue;
                    }
                    let used = self.connection.policies.subscription(&subscription.name);
                    rows.push(SubscriptionRow {
                        subscription: subscription.name.to_string(),
                        product: product.name.to_string(),
                        apis: vec![api.name.to_string()],
                        requests: used.map_or(0, |used| used.requests),
                        last_seconds_ago: used.map(|used| now.saturating_sub(used.last).as_secs()),
                    });
                }
            }
        }
        rows
    }

    fn decisions(&self) -> Vec<DecisionRow> {
        let now = SystemTime::now();
        let row = |(snapshot, reason): (Snapshot, &'static str)| DecisionRow {
            id: snapshot.id,
            seconds_ago: now.duration_since(snapshot.accepted).unwrap_or_default().as_secs(),
            reason: reason.to_owned(),
            caller: caller(&snapshot),
            protocol: snapshot.protocol.map(ToOwned::to_owned),
            api: snapshot.api.as_deref().map(str::to_owned),
            egress: snapshot.egress.map(|egress| egress.ip()),
            times: snapshot.times,
        };
        self.connection.telemetry.decisions().into_iter().map(row).collect()
    }

    fn unlisted(&self, most: usize) -> Response {
        let now = SystemTime::now();
        let ago = |time| now.duration_since(time).unwrap_or_default().as_secs();
        let (seen, all) = self.connection.telemetry.unlisted(most);
        let row = |UnlistedDestination { newest, reason, times, first }: UnlistedDestination| {
            let caller = caller(&newest);
            // The response of DNS may have been read after the event.
            let late = || {
                caller.original_destination.and_then(|to| self.names.name_at(&caller.workload.identity.owner, to.ip()))
            };
            UnlistedRow {
                reason: reason.to_owned(),
                name: newest.name.clone().or_else(late).map(|name| name.to_string()),
                protocol: newest.protocol.unwrap_or("tcp").to_owned(),
                times,
                first_seconds_ago: ago(first),
                last_seconds_ago: ago(newest.accepted),
                caller,
            }
        };
        Response::Unlisted { rows: seen.into_iter().map(row).collect(), all }
    }

    fn flows(&self) -> Vec<FlowRow> {
        let row = |snapshot: Snapshot| FlowRow {
            id: snapshot.id,
            caller: caller(&snapshot),
            protocol: snapshot.protocol.map(ToOwned::to_owned),
            name: snapshot.name.map(|name| name.to_string()),
            api: snapshot.api.as_deref().map(str::to_owned),
            mode: snapshot.mode.map(str::to_owned),
            egress: snapshot.egress,
            upstream: snapshot.upstream,
            proxy: snapshot.proxy.as_deref().map(str::to_owned),
            bytes_sent: snapshot.sent,
            bytes_received: snapshot.received,
            age_seconds: snapshot.age.as_secs(),
        };
        self.connection.telemetry.live().into_iter().map(row).collect()
    }

    fn workloads(&self, most: usize) -> Response {
        let owners = self.connection.telemetry.owners();
        let (all, now) = (owners.len(), SystemTime::now());
        let texts = |texts: &Newest| texts.iter().map(|(text, _)| text.to_string()).collect();
        let row = |owner: Owner| WorkloadRow {
            newest: Caller { workload: owner.newest.clone(), original_destination: None },
            users: texts(&owner.users),
            executables: texts(&owner.executables),
            apis: owner.apis.iter().map(|(api, flows)| WorkloadApi { api: api.to_string(), flows }).collect(),
            flows: owner.flows,
            running: owner.running,
            failed: owner.failed,
            requests: owner.requests,
            bytes_sent: owner.sent,
            bytes_received: owner.received,
            last_seconds_ago: now.duration_since(owner.last).unwrap_or_default().as_secs(),
        };
        Response::Workloads { rows: owners.into_iter().take(most).map(row).collect(), all }
    }

    async fn namespaces(&self, most: usize) -> Response {
        let shown = self.namespaces.shown().await;
        let (all, mut rows) = (shown.len(), Vec::new());
        for Shown { known, inode, listeners, count, refusal } in shown.into_iter().take(most) {
            let mut identity = Arc::new(Identity::of(Arc::clone(&known.owner)));
            if known.cgroup != 0 {
                let found = self.connection.workloads.in_cgroup(known.cgroup).await;
                // Its cgroup may be gone by now.
                if !found.unknown.cgroup {
                    identity = found;
                }
            }
            let why = refusal.as_ref().map(|refusal| refusal.why);
            let is_served = why.is_none();
            rows.push(NamespaceRow {
                network_namespace: inode,
                state: if is_served { "served" } else { "refused" }.to_owned(),
                caller: Caller { workload: Workload { pid: known.pid, ..identity.into() }, ..Caller::default() },
                listeners,
                connections: if is_served { count } else { 0 },
                refusals: if is_served { 0 } else { count },
                age_seconds: known.since.elapsed().unwrap_or_default().as_secs(),
                cause: why.map(|why| why.label().to_owned()),
                remedy: why.map(|why| why.remedy().to_owned()),
                error: refusal.map(|refusal| refusal.error),
            });
        }
        Response::Namespaces { rows, all }
    }

    fn hooks(&self) -> Vec<HookRow> {
        let row = |hook: crate::capture::Hook| HookRow {
            hook: hook.name.to_string(),
            attached_to: hook.attached_to,
            pinned: hook.pinned,
            program: hook.program_id,
            runs: hook.runs,
            run_nanoseconds: u64::try_from(hook.run_time.as_nanos()).unwrap_or(u64::MAX),
        };
        self.capture.hooks().into_iter().map(row).collect()
    }

    fn hosts(&self, most: usize) -> Response {
        let model = self.models.current();
        let (known, all) = self.names.known(most);
        let flows = self.connection.telemetry.destinations();
        let row = |known: KnownName| HostRow {
            api: Host::parse(&known.name).ok().and_then(|host| Some(model.api_of(&host)?.1.name.to_string())),
            learnt: match &known.learnt {
                None => "resolved",
                Some((_, Scope::Everybody)) => "seen",
                Some((_, Scope::Owner(_))) => "seen_untrusted",
            }
            .to_owned(),
            scope: match &known.learnt {
                None | Some((_, Scope::Everybody)) => "everybody",
                Some((_, Scope::Owner(_))) => "owner",
            }
            .to_owned(),
            owner: known.learnt.map(|(owner, _)| owner.to_string()),
            addresses: known
                .addresses
                .into_iter()
                .map(|(address, left)| HostAddress {
                    address,
                    ttl_seconds: left.map(|left| left.as_secs()),
                    flows: flows.get(&address).copied().unwrap_or(0),
                })
                .collect(),
            error: known.error,
            name: known.name,
        };
        Response::Hosts { rows: known.into_iter().map(row).collect(), all }
    }

    fn redirects(&self, rows: Vec<(Redirect, crate::model::HookCounters)>) -> Vec<RedirectRow> {
        let owners = self.names.scope_owners();
        let owner = |scope| match scope {
            Scope::Everybody => None,
            Scope::Owner(cgroup) => Some(owners.get(&cgroup).map_or_else(|| format!("#{cgroup}"), ToString::to_string)),
        };
        let mut rows: Vec<_> = rows
            .into_iter()
            .filter(|(redirect, _)| redirect.action != Action::Scoped)
            .map(|(redirect, counters)| {
                let model = self.models.of(redirect.generation);
                let address = redirect.destination.ip();
                let host = host_of(&model, &redirect, &self.names.listings_for(address, redirect.scope));
                let api = model.api(redirect.api);
                RedirectRow {
                    host,
                    address,
                    port: redirect.destination.port(),
                    api: api.map_or_else(|| format!("#{}", redirect.api.0), |api| api.name.to_string()),
                    owner: owner(redirect.scope),
                    action: match redirect.action {
                        Action::Bind(_) => "bind",
                        Action::Deny => "deny",
                        Action::Redirect | Action::Scoped => "redirect",
                    }
                    .to_owned(),
                    mode: api.map_or("-", |api| api.mode.label()).to_owned(),
                    fail: redirect.fail.label().to_owned(),
                    hits: counters.hits,
                    last_hit_seconds_ago: counters.last.map(|ago| ago.as_secs()),
                    generation: redirect.generation.0,
                }
            })
            .collect();
        rows.sort_by(|a, b| (&a.api, &a.host, a.address, a.port).cmp(&(&b.api, &b.host, b.address, b.port)));
        rows
    }

    fn refusals(&self) -> Vec<RefusalRow> {
        const ANY: &str = "`egret trust env`; or mode: passthrough if it insists on the third party's own certificate";
        let (model, now) = (self.models.current(), SystemTime::now());
        let row = |refusal: Refusal| RefusalRow {
            passes: model.api_of(&refusal.host).is_some_and(|(_, api)| {
                let named = &api.on_refusal_workloads;
                let holds = named.is_empty() || is_one_of(named, &refusal.workload);
                api.on_refusal == OnRefusal::Passthrough && holds
            }),
            workload: refusal.workload.identity.name.to_string(),
            pid: refusal.workload.pid,
            command: refusal.workload.command.to_string(),
            host: refusal.host.to_string(),
            sign: refusal.sign.label().to_owned(),
            runtime: refusal.runtime.map(|runtime| runtime.label().to_owned()),
            times: refusal.times,
            seconds_ago: now.duration_since(refusal.last).unwrap_or_default().as_secs(),
            passed: refusal.passed,
            remedy: refusal.runtime.map_or(ANY, |runtime| runtime.remedy()).to_owned(),
        };
        self.connection.leaves.refusals().all().into_iter().map(row).collect()
    }

    /// Returns the forwarder's counters.
    pub(super) fn dns_counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.forwarder.iter().flat_map(|forwarder| forwarder.counters())
    }

    fn status(&self) -> Status {
        let model = self.models.current();
        let egress = all_egress(&model);
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            persist: self.persist,
            ready: self.ready.load(Ordering::Relaxed),
            stopping: self.stopping.load(Ordering::Relaxed),
            instance: self.instance.clone(),
            mount_namespace: mount_namespace(),
            generation: model.generation.0,
            config: self.config.clone(),
            config_error: self.config_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            config_warnings: [model.warnings.clone(), warnings(&model, &self.names)].concat(),
            cgroup: self.cgroup.clone(),
            ca: self.ca.clone(),
            listeners: self.listeners.clone(),
            namespaces: self.namespaces.count(),
            kubernetes: self.kubernetes.as_ref().map(|pods| kubernetes(pods)),
            lease: self.fleet.lease(),
            flows: self.connection.telemetry.running(),
            egress: egress.into_iter().map(|address| EgressRow { address, present: self.node.has(address) }).collect(),
            draining: self.draining.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            kernel: self.capture.counters().into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            dns: self.dns_counters().map(|(outcome, count)| (outcome.to_owned(), count)).collect(),
            origins_used: self.capture.origins_used(),
        }
    }
}

/// Returns the caller of a flow; an empty one if the peer has no origin record.
fn caller(snapshot: &Snapshot) -> Caller {
    snapshot.flow.as_ref().map(caller_of).unwrap_or_default()
}

fn kubernetes(pods: &Pods) -> KubernetesRow {
    let status = pods.status();
    KubernetesRow {
        server: status.server,
        node: pods.node().to_owned(),
        state: status.state.label().to_owned(),
        since_seconds: status.since.elapsed().unwrap_or_default().as_secs(),
        pods: pods.count(),
        error: status.error,
    }
}

/// Returns the caller of a flow.
pub(super) fn caller_of(flow: &Flow) -> Caller {
    Caller { workload: flow.workload.clone(), original_destination: Some(flow.original_dst.0) }
}

/// Returns the workloads that an API is for, in a few words.
fn audience(audience: &Audience) -> String {
    let which = if audience.filter.allow { "only" } else { "all but" };
    format!("{which} {}, others: {}", number(audience.filter.matches.len(), "rule"), audience.others.label())
}

/// Returns the identity of this process's mount namespace, which differs between containers.
fn mount_namespace() -> String {
    std::fs::read_link("/proc/self/ns/mnt").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the first of the API's hosts and wildcards whose names are at the address of a row.
fn host_of(model: &Model, redirect: &Redirect, there: &[Listing]) -> Option<String> {
    model.api(redirect.api)?.listings().find(|listing| there.contains(listing)).map(|listing| listing.to_string())
}

fn cache_row(kept: CacheUse) -> CacheRow {
    let CacheUse { api, key, varies, status, bytes, age, fresh_for, hits } = kept;
    let (age_seconds, fresh_for_seconds) = (age.map(|age| age.as_secs()), fresh_for.as_secs());
    CacheRow { api, key, varies, status, bytes, age_seconds, fresh_for_seconds, hits }
}

fn limit_row(used: LimitUse) -> LimitRow {
    let LimitUse { kind, scope, id, by, key, used, limit, more_in, shared } = used;
    LimitRow {
        kind: kind.to_owned(),
        scope,
        id,
        by,
        key,
        used,
        limit,
        more_in_seconds: more_in.map(|time| time.as_secs_f64()),
        shared,
    }
}

fn request_row(passed: RequestSnapshot) -> RequestRow {
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    RequestRow {
        time: passed.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        flow: passed.flow,
        api: passed.api.to_string(),
        operation: passed.operation.map(|operation| operation.to_string()),
        workload: passed.workload.identity.name.to_string(),
        method: passed.method,
        target: passed.target,
        status: passed.status,
        outcome: passed.outcome.to_owned(),
        policy: passed.policy.map(str::to_owned),
        reports: passed.reports,
        traces: passed.traces,
        policies_us: microseconds(passed.policies),
        upstream_us: microseconds(passed.upstream),
        first_byte_us: microseconds(passed.first_byte),
        total_us: microseconds(passed.total),
    }
}
