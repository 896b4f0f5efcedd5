//! DNS queries of applications: through Egret's forwarder, through dnsmasq without its cache, and directly.

use egret_tests::{DNS, Egret, Lab};

use crate::gateway::{Peer, cpu, memory};
use crate::names_load;
use crate::passthrough::{load, number};
use crate::report::Report;
use crate::{APPLICATIONS, GATEWAY, on_cpu};

/// A name that no API lists, one that an API lists, and those below a wildcard.
const UNLISTED: &str = "www.other.example";
const LISTED: &str = "api.partner.example";
const BELOW: &str = "many.example";

const CLIENTS: &str = "32";
const QUERIES: u64 = 60_000;
const ONE_BY_ONE: u64 = 10_000;
/// Names that are learnt, each with an address of its own.
const LEARNT: u64 = 30_000;
/// Names whose memory is counted.
const MANY: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Contestant {
    Direct,
    Egret,
    Dnsmasq,
}

enum Running {
    Direct,
    Egret(Egret),
    Dnsmasq(Peer),
}

pub(crate) fn run(rounds: u32) -> Report {
    let lab = Lab::new();
    names_load::serve(lab.datagrams(DNS, 53));
    // The node asks the server that applications ask: what this one says is believed.
    std::fs::write(lab.directory().join("resolv.conf"), format!("nameserver {DNS}\n")).expect("the lab's resolv.conf");
    let mut report = Report::new("names", rounds, vec![("dnsmasq", version())]);
    for round in 1..=rounds {
        for contestant in [Contestant::Direct, Contestant::Egret, Contestant::Dnsmasq] {
            eprintln!("bench: round {round} of {rounds}: {}", contestant.name());
            let running = contestant.start(&lab);
            contestant.measure(&lab, &mut report);
            running.end();
        }
    }
    eprintln!("bench: the memory of {MANY} names");
    report.add("names", "memory of each", "byte", "egret", memory_of_a_name(&lab));
    report
}

impl Contestant {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Egret => "egret",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// Where applications send their queries.
    fn to(self) -> String {
        match self {
            Self::Direct | Self::Egret => format!("{DNS}:53"),
            Self::Dnsmasq => "127.0.0.1:53".to_owned(),
        }
    }

    /// Starts it alone on its CPU and waits until it is ready.
    fn start(self, lab: &Lab) -> Running {
        on_cpu(GATEWAY);
        let running = match self {
            Self::Direct => Running::Direct,
            Self::Egret => Running::Egret(egret(lab)),
            Self::Dnsmasq => Running::Dnsmasq(dnsmasq(lab)),
        };
        on_cpu(APPLICATIONS);
        running
    }

    fn measure(self, lab: &Lab, report: &mut Report) {
        let (of, to) = (self.name(), self.to());
        let ask = |name: &str, clients: &str, count: u64, options: &[&str]| {
            load(lab, &[&["names", &to, name, clients, &count.to_string()], options].concat())
        };
        ask(UNLISTED, "8", 500, &[]);
        for (scenario, name, count, options) in [
            ("name that is not listed", UNLISTED, QUERIES, &[][..]),
            ("listed name", LISTED, QUERIES, &[]),
            ("new name each", BELOW, LEARNT, &["--numbered"]),
        ] {
            let before = cpu(lab);
            let measured = ask(name, CLIENTS, count, options);
            let used = (cpu(lab) - before).as_secs_f64();
            report.add(scenario, "rate", "1/s", of, count as f64 / number(&measured, "seconds"));
            if self != Self::Direct {
                report.add(scenario, "CPU per query", "us", of, used / count as f64 * 1e6);
            }
        }
        for (scenario, name) in [("name that is not listed", UNLISTED), ("listed name", LISTED)] {
            let measured = ask(name, "1", ONE_BY_ONE, &[]);
            for figure in ["p50", "p99"] {
                report.add(scenario, figure, "us", of, number(&measured, figure) * 1e6);
            }
        }
    }
}

impl Running {
    fn end(self) {
        match self {
            Self::Direct => {}
            Self::Egret(egret) => egret.stop(),
            Self::Dnsmasq(peer) => drop(peer),
        }
    }
}

/// One owner has a quarter of the room for names.
fn egret(lab: &Lab) -> Egret {
    // The range for benchmarks (RFC 2544) is no address of the internet.
    let apis = format!("  - name: partner\n    hosts: [{LISTED}, '*.{BELOW}']\n    allow_addresses: [198.18.0.0/16]\n");
    let settings = format!("dns: {{forward: true}}\nresolver: {{max_names: {}}}\n", 4 * MANY);
    lab.egret(&lab.configure(&format!("{apis}{settings}")), &[])
}

fn dnsmasq(lab: &Lab) -> Peer {
    let server = format!("--server={DNS}");
    let options = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file",
        "--user=root",
        "--no-hosts",
        "--no-resolv",
        "--cache-size=0",
        "--dns-forward-max=1000",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        &server,
    ];
    Peer::run(lab, "dnsmasq", "dnsmasq", &options, 53)
}

fn version() -> String {
    let output = std::process::Command::new("dnsmasq").arg("--version").output().expect("dnsmasq runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1);
    version.expect("dnsmasq says its version").to_owned()
}

/// Bytes of the gateway's memory for each of many names that it has learnt.
fn memory_of_a_name(lab: &Lab) -> f64 {
    let running = Contestant::Egret.start(lab);
    let to = Contestant::Egret.to();
    let learn = |count: u64| load(lab, &["names", &to, BELOW, CLIENTS, &count.to_string(), "--same-address"]);
    learn(1_000);
    let before = memory(lab);
    learn(MANY);
    let used = memory(lab) - before;
    running.end();
    used / MANY as f64
}
