use std::path::PathBuf;

use clap::Args;

use super::{Failure, out};
use crate::model::number;
use crate::{capture, config};

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// The directory in which the hooks are pinned.
    #[arg(long, value_name = "PATH", default_value = config::DEFAULT_PINS)]
    pins: PathBuf,
}

impl Detach {
    pub(super) fn run(self) -> Result<(), Failure> {
        let removed = capture::detach(&self.pins).map_err(anyhow::Error::from)?;
        match removed.len() {
            0 => out::line(format!("nothing is pinned below {}", self.pins.display()))?,
            count => out::line(format!(
                "removed {} below {}: new connections go direct",
                number(count, "pin"),
                self.pins.display()
            ))?,
        }
        Ok(())
    }
}
