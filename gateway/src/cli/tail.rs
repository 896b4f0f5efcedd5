use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::ask::UNEXPECTED;
use super::{Daemon, Failure, Output, out};
use crate::admin::{Client, Request, RequestRow, Response};

/// Show requests as they end: the caller, the request, the response, what policies did, and where the time went.
#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    daemon: Daemon,
    /// Show only requests of this API.
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// Show only requests of workloads whose name contains this text.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Show only responses with this status, or of this class, like 4xx.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Exit after this number of requests.
    #[arg(long, value_name = "COUNT")]
    count: Option<usize>,
    /// Output format; JSON has one request a line.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

/// The interval at which the daemon is asked for new requests.
const PERIOD: Duration = Duration::from_millis(200);

impl Tail {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut client = Client::connect(&self.daemon.socket)?;
        let (mut after, mut shown) = (None, 0);
        if self.output == Output::Table {
            out::line(columns(["STATUS", "OUTCOME", "MS", "UPSTREAM", "POLICIES", "WORKLOAD", "API", "REQUEST"]))?;
        }
        loop {
            let (rows, newest) = match client.ask(&Request::Requests { after })? {
                Response::Requests { rows, newest } => (rows, newest),
                Response::Error(why) => return Err(anyhow::anyhow!(why).into()),
                _ => return Err(anyhow::anyhow!(UNEXPECTED).into()),
            };
            after = Some(newest);
            for row in rows.iter().filter(|row| self.wants(row)) {
                match self.output {
                    Output::Json => out::json_line(row)?,
                    Output::Table => show(row)?,
                }
                shown += 1;
                if self.count == Some(shown) {
                    return Ok(());
                }
            }
            io::stdout().flush()?;
            thread::sleep(PERIOD);
        }
    }

    fn wants(&self, row: &RequestRow) -> bool {
        let status = row.status.to_string();
        self.api.as_ref().is_none_or(|api| *api == row.api)
            && self.workload.as_ref().is_none_or(|workload| row.workload.contains(workload.as_str()))
            && self.status.as_ref().is_none_or(|wanted| match wanted.strip_suffix("xx") {
                Some(class) => status.len() == 3 && status.starts_with(class),
                None => status == *wanted,
            })
    }
}

fn show(row: &RequestRow) -> io::Result<()> {
    let outcome =
        row.policy.as_ref().map_or_else(|| row.outcome.clone(), |policy| format!("{} ({policy})", row.outcome));
    let request = row.operation.as_ref().map_or_else(
        || format!("{} {}", row.method, row.target),
        |operation| format!("{} {} ({operation})", row.method, row.target),
    );
    let milliseconds = |microseconds: u64| {
        let tenths = microseconds / 100;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    out::line(columns([
        &row.status.to_string(),
        &outcome,
        &milliseconds(row.total_us),
        &milliseconds(row.upstream_us),
        &milliseconds(row.policies_us),
        &row.workload,
        &row.api,
        &request,
    ]))?;
    let reports = row.reports.iter().map(|report| format!("       report: {report}"));
    let traces = row.traces.iter().map(|trace| format!("       {trace}"));
    reports.chain(traces).try_for_each(out::line)
}

fn columns([status, outcome, total, upstream, policies, workload, api, request]: [&str; 8]) -> String {
    format!("{status:<6} {outcome:<12} {total:>9} {upstream:>9} {policies:>9}  {workload:<24} {api:<16} {request}")
}
