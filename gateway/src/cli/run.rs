use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::{config, gateway};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration: a YAML file, or a directory of them.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Take the options from EGRET_* variables, as of `podman run --env-file`. An unknown or missing variable is an error that names it.
    #[arg(long, conflicts_with_all = ["config", "persist", "instance"])]
    environment: bool,
    /// Keep the hooks after SIGTERM or SIGINT: each API follows its fail mode until the next start adopts them. (After a kill or a
    /// crash the hooks stay in any case.) With this option, a second `egret run --persist` takes over from the running process
    /// without losing a connection.
    #[arg(long)]
    persist: bool,
    /// The name of this instance, such as the uid of its pod. Once another instance has taken over, processes of this one wait while
    /// that one serves, instead of ending or of taking over again when something starts them again.
    #[arg(long, value_name = "NAME", requires = "persist")]
    instance: Option<String>,
}

impl Run {
    pub(super) fn run(mut self) -> Result<(), Failure> {
        if self.environment {
            self.read_environment().map_err(|error| Failure::Invalid(format!("egret: {error}")))?;
        }
        gateway::run(&gateway::Options { config: self.config, persist: self.persist, instance: self.instance }).map_err(
            |error| match error {
                gateway::Error::Invalid(text) => Failure::Invalid(text),
                gateway::Error::Failed(error) => Failure::Failed(error),
            },
        )
    }

    fn read_environment(&mut self) -> Result<(), String> {
        use config::environment::{CONFIG, INSTANCE, PERSIST, check};
        if let Some(path) = std::env::var_os(CONFIG) {
            self.config = path.into();
            if !self.config.exists() {
                return Err(format!("{CONFIG} names {}, which does not exist", self.config.display()));
            }
        }
        check(&std::env::vars_os().collect::<Vec<_>>(), self.config.exists())?;
        self.instance = std::env::var(INSTANCE).ok();
        self.persist = match std::env::var(PERSIST).as_deref() {
            Err(_) | Ok("false") => false,
            Ok("true") => true,
            Ok(other) => return Err(format!("{PERSIST} must be true or false, but it is `{other}`")),
        };
        if self.instance.is_some() && !self.persist {
            return Err(format!("{INSTANCE} has no meaning without {PERSIST}=true"));
        }
        Ok(())
    }
}
