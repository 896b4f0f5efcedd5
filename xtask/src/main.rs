//! Commands for people who build Egret. Each installs what it needs, and says what it installs and why.

mod bench;

mod ci;

mod deb;

mod demo;

mod docs;

mod envoy;

mod image;

mod install;

mod kernel;

mod kernels;

mod profile;

mod run;

mod setup;

mod shell;

mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for people who build Egret. Each installs what it needs, and says what it installs and why.
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
    /// Build `egret` and run it on this host, as root.
    Run(run::Run),
    /// Install the executable, the systemd unit, shell completions and manual pages.
    Install(install::Install),
    /// Build the Debian package.
    Deb(deb::Deb),
    /// Build the container image: a static executable from an empty root, with a list of its parts (SBOM). Needs no registry.
    Image(image::Build),
    /// Show the main job, step by step, in network namespaces of its own.
    Demo,
    /// Open a shell in the network namespaces of the demo, to try commands.
    Lab,
    /// Run the tests.
    Test(test::Test),
    /// Measure what Egret costs, compared with no gateway and with other gateways. Results also go to target/bench as JSON.
    Bench(bench::Bench),
    /// Measure which code Egret runs under load, for `--profile guided` of `image`, `deb` and `bench`. Builds as long as a release, then
    /// needs some minutes, root, and a machine that does nothing else.
    Profile,
    /// Boot Debian's kernels under emulation: on 6.1 and 6.12 the steps of the demo must pass, on 5.10 Egret must refuse to start. Needs
    /// root and Debian's apt-get, and downloads up to 100 MB for each kernel. Not part of CI; tried on Debian 12 (x86-64).
    Kernels(kernels::Kernels),
    /// Check the format, lint, and run all tests, as CI does.
    Ci,
    /// Generate the configuration reference, the JSON Schema, manual pages and shell completions.
    Docs,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Build => run::build().map(drop),
        Command::Run(command) => command.run(),
        Command::Install(command) => command.run(),
        Command::Deb(command) => command.run(),
        Command::Image(command) => command.run(),
        Command::Demo => demo::demo(),
        Command::Test(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Ci => ci::ci(),
        Command::Docs => docs::docs(),
        Command::Kernels(command) => command.run(),
        Command::Lab => demo::lab(),
        Command::Profile => profile::profile(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
