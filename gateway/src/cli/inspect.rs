use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::ask::UNEXPECTED;
use super::table::{Cell, list, or_dash, print};
use super::{Daemon, Failure, Output, out};
use crate::admin::{
    ApiRow, BackendRow, BypassRow, CacheRow, Caller, Client, DecisionRow, FlowRow, HookRow, HostAddress, HostRow,
    LimitRow, NamespaceRow, RedirectRow, RefusalRow, Request, Response, SubscriptionRow, UnlistedRow, WorkloadRow,
};
use crate::model::Identity;

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// What to list.
    what: What,
    #[command(flatten)]
    daemon: Daemon,
    /// The format of the output.
    #[arg(long, short, default_value = "table")]
    output: Output,
    /// Maximum number of hosts, unlisted destinations, limits, workloads, network namespaces or cache entries to show.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Close the connections that `bypasses` lists; their applications connect again, through Egret.
    #[arg(long)]
    close: bool,
    /// Refresh every second.
    #[arg(long, short)]
    watch: bool,
}

/// The sequences that clear the screen and move the cursor to its top (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The kernel's table: each captured address and port, its API, and how often it matched.
    Redirects,
    /// Connections that the kernel hooks refused or let pass without Egret, with the reason; newest first.
    Decisions,
    /// Destinations that no API lists: who connected to them, and what `capture.unlisted` did; newest first.
    Unlisted,
    /// Running flows: the caller, the API, and the source address that the third party sees.
    Flows,
    /// Connections to captured destinations that do not go through Egret, such as those that are older than Egret; `--close` closes
    /// them.
    #[value(alias = "older")]
    Bypasses,
    /// APIs and the addresses of their hosts.
    Apis,
    /// Names of APIs, their addresses, and how Egret learnt them.
    Hosts,
    /// Servers of `backends`: health, circuit breaker, and requests.
    Backends,
    /// Workloads that do not trust the CA of intercepted APIs, and how to make them trust it.
    Refusals,
    /// Subscriptions, their products, and how often they are used.
    Subscriptions,
    /// Use of rate limits, quotas and concurrency limits by key; most used first.
    Limits,
    /// Cached responses and values; most often used first.
    Caches,
    /// Network namespaces of callers in which Egret listens, and those in which it cannot, with the cause; newest first.
    Namespaces,
    /// Owners of workloads that have called since the start: unit, container or pod, users, what they run, APIs, and use; the one that
    /// called last first.
    Workloads,
    /// Kernel hooks. With `sysctl kernel.bpf_stats_enabled=1`, also the time that a run takes.
    Hooks,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut client = Client::connect(&self.daemon.socket)?;
        let request = match self.what {
            What::Redirects => Request::Redirects,
            What::Decisions => Request::Decisions,
            What::Flows => Request::Flows,
            What::Bypasses => Request::Bypasses { close: self.close },
            What::Apis => Request::Apis,
            What::Backends => Request::Backends,
            What::Refusals => Request::Refusals,
            What::Limits => Request::Limits { most: self.limit },
            What::Caches => Request::Caches { most: self.limit },
            What::Hooks => Request::Hooks,
            What::Hosts => Request::Hosts { most: self.limit },
            What::Namespaces => Request::Namespaces { most: self.limit },
            What::Subscriptions => Request::Subscriptions,
            What::Unlisted => Request::Unlisted { most: self.limit },
            What::Workloads => Request::Workloads { most: self.limit },
        };
        loop {
            let response = client.ask(&request)?;
            if self.watch && io::stdout().is_terminal() {
                out::raw(CLEAR)?;
            }
            show(response, self.output)?;
            if !self.watch {
                return Ok(());
            }
            thread::sleep(Duration::from_secs(1));
        }
    }
}

fn show(response: Response, output: Output) -> anyhow::Result<()> {
    let shown = match response {
        Response::Apis(rows) => apis(&rows, output),
        Response::Backends(rows) => backends(&rows, output),
        Response::Bypasses(rows) => bypasses(&rows, output),
        Response::Caches { rows, all } => caches(&rows, all, output),
        Response::Decisions(rows) => decisions(&rows, output),
        Response::Flows(rows) => flows(&rows, output),
        Response::Hooks(rows) => hooks(&rows, output),
        Response::Hosts { rows, all } => hosts(&rows, all, output),
        Response::Limits { rows, all } => limits(&rows, all, output),
        Response::Namespaces { rows, all } => namespaces(&rows, all, output),
        Response::Refusals(rows) => refusals(&rows, output),
        Response::Redirects(rows) => redirects(&rows, output),
        Response::Subscriptions(rows) => subscriptions(&rows, output),
        Response::Unlisted { rows, all } => unlisted(&rows, all, output),
        Response::Workloads { rows, all } => workloads(&rows, all, output),
        Response::Error(why) => bail!(why),
        Response::Allowlist { .. }
        | Response::Explained(_)
        | Response::ExplainedDestination(_)
        | Response::Fleet(_)
        | Response::Forgotten(_)
        | Response::Proved
        | Response::Requests { .. }
        | Response::Status(_) => {
            bail!(UNEXPECTED)
        }
    };
    Ok(shown?)
}

fn redirects(rows: &[RedirectRow], output: Output) -> io::Result<()> {
    let columns = ["HOST", "ADDRESS", "PORT", "FOR", "API", "MODE", "ACTION", "FAIL", "HITS", "LAST HIT", "GENERATION"];
    print(rows, output, columns, |row| {
        [
            or_dash(row.host.as_ref()),
            row.address.to_string(),
            row.port.to_string(),
            row.owner.clone().unwrap_or_else(|| "everybody".to_owned()),
            row.api.clone(),
            row.mode.clone(),
            row.action.clone(),
            row.fail.clone(),
            row.hits.to_string(),
            or_dash(row.last_hit_seconds_ago.map(|seconds| format!("{seconds} s ago"))),
            row.generation.to_string(),
        ]
    })
}

/// A workload, and what it calls itself where that is something else.
fn who(caller: &Caller) -> String {
    let Identity { name, claimed_name, .. } = &*caller.workload.identity;
    match claimed_name {
        Some(claimed) => format!("{name} (claims {claimed})"),
        None => name.to_string(),
    }
}

fn process(caller: &Caller) -> String {
    format!("{} ({})", caller.workload.command, caller.workload.pid)
}

fn decisions(rows: &[DecisionRow], output: Output) -> io::Result<()> {
    let columns = [
        "FLOW",
        "AGE",
        "DECISION",
        "TIMES",
        "WORKLOAD",
        "PROCESS",
        "ORIGINAL DESTINATION",
        "PROTOCOL",
        "API",
        "EGRESS",
    ];
    print(rows, output, columns, |row| {
        [
            row.id.to_string(),
            format!("{} s", row.seconds_ago),
            row.reason.clone(),
            row.times.to_string(),
            who(&row.caller),
            process(&row.caller),
            or_dash(row.caller.original_destination),
            or_dash(row.protocol.as_ref()),
            or_dash(row.api.as_ref()),
            or_dash(row.egress),
        ]
    })
}

fn unlisted(rows: &[UnlistedRow], all: usize, output: Output) -> io::Result<()> {
    let columns = ["WORKLOAD", "PROCESS", "DESTINATION", "NAME", "PROTOCOL", "DECISION", "TIMES", "FIRST", "LAST"];
    print(rows, output, columns, |row| {
        [
            who(&row.caller),
            process(&row.caller),
            or_dash(row.caller.original_destination),
            or_dash(row.name.as_ref()),
            row.protocol.clone(),
            row.reason.clone(),
            row.times.to_string(),
            format!("{} s ago", row.first_seconds_ago),
            format!("{} s ago", row.last_seconds_ago),
        ]
    })?;
    rest(rows.len(), all, output)
}

fn bypasses(rows: &[BypassRow], output: Output) -> io::Result<()> {
    let columns = ["CAUSE", "WORKLOAD", "PROCESS", "USER", "LOCAL", "REMOTE", "PROTOCOL", "API", "STATE", "REMEDY"];
    print(rows, output, columns, |row| {
        let state = match (&row.error, row.closed) {
            (Some(error), _) => format!("cannot be closed: {error}"),
            (None, true) => "closed".to_owned(),
            (None, false) => "open".to_owned(),
        };
        [
            row.cause.clone(),
            who(&row.caller),
            or_dash((row.caller.workload.pid != 0).then(|| process(&row.caller))),
            row.caller.workload.user.to_string(),
            row.local.to_string(),
            or_dash(row.caller.original_destination),
            row.protocol.clone(),
            or_dash(row.api.as_ref()),
            state,
            row.remedy.clone(),
        ]
    })
}

fn flows(rows: &[FlowRow], output: Output) -> io::Result<()> {
    let columns = [
        "FLOW",
        "WORKLOAD",
        "PROCESS",
        "ORIGINAL DESTINATION",
        "NAME",
        "API",
        "EGRESS",
        "UPSTREAM",
        "SENT",
        "RECEIVED",
        "AGE",
    ];
    print(rows, output, columns, |row| {
        [
            row.id.to_string(),
            who(&row.caller),
            process(&row.caller),
            or_dash(row.caller.original_destination),
            or_dash(row.name.as_ref()),
            match (&row.api, &row.mode) {
                (None, Some(mode)) => format!("({mode})"),
                (api, _) => or_dash(api.as_ref()),
            },
            or_dash(row.egress),
            match (row.upstream, &row.proxy) {
                (Some(upstream), Some(proxy)) => format!("{upstream} ({proxy})"),
                (upstream, _) => or_dash(upstream),
            },
            row.bytes_sent.to_string(),
            row.bytes_received.to_string(),
            format!("{} s", row.age_seconds),
        ]
    })
}

fn refusals(rows: &[RefusalRow], output: Output) -> io::Result<()> {
    let columns = ["WORKLOAD", "PROCESS", "RUNTIME", "HOST", "REFUSED BY", "TIMES", "LAST", "NEXT TIME", "REMEDY"];
    print(rows, output, columns, |row| {
        [
            row.workload.clone(),
            format!("{} ({})", row.command, row.pid),
            or_dash(row.runtime.as_ref()),
            row.host.clone(),
            row.sign.clone(),
            row.times.to_string(),
            format!("{} s ago", row.seconds_ago),
            if row.passes { format!("passed through ({} so far)", row.passed) } else { "refused".to_owned() },
            row.remedy.clone(),
        ]
    })
}

fn apis(rows: &[ApiRow], output: Output) -> io::Result<()> {
    print(rows, output, ["API", "HOST", "ADDRESSES", "PORTS", "MODE", "FAIL", "STRANGERS", "EGRESS"], |row| {
        let per_host = |text: fn(&crate::admin::NameRow) -> String| Cell::lines(row.hosts.iter().map(text));
        [
            Cell::from(&row.name),
            per_host(|host| host.name.clone()),
            per_host(|host| match &host.error {
                Some(error) if host.addresses.is_empty() => error.clone(),
                _ if host.refused.is_empty() => list(&host.addresses),
                _ => format!("{} ({} refused)", list(&host.addresses), host.refused.len()),
            }),
            list(&row.ports).into(),
            Cell::from(&row.mode),
            Cell::from(&row.fail),
            Cell::from(&row.strangers),
            Cell::lines(
                [list(&row.egress)].into_iter().chain(row.proxy.iter().map(|proxy| format!("through {proxy}"))),
            ),
        ]
    })
}

fn hosts(rows: &[HostRow], all: usize, output: Output) -> io::Result<()> {
    print(rows, output, ["NAME", "API", "LEARNT", "OWNER", "SCOPE", "ADDRESS", "TTL", "FLOWS"], |row| {
        let each = |text: fn(&HostAddress) -> String| Cell::lines(row.addresses.iter().map(text));
        [
            Cell::from(&row.name),
            or_dash(row.api.as_ref()).into(),
            Cell::from(&row.learnt),
            or_dash(row.owner.as_ref()).into(),
            Cell::from(&row.scope),
            match &row.error {
                Some(error) if row.addresses.is_empty() => error.as_str().into(),
                _ => each(|address| address.address.to_string()),
            },
            each(|address| or_dash(address.ttl_seconds.map(|seconds| format!("{seconds} s")))),
            each(|address| address.flows.to_string()),
        ]
    })?;
    rest(rows.len(), all, output)
}

fn workloads(rows: &[WorkloadRow], all: usize, output: Output) -> io::Result<()> {
    let columns = [
        "WORKLOAD", "KIND", "USERS", "RUNS", "APIS", "FLOWS", "RUNNING", "FAILED", "REQUESTS", "SENT", "RECEIVED",
        "LAST",
    ];
    print(rows, output, columns, |row| {
        let newest = &row.newest.workload.identity;
        let kind = [("pod", &newest.pod), ("container", &newest.container), ("unit", &newest.unit)];
        let kind = kind.into_iter().find(|(_, fact)| fact.is_some()).map_or("cgroup", |(kind, _)| kind);
        let lines = |texts: &[String]| Cell::lines(texts.iter().cloned());
        [
            Cell::from(&newest.name),
            kind.into(),
            lines(&row.users),
            lines(&row.executables),
            Cell::lines(row.apis.iter().map(|used| format!("{} ({})", used.api, used.flows))),
            row.flows.to_string().into(),
            row.running.to_string().into(),
            row.failed.to_string().into(),
            row.requests.to_string().into(),
            row.bytes_sent.to_string().into(),
            row.bytes_received.to_string().into(),
            format!("{} s ago", row.last_seconds_ago).into(),
        ]
    })?;
    rest(rows.len(), all, output)
}

fn namespaces(rows: &[NamespaceRow], all: usize, output: Output) -> io::Result<()> {
    let columns =
        ["NAMESPACE", "WORKLOAD", "FIRST PROCESS", "STATE", "LISTENERS", "CONNECTIONS", "AGE", "CAUSE", "REMEDY"];
    print(rows, output, columns, |row| {
        let cause = match (&row.cause, &row.error) {
            (Some(cause), Some(error)) => format!("{cause}: {error} ({} times)", row.refusals),
            _ => or_dash(row.cause.as_ref()),
        };
        [
            Cell::from(or_dash(row.network_namespace)),
            who(&row.caller).into(),
            or_dash((row.caller.workload.pid != 0).then_some(row.caller.workload.pid)).into(),
            Cell::from(&row.state),
            Cell::lines(row.listeners.iter().map(ToString::to_string)),
            row.connections.to_string().into(),
            format!("{} s", row.age_seconds).into(),
            cause.into(),
            or_dash(row.remedy.as_ref()).into(),
        ]
    })?;
    rest(rows.len(), all, output)
}

fn backends(rows: &[BackendRow], output: Output) -> io::Result<()> {
    print(rows, output, ["BACKEND", "SERVER", "BREAKER", "HEALTH", "REQUESTS", "FAILED"], |row| {
        [
            row.backend.clone(),
            row.member.clone(),
            match row.open_for_seconds {
                left if left > 0.0 => format!("{} for {left:.0} s", row.breaker),
                _ => row.breaker.clone(),
            },
            row.ill.clone().unwrap_or_else(|| "healthy".to_owned()),
            row.requests.to_string(),
            row.failed.to_string(),
        ]
    })
}

fn subscriptions(rows: &[SubscriptionRow], output: Output) -> io::Result<()> {
    print(rows, output, ["SUBSCRIPTION", "PRODUCT", "APIS", "REQUESTS", "LAST"], |row| {
        [
            row.subscription.clone(),
            row.product.clone(),
            list(&row.apis),
            row.requests.to_string(),
            or_dash(row.last_seconds_ago.map(|seconds| format!("{seconds} s ago"))),
        ]
    })
}

fn limits(rows: &[LimitRow], all: usize, output: Output) -> io::Result<()> {
    let columns = ["LIMIT", "SCOPE", "ID", "BY", "KEY", "USED", "OF", "MORE IN"];
    print(rows, output, columns, |row| {
        [
            if row.shared { format!("{}, shared", row.kind) } else { row.kind.clone() },
            row.scope.clone(),
            or_dash(row.id.as_ref()),
            or_dash(row.by.as_ref()),
            or_dash(Some(&row.key).filter(|key| !key.is_empty())),
            row.used.to_string(),
            or_dash(row.limit),
            or_dash(row.more_in_seconds.map(|seconds| format!("{seconds:.1} s"))),
        ]
    })?;
    rest(rows.len(), all, output)
}

fn caches(rows: &[CacheRow], all: usize, output: Output) -> io::Result<()> {
    let columns = ["API", "KEY", "VARIES BY", "STATUS", "BYTES", "AGE", "FRESH FOR", "HITS"];
    print(rows, output, columns, |row| {
        [
            or_dash(row.api.as_ref()),
            row.key.clone(),
            list(&row.varies),
            or_dash(row.status),
            row.bytes.to_string(),
            or_dash(row.age_seconds.map(|seconds| format!("{seconds} s"))),
            format!("{} s", row.fresh_for_seconds),
            or_dash(row.hits),
        ]
    })?;
    rest(rows.len(), all, output)
}

/// Prints how many rows were left out.
fn rest(shown: usize, all: usize, output: Output) -> io::Result<()> {
    if output == Output::Table && all > shown {
        out::line(format!("and {} more: --limit {all} shows them", all - shown))?;
    }
    Ok(())
}

fn hooks(rows: &[HookRow], output: Output) -> io::Result<()> {
    print(rows, output, ["HOOK", "CGROUP", "PROGRAM", "PINNED", "NS PER RUN"], |row| {
        [
            row.hook.clone(),
            row.attached_to.display().to_string(),
            row.program.to_string(),
            or_dash(row.pinned.as_ref().map(|path| path.display().to_string())),
            or_dash(row.run_nanoseconds.checked_div(row.runs)),
        ]
    })
}
