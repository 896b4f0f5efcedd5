//! The command line. Clap's types only; one command a file.

mod against;

mod ask;

mod check;

mod detach;

mod diff;

mod doctor;

mod exec;

mod explain;

mod generate;

mod inspect;

mod run;

mod status;

mod table;

mod tail;

mod trust;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Transparent egress gateway: unmodified applications call listed third parties from one fixed IP.
#[derive(Debug, Parser)]
#[command(name = "egret", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage or an invalid configuration; 3 no daemon answers.
`egret exec` ends with the exit code of its command (128 + signal if a signal ended it).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground.
    Run(run::Run),
    /// Check a configuration: every error at once, with line and column.
    Check(check::Check),
    /// Say what changes from one configuration to another.
    Diff(diff::Diff),
    /// Say what would be done with a request: which API, operation and policies, with which values.
    Explain(Box<explain::Explain>),
    /// Show what is redirected, which flows run, the APIs, the kernel hooks.
    Inspect(inspect::Inspect),
    /// Show requests as they end.
    Tail(tail::Tail),
    /// Show the daemon: configuration, egress addresses, draining processes, the kernel's decisions.
    Status(status::StatusCommand),
    /// Examine this host: each line is ok or comes with a remedy.
    Doctor(doctor::Doctor),
    /// Run a command in a captured cgroup of its own.
    Exec(exec::Exec),
    /// Show and give out the CA of intercepted APIs.
    Trust(trust::Trust),
    /// Remove every hook and pin of Egret, whether a daemon runs or not.
    Detach(detach::Detach),
    /// Print shell completions, the manual pages, the JSON Schema or the reference of the configuration.
    #[command(hide = true)]
    Generate(generate::Generate),
}

/// Where the daemon listens.
#[derive(Debug, Args)]
struct Daemon {
    /// The daemon's admin socket.
    #[arg(long, value_name = "PATH", default_value = crate::config::DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs; field names are stable.
    Json,
}

/// How a command ends when it does not succeed.
#[derive(Debug)]
enum Failure {
    /// 1: it failed.
    Failed(anyhow::Error),
    /// 2: the configuration is invalid; the text is complete as it is.
    Invalid(String),
    /// 3: no daemon answers.
    NoDaemon(anyhow::Error),
    /// Any other code, already explained or not ours to explain.
    Code(u8),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(crate::admin::Error::NoDaemon { .. }) => Self::NoDaemon(error),
            _ => Self::Failed(error),
        }
    }
}

impl From<crate::admin::Error> for Failure {
    fn from(error: crate::admin::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Parses, does, and says how it ended.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Tail(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Exec(command) => command.run(),
        Command::Trust(command) => command.run(),
        Command::Detach(command) => command.run(),
        Command::Generate(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => fail(&error, 1),
        Err(Failure::NoDaemon(error)) => fail(&error, 3),
        Err(Failure::Invalid(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
        Err(Failure::Code(code)) => ExitCode::from(code),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("egret: {error:#}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systemd_unit_runs_a_command_that_there_is() {
        let unit = include_str!("../../config/deploy/egret.service");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let cli = Cli::try_parse_from(start.split(' ')).unwrap();
        assert!(matches!(cli.command, Command::Run(_)));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
