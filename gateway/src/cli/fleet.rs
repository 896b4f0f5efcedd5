use clap::Args;

use super::ask::UNEXPECTED;
use super::table::{list, or_dash, print};
use super::{Daemon, Failure, Output};
use crate::admin::{Client, NodeRow, Request, Response};

/// Show the nodes of the cluster that run Egret: version, configuration, egress addresses, and when each was last seen. Needs
/// `kubernetes: {api: true, fleet: true}`; without it, this node is the only one.
#[derive(Debug, Args)]
pub(super) struct Fleet {
    #[command(flatten)]
    daemon: Daemon,
    /// The format of the output.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

impl Fleet {
    pub(super) fn run(self) -> Result<(), Failure> {
        let rows = match Client::connect(&self.daemon.socket)?.ask(&Request::Fleet)? {
            Response::Fleet(rows) => rows,
            Response::Error(error) => return Err(anyhow::anyhow!(error).into()),
            _ => return Err(anyhow::anyhow!(UNEXPECTED).into()),
        };
        let columns = ["NODE", "STATE", "SEEN", "VERSION", "CONFIGURATION", "GENERATION", "EGRESS"];
        print(&rows, self.output, columns, |row: &NodeRow| {
            [
                if row.this { format!("{} (this node)", row.node) } else { row.node.clone() },
                row.error.as_ref().map_or_else(|| row.state.clone(), |error| format!("{}: {error}", row.state)),
                or_dash(row.last_seconds_ago.map(|seconds| format!("{seconds} s ago"))),
                or_dash(row.version.as_ref()),
                or_dash(row.config.as_ref()),
                or_dash(row.generation),
                list(&row.egress),
            ]
        })?;
        Ok(())
    }
}
