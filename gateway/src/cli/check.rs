use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config;
use crate::model::Generation;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration: a YAML file, or a directory of them.
    #[arg(value_name = "PATH", default_value = config::DEFAULT_PATH)]
    path: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let compiled =
            config::load(&self.path, Generation::default()).map_err(|errors| Failure::Invalid(errors.to_string()))?;
        let hosts: usize = compiled.model.apis.iter().map(|api| api.hosts.len()).sum();
        println!("{}: ok, {} API(s), {hosts} host(s)", self.path.display(), compiled.model.apis.len());
        Ok(())
    }
}
