use clap::{Args, ValueEnum};

use crate::run::Profile;
use crate::shell::{as_root, run, target};
use crate::{envoy, kernel, setup};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure.
    what: What,
    /// Number of runs of each candidate; results are medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of `soak` in minutes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Build profile.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
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
    /// Egret alone, with 10, 100 and 500 network namespaces in which it listens.
    Namespaces,
    /// Bytes carried unchanged, compared with nginx, HAProxy and Envoy.
    Passthrough,
    /// Policies, compared with nginx, HAProxy and Envoy.
    Policies,
    /// Egret alone, with 1, 100 and 10,000 APIs, operations and connections.
    Scale,
    /// Egret under mixed load for `--minutes`: whether it holds more and more.
    Soak,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        setup::kernel()?;
        let name = match self.what {
            What::Connect => "connect",
            What::Http => "http",
            What::Names => "names",
            What::Namespaces => "namespaces",
            What::Passthrough => "passthrough",
            What::Policies => "policies",
            What::Scale => "scale",
            What::Soak => "soak",
        };
        let (peers, proxies) = match self.what {
            What::Connect | What::Namespaces | What::Soak => (&[][..], false),
            // nginx is the third party.
            What::Scale => (setup::PEERS, false),
            What::Names => (setup::RESOLVERS, false),
            What::Http | What::Passthrough | What::Policies => (setup::PEERS, true),
        };
        setup::programs(&[setup::LAB, peers])?;
        let envoy = if proxies { envoy::fetch() } else { None };
        kernel::build()?;
        let (profile, directory) = self.profile.names();
        let build = ["build", "--quiet", "--locked", "--package", "egret", "--package", "egret-tests"];
        run(self.profile.cargo()?.args(build).args(["--bin", "egret", "--bin", "egret-bench", "--profile", profile]))?;
        let built = target().join(directory);
        let mut bench = as_root(built.join("egret-bench"))?;
        bench.arg(name);
        if self.what == What::Soak {
            bench.args(["--minutes", &self.minutes.to_string()]);
        } else {
            bench
                .args(["--rounds", &self.rounds.to_string(), "--json"])
                .arg(target().join(format!("bench/{name}.json")));
            bench.args(self.scenario.iter().flat_map(|scenario| ["--scenario", scenario]));
        }
        run(bench.envs(envoy.map(|path| ("ENVOY_BIN", path))).env("EGRET_BIN", built.join("egret")))
    }
}
