use clap::{Args, ValueEnum};

use crate::shell::{as_root, cargo, run, target};
use crate::{envoy, kernel, setup};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure.
    what: What,
    /// Number of runs of each candidate; results are medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Run only this scenario; `--scenario help` lists all.
    #[arg(long)]
    scenario: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The kernel hooks: a miss and a hit, with 10 to 100,000 rules.
    Connect,
    /// HTTP requests, with and without TLS, compared with nginx, HAProxy and Envoy.
    Http,
    /// DNS queries through the forwarder, compared with dnsmasq without its cache.
    Names,
    /// Bytes carried unchanged, compared with nginx, HAProxy and Envoy.
    Passthrough,
    /// Policies, compared with nginx, HAProxy and Envoy.
    Policies,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        setup::kernel()?;
        let name = match self.what {
            What::Connect => "connect",
            What::Http => "http",
            What::Names => "names",
            What::Passthrough => "passthrough",
            What::Policies => "policies",
        };
        let (peers, proxies) = match self.what {
            What::Connect => (&[][..], false),
            What::Names => (setup::RESOLVERS, false),
            What::Http | What::Passthrough | What::Policies => (setup::PEERS, true),
        };
        setup::programs(&[setup::LAB, peers])?;
        let envoy = if proxies { envoy::fetch() } else { None };
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
