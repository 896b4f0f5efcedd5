use std::path::PathBuf;

use clap::Args;

use super::table::{or_dash, print};
use super::{Failure, Output};
use crate::config::{self, Change};
use crate::model::Generation;

/// Show the differences between two configurations: by API, with each policy at the place where it runs. Both must be valid.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Diff {
    /// The old configuration: a YAML file, or a directory of them.
    old: PathBuf,
    /// The new configuration.
    new: PathBuf,
    /// The format of the output.
    #[arg(long, short, default_value = "table")]
    output: Output,
}

const EXIT_CODES: &str = "Exit codes: 0 no difference; 1 a difference; 2 wrong usage or an invalid configuration.";

impl Diff {
    pub(super) fn run(self) -> Result<(), Failure> {
        let load =
            |path| config::load(path, Generation::default()).map_err(|errors| Failure::Invalid(errors.to_string()));
        let (old, new) = (load(&self.old)?, load(&self.new)?);
        let changes = config::diff((&old, &self.old), (&new, &self.new));
        print(&changes, self.output, ["API", "PLACE", "CHANGE", "WHAT", "BEFORE", "AFTER"], |change: &Change| {
            [
                change.api.clone().unwrap_or_else(|| "all".to_owned()),
                change.place.clone(),
                change.kind.label().to_owned(),
                or_dash(change.what.as_ref()),
                or_dash(change.old.as_ref()),
                or_dash(change.new.as_ref()),
            ]
        })?;
        if changes.is_empty() { Ok(()) } else { Err(Failure::Code(1)) }
    }
}
