//! Egret's commands for people who build it. Each does its own set-up and says what it fetches, and why.

mod bench;

mod ci;

mod demo;

mod docs;

mod envoy;

mod kernel;

mod kernels;

mod run;

mod setup;

mod shell;

mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the kernel half and `egret`.
    Build,
    /// Build and run `egret run` on this host, as root.
    Run(run::Run),
    /// Show the main job in a lab of network namespaces, as a story.
    Demo,
    /// Run the tests; without a ring, all of them.
    Test(test::Test),
    /// Measure what Egret costs, against direct and against peers; figures go to target/bench as JSON.
    Bench(bench::Bench),
    /// Format, lint, test: what CI runs.
    Ci,
    /// Generate the configuration reference, schema, manual pages and completions.
    Docs,
    /// Run the smoke test on Debian's kernels 5.10, 6.1 and 6.12, each under emulation; not part of CI.
    Kernels(kernels::Kernels),
    /// Open a shell in the lab.
    Lab,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Build => run::build().map(drop),
        Command::Run(command) => command.run(),
        Command::Demo => demo::demo(),
        Command::Test(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Ci => ci::ci(),
        Command::Docs => docs::docs(),
        Command::Kernels(command) => command.run(),
        Command::Lab => demo::lab(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
