use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::{config, gateway};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration: a YAML file, or a directory of them.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Keep the hooks after SIGTERM or SIGINT: each API follows its fail mode until the next start adopts them. (After a kill or a
    /// crash the hooks stay in any case.) With this option, a second `egret run --persist` takes over from the running process
    /// without losing a connection.
    #[arg(long)]
    persist: bool,
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        gateway::run(&gateway::Options { config: self.config, persist: self.persist }).map_err(|error| match error {
            gateway::Error::Invalid(text) => Failure::Invalid(text),
            gateway::Error::Failed(error) => Failure::Failed(error),
        })
    }
}
