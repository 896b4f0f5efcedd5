use clap::{Args, ValueEnum};

use crate::shell::{as_root, cargo, run, target};
use crate::{kernel, setup};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    what: What,
    /// How often each contestant runs; the figures are medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Only these scenarios; `--scenario help` lists them.
    #[arg(long)]
    scenario: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The hooks: a miss and a hit, with 10 to 100,000 rules.
    Connect,
    /// Requests, plain and over TLS, against nginx and HAProxy.
    Http,
    /// Bytes carried untouched, against nginx and HAProxy.
    Passthrough,
    /// Policies, against nginx and HAProxy.
    Policies,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        setup::kernel()?;
        let name = match self.what {
            What::Connect => "connect",
            What::Http => "http",
            What::Passthrough => "passthrough",
            What::Policies => "policies",
        };
        setup::programs(&[setup::LAB, if self.what == What::Connect { &[] } else { setup::PEERS }])?;
        kernel::build()?;
        let build = ["build", "--quiet", "--locked", "--release", "--package", "egret", "--package", "egret-tests"];
        run(cargo().args(build).args(["--bin", "egret", "--bin", "egret-bench"]))?;
        run(as_root(target().join("release/egret-bench"))?
            .args([name, "--rounds", &self.rounds.to_string(), "--json"])
            .arg(target().join(format!("bench/{name}.json")))
            .args(self.scenario.iter().flat_map(|scenario| ["--scenario", scenario]))
            .env("EGRET_BIN", target().join("release/egret")))
    }
}
