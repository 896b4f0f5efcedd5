use clap::Args;

use super::table::list;
use super::{Daemon, Failure, Output, ask};
use crate::admin::Status;

#[derive(Debug, Args)]
pub(super) struct StatusCommand {
    #[command(flatten)]
    daemon: Daemon,
    /// How to print it.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

impl StatusCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let status = ask::status(&self.daemon.socket)?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?),
            Output::Table => show(&status),
        }
        Ok(())
    }
}

fn show(status: &Status) {
    let persist = if status.persist { "the hooks outlive it" } else { "the hooks go with it" };
    println!("egret {} runs as process {}; {persist}", status.version, status.pid);
    println!("configuration  {} (generation {})", status.config.display(), status.generation);
    if let Some(error) = &status.config_error {
        println!("               the newest change is refused:\n{error}");
    }
    for warning in &status.config_warnings {
        println!("{warning}");
    }
    println!("captures       {}", status.cgroup.display());
    println!("listens on     {}", list(&status.listeners));
    for egress in &status.egress {
        let present = if egress.present { "on the node" } else { "NOT ON THE NODE: flows follow their fail mode" };
        println!("leaves from    {} ({present})", egress.address);
    }
    println!("flows          {}", status.flows);
    for draining in &status.draining {
        println!(
            "draining       process {} carries {} flows for at most {} s more",
            draining.pid, draining.flows, draining.seconds_left
        );
    }
    for (reason, count) in status.kernel.iter().filter(|(_, count)| **count > 0) {
        println!("kernel         {reason}: {count}");
    }
}
