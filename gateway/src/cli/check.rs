use std::path::PathBuf;

use clap::Args;

use super::{Failure, Output, against, out};
use crate::config;
use crate::model::{Generation, number};

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Check {
    /// The configuration: a YAML file, or a directory of them.
    #[arg(value_name = "PATH", default_value = config::DEFAULT_PATH)]
    path: PathBuf,
    /// Replay the requests of an access log (`telemetry.log_requests: true`), and show which of them the configuration would treat
    /// differently. The log has no headers, queries or bodies; requests whose result depends on these are counted separately.
    /// Limits start empty.
    #[arg(long, value_name = "LOG")]
    against: Option<PathBuf>,
    /// Do not read secrets, as on a machine that builds: named values of a file, a variable or a credential, and client certificates with
    /// their keys, are taken as present and right. All else is checked.
    #[arg(long, conflicts_with = "against")]
    without_values: bool,
    /// Output format of --against.
    #[arg(long, short, default_value = "table", requires = "against")]
    output: Output,
}

const EXIT_CODES: &str = "Exit codes: 0 valid, and no request is known to be treated differently; 1 a request would be treated \
                          differently; 2 wrong usage, an invalid configuration, or a log without requests.";

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let compiled = match self.without_values {
            true => config::load_without_secrets(&self.path),
            false => config::load(&self.path, Generation::default()),
        };
        let compiled = compiled.map_err(|errors| Failure::Invalid(errors.to_string()))?;
        for warning in &compiled.model.warnings {
            out::error(&format!("{warning}\n"));
        }
        if let Some(log) = &self.against {
            return against::run(&compiled.model, log, self.output);
        }
        for config::Variable { name, key, is_used } in &compiled.variables {
            match is_used {
                true => out::line(format!("{name} gives `{key}`"))?,
                false => out::line(format!("{name} is not used: `{key}` of the file goes before it"))?,
            }
        }
        let hosts: usize = compiled.model.apis.iter().map(|api| api.listings().count()).sum();
        let warnings = match compiled.model.warnings.len() {
            0 => String::new(),
            count => format!(", {}", number(count, "warning")),
        };
        let (apis, hosts) = (number(compiled.model.apis.len(), "API"), number(hosts, "host"));
        let unread = if self.without_values { ", secrets not read" } else { "" };
        out::line(format!("{}: ok, {apis}, {hosts}{warnings}{unread}", self.path.display()))?;
        Ok(())
    }
}
