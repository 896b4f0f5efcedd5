//! What a request costs with more of everything: APIs, APIs at one address, operations, connections; and on two CPUs.

use egret_tests::{EGRESS, Egret, Lab};

use crate::gateway::{THIRD_PARTY, cpu};
use crate::passthrough::{load, many_ports, number};
use crate::report::Report;
use crate::third_party::plain;
use crate::{APPLICATIONS, GATEWAY, on_any_cpu, on_cpu};

const NAME: &str = "api.partner.example";
const PORT: u16 = 80;
const REQUESTS: u64 = 40_000;
const NEW: u64 = 5_000;

/// How many there are, as the columns of the report.
const SIZES: [(&str, u32); 3] = [("1", 1), ("100", 100), ("10000", 10_000)];

/// Most connections that a process with 20,000 descriptors, a usual limit, can carry.
const MOST_CONNECTIONS: u32 = 6_000;

pub(crate) fn run(rounds: u32) -> Report {
    let lab = Lab::new();
    many_ports(&lab);
    let _third_party = plain(&lab, &[PORT]);
    let mut report = Report::new("scale", rounds, Vec::new());
    for round in 1..=rounds {
        for (column, size) in SIZES {
            eprintln!("bench: round {round} of {rounds}: {size}");
            let mut measure = |what: &str, apis: &str| {
                let egret = start(&lab, apis);
                requests(
                    &lab,
                    &format!("{what}, requests"),
                    column,
                    &["32", &REQUESTS.to_string()],
                    REQUESTS,
                    &mut report,
                );
                let new = ["32", &NEW.to_string(), "--anew"];
                requests(&lab, &format!("{what}, new connections"), column, &new, NEW, &mut report);
                report.add(what, "memory", "MB", column, egret.memory() as f64 / 1e6);
                egret.stop();
            };
            hosts(&lab, size, |number| format!("198.18.{}.{}", number / 256, number % 256));
            measure("APIs", &apis(size));
            hosts(&lab, size, |_| THIRD_PARTY.to_owned());
            measure("APIs at one address", &apis(size));
            measure("operations", &operations(size));
            connections(&lab, column, size.min(MOST_CONNECTIONS), &mut report);
        }
        cpus(&lab, &mut report);
    }
    report
}

/// Starts Egret alone on its CPU.
fn start(lab: &Lab, apis: &str) -> Egret {
    on_cpu(GATEWAY);
    let config = lab.configure(&format!("{apis}limits: {{connections_per_workload: 20000}}\n"));
    let egret = lab.egret(&config, &[]);
    on_cpu(APPLICATIONS);
    requests_of(lab, &["8", "500"]);
    egret
}

fn requests_of(lab: &Lab, options: &[&str]) -> serde_json::Value {
    let to = format!("{THIRD_PARTY}:{PORT}");
    let (common, source) = (["http", &to, NAME], ["--source", EGRESS]);
    load(lab, &[&common[..], options, &source].concat())
}

/// Adds what this many requests cost.
fn requests(lab: &Lab, scenario: &str, column: &'static str, options: &[&str], count: u64, report: &mut Report) {
    let before = cpu(lab);
    let measured = requests_of(lab, options);
    let used = (cpu(lab) - before).as_secs_f64();
    report.add(scenario, "CPU per request", "us", column, used / count as f64 * 1e6);
    report.add(scenario, "p99", "us", column, number(&measured, "p99") * 1e6);
}

/// Requests over so many connections, each of which has some.
fn connections(lab: &Lab, column: &'static str, connections: u32, report: &mut Report) {
    lab.hosts(&[(THIRD_PARTY, NAME)]);
    let egret = start(lab, &apis(1));
    let options = [connections.to_string(), REQUESTS.to_string()];
    requests(lab, "connections, requests", column, &[&options[0], &options[1]], REQUESTS, report);
    egret.stop();
}

/// The same on the gateway's CPU, and on both, of which the application and the third party take their part.
fn cpus(lab: &Lab, report: &mut Report) {
    for (column, both) in [("1 CPU", false), ("2 CPUs", true)] {
        if both {
            on_any_cpu();
        } else {
            on_cpu(GATEWAY);
        }
        let egret = lab.egret(&lab.configure(&apis(1)), &[]);
        on_cpu(APPLICATIONS);
        requests_of(lab, &["8", "500"]);
        let before = cpu(lab);
        let measured = requests_of(lab, &["32", &REQUESTS.to_string()]);
        let used = (cpu(lab) - before).as_secs_f64();
        report.add("CPUs", "CPU per request", "us", column, used / REQUESTS as f64 * 1e6);
        report.add("CPUs", "rate", "1/s", column, REQUESTS as f64 / number(&measured, "seconds"));
        egret.stop();
    }
}

/// Gives the hosts of so many APIs addresses, of which the last is the one that is asked.
fn hosts(lab: &Lab, count: u32, address: impl Fn(u32) -> String) {
    let all: Vec<_> = (1..count).map(|number| (address(number), name(number))).collect();
    let all = all.iter().map(|(address, name)| (address.as_str(), name.as_str()));
    lab.hosts(&all.chain([(THIRD_PARTY, NAME)]).collect::<Vec<_>>());
}

fn name(number: u32) -> String {
    format!("api{number}.partner.example")
}

fn apis(count: u32) -> String {
    let api = |name: &str, host: &str| format!("  - name: {name}\n    hosts: [{host}]\n    ports: [{PORT}]\n");
    (1..count).map(|number| api(&format!("api{number}"), &name(number))).chain([api("asked", NAME)]).collect()
}

/// One API with so many operations, of which the last is the one that is asked, and a policy.
fn operations(count: u32) -> String {
    let operation = |name: &str, path: &str| format!("      - {{name: {name}, method: GET, path: '{path}'}}\n");
    let all = (1..count).map(|number| operation(&format!("get{number}"), &format!("/items{number}/{{id}}")));
    let operations: String = all.chain([operation("asked", "/")]).collect();
    format!(
        "  - name: asked\n    hosts: [{NAME}]\n    ports: [{PORT}]\n    policies:\n      inbound:\n        - set-header: {{name: X-Team, value: \
         billing}}\n    operations:\n{operations}"
    )
}
