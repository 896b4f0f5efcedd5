use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::{capture, config};

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Where the hooks are pinned.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PINS)]
    pins: PathBuf,
}

impl Detach {
    pub(super) fn run(self) -> Result<(), Failure> {
        let removed = capture::detach(&self.pins).map_err(anyhow::Error::from)?;
        match removed.len() {
            0 => println!("nothing is pinned below {}", self.pins.display()),
            count => println!("removed {count} pins below {}: connections go direct again", self.pins.display()),
        }
        Ok(())
    }
}
