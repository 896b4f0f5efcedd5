//! The command line: one file for each command. Only this module uses `clap`.

mod against;

mod allowlist;

mod ask;

mod check;

mod detach;

mod diff;

mod doctor;

mod exec;

mod explain;

mod fleet;

mod generate;

mod inspect;

mod out;

mod run;

mod status;

mod table;

mod tail;

mod trust;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Transparent egress gateway: unmodified applications call listed third parties from one fixed IP address.
#[derive(Debug, Parser)]
#[command(name = "egret", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success; 1 failure; 2 wrong usage or an invalid configuration; 3 no daemon runs.
`egret exec` exits with the exit code of its command, or with 128 + N if signal N ended the command.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground.
    Run(run::Run),
    /// Check a configuration and show all its errors, with line and column.
    Check(check::Check),
    /// Show the differences between two configurations.
    Diff(diff::Diff),
    /// Show what Egret would do with a connection or a request: API, operation, policies, and the values that they compute.
    Explain(Box<explain::Explain>),
    /// Show captured addresses, running flows, APIs, workloads, limits, caches, kernel hooks and more.
    Inspect(inspect::Inspect),
    /// Show requests as they end.
    Tail(tail::Tail),
    /// Show the state of the daemon: configuration, egress addresses, draining processes, decisions of the kernel hooks.
    Status(status::StatusCommand),
    /// Show the nodes of the cluster that run Egret: version, configuration, egress addresses, and when each was last seen.
    Fleet(fleet::Fleet),
    /// Show which source addresses each third party must allow, of all nodes, and what has changed since a saved list.
    Allowlist(allowlist::Allowlist),
    /// Check this host and the daemon: each line says ok, or what to do.
    Doctor(doctor::Doctor),
    /// Run a command in a new cgroup whose connections are captured.
    Exec(exec::Exec),
    /// Export the CA of intercepted APIs, or make programs trust it.
    Trust(trust::Trust),
    /// Remove all hooks and pins of Egret, even if no daemon runs; with --purge its files, too.
    Detach(detach::Detach),
    /// Generate shell completions, manual pages, or the JSON Schema or reference of the configuration.
    #[command(hide = true)]
    Generate(generate::Generate),
}

/// The option that names the daemon.
#[derive(Debug, Args)]
struct Daemon {
    /// Path of the daemon's admin socket.
    #[arg(long, value_name = "PATH", default_value = crate::config::DEFAULT_SOCKET)]
    socket: PathBuf,
}

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Text for people.
    Table,
    /// JSON for programs; field names are stable.
    Json,
}

/// Why a command did not succeed; decides its exit code.
#[derive(Debug)]
enum Failure {
    /// Exit code 1: the command failed.
    Failed(anyhow::Error),
    /// Exit code 2: the configuration is invalid. The text is the whole message.
    Invalid(String),
    /// Exit code 3: no daemon runs.
    NoDaemon(anyhow::Error),
    /// Another exit code, without a message.
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

/// Parses the command line, runs the command, and returns its exit code.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Tail(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Fleet(command) => command.run(),
        Command::Allowlist(command) => command.run(),
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
            out::error(&text);
            ExitCode::from(2)
        }
        Err(Failure::Code(code)) => ExitCode::from(code),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    // `egret inspect flows | head` is no failure.
    let pipe =
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if !pipe {
        out::error(&format!("egret: {error:#}"));
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systemd_unit_starts_an_existing_command() {
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
