//! What Egret costs: against no gateway and against peers, in one run on one path, as ratios.
//!
//! The lab's network carries it: applications and third party on the first CPU, the gateway alone on the second. What is
//! counted is the CPU time of the gateway's cgroup, kernel work included: on a shared machine it is the steadiest figure.

mod connect;
mod envoy;
mod floor;
mod gateway;
mod http;
mod http_load;
mod load;
mod names;
mod names_load;
mod namespaces;
mod passthrough;
mod policies;
mod report;
mod scale;
mod soak;
mod third_party;

use std::path::PathBuf;

use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use passthrough::Scenario;

#[derive(Parser)]
enum Bench {
    /// The hooks: nanoseconds of a miss and of a hit, with 10 to 100,000 rules.
    Connect(Options),
    /// Bytes carried untouched: throughput, CPU, latency, new and idle connections; against nginx, HAProxy and Envoy.
    Passthrough {
        #[command(flatten)]
        options: Options,
        /// Only these.
        #[arg(long, value_delimiter = ',', default_values = ["download", "upload", "connections", "latency", "idle"])]
        scenario: Vec<Scenario>,
    },
    /// Requests: plain, TLS origination, interception; new and kept connections, latency, memory; against nginx, HAProxy and Envoy.
    Http {
        #[command(flatten)]
        options: Options,
        /// Only these.
        #[arg(long, value_delimiter = ',', default_values = [
            "plain", "plain-new", "originate", "intercept", "intercept-new", "latency", "idle",
        ])]
        scenario: Vec<http::Scenario>,
    },
    /// DNS queries: rate, CPU and latency, names learnt, memory of a million names; against dnsmasq without its cache.
    Names(Options),
    /// Policies: none, ten headers set, a condition, a condition that needs CEL's interpreter; against nginx, HAProxy and Envoy.
    Policies(Options),
    /// Egret alone: a request with 1, 100 and 10,000 APIs, operations and connections, and on two CPUs.
    Scale(Options),
    /// Egret alone: memory, descriptors and threads of 10, 100 and 500 network namespaces, and connections from one.
    Namespaces(Options),
    /// Mixed load with a reload each second, take-overs and third parties that fail; fails if Egret holds more and more.
    Soak {
        /// How long, in minutes.
        #[arg(long, default_value_t = 30.0)]
        minutes: f64,
    },
    /// The application of a run.
    #[command(hide = true, subcommand)]
    Load(load::Load),
}

#[derive(clap::Args)]
struct Options {
    /// How often each contestant runs; the figures are medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Where the figures go, as JSON.
    #[arg(long, value_name = "PATH")]
    json: PathBuf,
}

fn main() {
    match Bench::parse() {
        Bench::Connect(options) => {
            on_cpu(APPLICATIONS);
            connect::run(options.rounds).publish(&options.json);
        }
        Bench::Passthrough { options, scenario } => {
            on_cpu(APPLICATIONS);
            passthrough::run(options.rounds, &scenario).publish(&options.json);
        }
        Bench::Http { options, scenario } => {
            on_cpu(APPLICATIONS);
            http::run(options.rounds, &scenario).publish(&options.json);
        }
        Bench::Names(options) => {
            on_cpu(APPLICATIONS);
            names::run(options.rounds).publish(&options.json);
        }
        Bench::Policies(options) => {
            on_cpu(APPLICATIONS);
            policies::run(options.rounds).publish(&options.json);
        }
        Bench::Scale(options) => {
            on_cpu(APPLICATIONS);
            scale::run(options.rounds).publish(&options.json);
        }
        Bench::Namespaces(options) => {
            on_cpu(APPLICATIONS);
            namespaces::run(options.rounds).publish(&options.json);
        }
        Bench::Soak { minutes } => soak::run(minutes),
        Bench::Load(load) => load.run(),
    }
}

/// The CPU of applications and third parties.
const APPLICATIONS: usize = 0;
/// The CPU of the gateway.
const GATEWAY: usize = 1;

/// Puts the calling thread, and what it starts from now on, on this CPU.
fn on_cpu(number: usize) {
    on_cpus(&[number]);
}

/// The same on both CPUs of a bench.
fn on_any_cpu() {
    on_cpus(&[APPLICATIONS, GATEWAY]);
}

fn on_cpus(numbers: &[usize]) {
    let mut set = CpuSet::new();
    numbers.iter().for_each(|number| set.set(*number).expect("a CPU number"));
    sched_setaffinity(Pid::from_raw(0), &set).expect("two CPUs are needed: one for the gateway alone");
}
