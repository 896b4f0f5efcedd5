use clap::{Args, ValueEnum};

use crate::shell::{as_root, cargo, run, target};
use crate::{envoy, kernel, setup};

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
    /// Requests, plain and over TLS, against nginx, HAProxy and Envoy.
    Http,
    /// Bytes carried untouched, against nginx, HAProxy and Envoy.
    Passthrough,
    /// Policies, against nginx, HAProxy and Envoy.
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
        let peers = self.what != What::Connect;
        setup::programs(&[setup::LAB, if peers { setup::PEERS } else { &[] }])?;
        let envoy = if peers { envoy::fetch() } else { None };
        kernel::build()?;
        let build = ["build", "--quiet", "--locked", "--release", "--package", "egret", "--package", "egret-tests"];
        run(cargo().args(build).args(["--bin", "egret", "--bin", "egret-bench"]))?;
        run(as_root(target().join("release/egret-bench"))?
            .args([name, "--rounds", &self.rounds.to_string(), "--json"])
            .arg(target().join(format!("bench/{name}.json")))
            .args(self.scenario.iter().flat_map(|scenario| ["--scenario", scenario]))
            .envs(envoy.map(|path| ("ENVOY_BIN", path)))
            .env("EGRET_BIN", target().join("release/egret")))
    }
}
