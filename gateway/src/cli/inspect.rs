use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::table::{list, or_dash, print};
use super::{Daemon, Failure, Output};
use crate::admin::{
    ApiRow, BackendRow, CacheRow, Client, DecisionRow, FlowRow, HookRow, LimitRow, RedirectRow, RefusalRow, Request,
    Response, SubscriptionRow,
};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// What to list.
    what: What,
    #[command(flatten)]
    daemon: Daemon,
    /// How to print it.
    #[arg(long, short, default_value = "table")]
    output: Output,
    /// How many limits or caches, at most.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Print it again every second.
    #[arg(long, short)]
    watch: bool,
}

/// Empties the screen and goes to its top (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The kernel's table: which address and port goes where, by which API, how often.
    Redirects,
    /// Connections that the kernel refused or let go directly, and why; the newest first.
    Decisions,
    /// The running flows: who calls what, from which address.
    Flows,
    /// The APIs and the addresses of their hosts.
    Apis,
    /// The servers of `backends`: who gets requests, who is left alone, and why.
    Backends,
    /// Workloads that do not trust the CA of intercepted APIs, and what makes them.
    Refusals,
    /// Who has subscribed to which product, and how often it is used.
    Subscriptions,
    /// What was used of rate limits, quotas and concurrency, by whom; the most used first.
    Limits,
    /// Answers and values that policies have kept; the most wanted first.
    Caches,
    /// The kernel hooks, with what a run costs while `sysctl kernel.bpf_stats_enabled` is 1.
    Hooks,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut client = Client::connect(&self.daemon.socket)?;
        let request = match self.what {
            What::Redirects => Request::Redirects,
            What::Decisions => Request::Decisions,
            What::Flows => Request::Flows,
            What::Apis => Request::Apis,
            What::Backends => Request::Backends,
            What::Refusals => Request::Refusals,
            What::Limits => Request::Limits { most: self.limit },
            What::Caches => Request::Caches { most: self.limit },
            What::Hooks => Request::Hooks,
            What::Subscriptions => Request::Subscriptions,
        };
        loop {
            let response = client.ask(&request)?;
            if self.watch && io::stdout().is_terminal() {
                print!("{CLEAR}");
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
    match response {
        Response::Apis(rows) => apis(&rows, output),
        Response::Backends(rows) => backends(&rows, output),
        Response::Caches { rows, all } => caches(&rows, all, output),
        Response::Decisions(rows) => decisions(&rows, output),
        Response::Flows(rows) => flows(&rows, output),
        Response::Hooks(rows) => hooks(&rows, output),
        Response::Limits { rows, all } => limits(&rows, all, output),
        Response::Refusals(rows) => refusals(&rows, output),
        Response::Redirects(rows) => redirects(&rows, output),
        Response::Subscriptions(rows) => subscriptions(&rows, output),
        Response::Error(why) => bail!(why),
        Response::Explained(_)
        | Response::Forgotten(_)
        | Response::Proved
        | Response::Requests { .. }
        | Response::Status(_) => {
            bail!("the daemon answered something else")
        }
    }
}

fn redirects(rows: &[RedirectRow], output: Output) -> anyhow::Result<()> {
    let columns = ["HOST", "ADDRESS", "PORT", "API", "MODE", "ACTION", "FAIL", "HITS", "LAST HIT", "GENERATION"];
    print(rows, output, columns, |row| {
        [
            or_dash(row.host.as_ref()),
            row.address.to_string(),
            row.port.to_string(),
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

fn decisions(rows: &[DecisionRow], output: Output) -> anyhow::Result<()> {
    let columns =
        ["FLOW", "AGE", "DECISION", "WORKLOAD", "PROCESS", "ORIGINAL DESTINATION", "PROTOCOL", "API", "EGRESS"];
    print(rows, output, columns, |row| {
        [
            row.id.to_string(),
            format!("{} s", row.seconds_ago),
            row.reason.clone(),
            row.caller.workload.clone(),
            format!("{} ({})", row.caller.command, row.caller.pid),
            or_dash(row.caller.original_destination),
            or_dash(row.protocol.as_ref()),
            or_dash(row.api.as_ref()),
            or_dash(row.egress),
        ]
    })
}

fn flows(rows: &[FlowRow], output: Output) -> anyhow::Result<()> {
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
            row.caller.workload.clone(),
            format!("{} ({})", row.caller.command, row.caller.pid),
            or_dash(row.caller.original_destination),
            or_dash(row.name.as_ref()),
            or_dash(row.api.as_ref()),
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

fn refusals(rows: &[RefusalRow], output: Output) -> anyhow::Result<()> {
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

fn apis(rows: &[ApiRow], output: Output) -> anyhow::Result<()> {
    print(rows, output, ["API", "HOST", "ADDRESSES", "PORTS", "MODE", "FAIL", "EGRESS"], |row| {
        let per_host =
            |text: fn(&crate::admin::NameRow) -> String| row.hosts.iter().map(text).collect::<Vec<_>>().join("\n");
        [
            row.name.clone(),
            per_host(|host| host.name.clone()),
            per_host(|host| match &host.error {
                Some(error) if host.addresses.is_empty() => error.clone(),
                _ => list(&host.addresses),
            }),
            list(&row.ports),
            row.mode.clone(),
            row.fail.clone(),
            match &row.proxy {
                Some(proxy) => format!("{}\nthrough {proxy}", list(&row.egress)),
                None => list(&row.egress),
            },
        ]
    })
}

fn backends(rows: &[BackendRow], output: Output) -> anyhow::Result<()> {
    print(rows, output, ["BACKEND", "SERVER", "BREAKER", "HEALTH", "REQUESTS", "FAILED"], |row| {
        [
            row.backend.clone(),
            row.member.clone(),
            match row.open_for_seconds {
                left if left > 0.0 => format!("{} for {left:.0} s", row.breaker),
                _ => row.breaker.clone(),
            },
            row.ill.clone().unwrap_or_else(|| "well".to_owned()),
            row.requests.to_string(),
            row.failed.to_string(),
        ]
    })
}

fn subscriptions(rows: &[SubscriptionRow], output: Output) -> anyhow::Result<()> {
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

fn limits(rows: &[LimitRow], all: usize, output: Output) -> anyhow::Result<()> {
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
    rest(rows.len(), all, output);
    Ok(())
}

fn caches(rows: &[CacheRow], all: usize, output: Output) -> anyhow::Result<()> {
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
    rest(rows.len(), all, output);
    Ok(())
}

/// Says what was left out.
fn rest(shown: usize, all: usize, output: Output) {
    if output == Output::Table && all > shown {
        println!("and {} more: --limit {all} shows them", all - shown);
    }
}

fn hooks(rows: &[HookRow], output: Output) -> anyhow::Result<()> {
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
