use std::io;

use clap::Args;

use super::table::list;
use super::{Daemon, Failure, Output, ask, out};
use crate::admin::{KubernetesRow, LeaseRow, Status};
use crate::model::number;

#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    #[command(flatten)]
    daemon: Daemon,
    /// The format of the output.
    #[arg(long, short, default_value = "table")]
    output: Output,
    /// Print nothing; exit with 0 if the daemon serves and has taken over from any process before it, else with 1.
    #[arg(long, conflicts_with = "output")]
    ready: bool,
    /// With --ready: the daemon must run in the mount namespace of this command. As a readiness probe (`exec`) of a container this
    /// asks the container's own process, and not one that it is about to replace.
    #[arg(long, requires = "ready")]
    same_container: bool,
}

impl StatusCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let status = ask::status(&self.daemon.socket)?;
        if self.ready {
            return self.readiness(&status);
        }
        match self.output {
            Output::Json => out::json(&status)?,
            Output::Table => show(&status)?,
        }
        Ok(())
    }

    fn readiness(&self, status: &Status) -> Result<(), Failure> {
        let not = |why: String| Err(Failure::Failed(anyhow::anyhow!("not ready: {why}")));
        if self.same_container && own_mount_namespace()? != status.mount_namespace {
            return not(format!("process {}, which serves, runs in another container", status.pid));
        }
        if status.ready { Ok(()) } else { not(format!("process {} has not taken over yet", status.pid)) }
    }
}

/// Returns how the watch of the node's pods is getting on.
pub(super) fn described(row: &KubernetesRow) -> String {
    let KubernetesRow { node, state, since_seconds, pods, .. } = row;
    let server = row.server.as_deref().unwrap_or("no API server");
    let error = row.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{} of node {node} from {server}, {state} for {since_seconds} s{error}", number(*pods, "pod"))
}

/// Returns how the renewals of the node's Lease are getting on.
pub(super) fn leased(row: &LeaseRow) -> String {
    let renewed = match (&row.lease, row.last_seconds_ago) {
        (Some(lease), Some(seconds)) => format!("{lease}, renewed {seconds} s ago"),
        _ => "not renewed yet".to_owned(),
    };
    let error = row.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{renewed}{error}")
}

fn own_mount_namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/mnt")?.to_string_lossy().into_owned())
}

fn show(status: &Status) -> io::Result<()> {
    let persist = if status.persist { "its hooks outlive it" } else { "its hooks end with it" };
    out::line(format!("egret {} runs as process {}; {persist}", status.version, status.pid))?;
    out::line(format!("configuration  {} (generation {})", status.config.display(), status.generation))?;
    if let Some(error) = &status.config_error {
        out::line("               the newest change is refused:")?;
        out::lines(error)?;
    }
    for warning in &status.config_warnings {
        out::lines(warning)?;
    }
    out::line(format!("captures       {}", status.cgroup.display()))?;
    out::line(format!("listens on     {}", list(&status.listeners)))?;
    if status.namespaces > 0 {
        out::line(format!("               in {} of callers, too", number(status.namespaces, "network namespace")))?;
    }
    if let Some(kubernetes) = &status.kubernetes {
        out::line(format!("kubernetes     {}", described(kubernetes)))?;
    }
    if let Some(lease) = &status.lease {
        out::line(format!("lease          {}", leased(lease)))?;
    }
    for egress in &status.egress {
        let present = if egress.present { "on the node" } else { "NOT ON THE NODE: flows follow their fail mode" };
        out::line(format!("leaves from    {} ({present})", egress.address))?;
    }
    out::line(format!("flows          {}", status.flows))?;
    for draining in &status.draining {
        out::line(format!(
            "draining       process {} still carries {}, for at most {} s",
            draining.pid,
            number(draining.flows, "flow"),
            draining.seconds_left
        ))?;
    }
    for (outcome, count) in status.dns.iter().filter(|(_, count)| **count > 0) {
        out::line(format!("dns            {outcome}: {count}"))?;
    }
    for (reason, count) in status.kernel.iter().filter(|(_, count)| **count > 0) {
        out::line(format!("kernel         {reason}: {count}"))?;
    }
    Ok(())
}
