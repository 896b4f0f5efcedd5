//! Bytes carried untouched.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use egret_tests::Lab;
use serde_json::Value;

use crate::gateway::{Contestant, Running, THIRD_PARTY, cpu, memory};
use crate::report::Report;
use crate::third_party;

const GB: f64 = 1e9;
const BULK: u64 = 2_000_000_000;
const CONNECTIONS: u64 = 10_000;
const IDLE: u64 = 1_000;

pub(crate) fn run(rounds: u32) -> Report {
    let lab = Lab::new();
    lab.hosts(&[(THIRD_PARTY, "api.partner.example")]);
    many_ports(&lab);
    third_party::start(lab.listen(THIRD_PARTY, 443));
    let mut report = Report::new("passthrough", rounds, "nginx, haproxy");
    for round in 1..=rounds {
        for contestant in Contestant::ALL {
            eprintln!("bench: round {round} of {rounds}: {}", contestant.name());
            measure(&lab, contestant, &mut report);
        }
    }
    report
}

/// Enough source ports for every contestant, none of them a listener's, and their reuse after a second.
fn many_ports(lab: &Lab) {
    let settings = "echo 10000 65535 >/proc/sys/net/ipv4/ip_local_port_range; echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse";
    let status = lab.gateway("sh", &["-c", settings]).status().expect("sh runs");
    assert!(status.success(), "the node's ports cannot be set");
}

fn measure(lab: &Lab, contestant: Contestant, report: &mut Report) {
    let running = contestant.start(lab);
    let name = contestant.name();
    let is_gateway = contestant != Contestant::Direct;
    let to = running.to.to_string();
    load(lab, &["connections", &to, "8", "500"]);
    let bulk = BULK.to_string();
    for (scenario, arguments) in
        [("download", ["bulk", &to, "4", "0", &bulk]), ("upload", ["bulk", &to, "4", &bulk, "0"])]
    {
        // Four connections carry a quarter each.
        let quarter = (BULK / 4).to_string();
        let arguments = arguments.map(|argument| if argument == bulk { quarter.as_str() } else { argument });
        let before = cpu(lab);
        let measured = load(lab, &arguments);
        let used = (cpu(lab) - before).as_secs_f64();
        let gigabytes = BULK as f64 / GB;
        report.add(scenario, "throughput", "GB/s", name, gigabytes / number(&measured, "seconds"));
        if is_gateway {
            report.add(scenario, "CPU of the gateway", "s/GB", name, used / gigabytes);
        }
    }
    let before = cpu(lab);
    let measured = load(lab, &["connections", &to, "16", &CONNECTIONS.to_string()]);
    let used = (cpu(lab) - before).as_secs_f64();
    let count = CONNECTIONS as f64;
    report.add("new connections", "rate", "1/s", name, count / number(&measured, "seconds"));
    report.add("new connections", "CPU of the application", "us", name, number(&measured, "cpu") / count * 1e6);
    if is_gateway {
        report.add("new connections", "CPU of the gateway", "us", name, used / count * 1e6);
    }
    let measured = load(lab, &["latency", &to, "20000"]);
    report.add("round trip", "p50", "us", name, number(&measured, "p50") * 1e6);
    report.add("round trip", "p99", "us", name, number(&measured, "p99") * 1e6);
    if is_gateway {
        report.add("idle connection", "memory", "KB", name, idle(lab, &running) / 1000.0);
    }
}

/// Bytes for each connection held.
fn idle(lab: &Lab, running: &Running) -> f64 {
    let before = memory(lab);
    let mut application = application(lab, &["idle", &running.to.to_string(), &IDLE.to_string()]);
    let mut process = application.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the application starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("the application says a line");
    let used = memory(lab) - before;
    process.stdin.take().expect("a pipe").write_all(b"\n").expect("the application listens");
    process.wait().expect("the application ends");
    used / IDLE as f64
}

/// Runs the application of this executable on the lab's node.
pub(crate) fn load(lab: &Lab, arguments: &[&str]) -> Value {
    let output = application(lab, arguments).output().expect("the application starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("what the application measured")
}

fn application(lab: &Lab, arguments: &[&str]) -> Command {
    let this = std::env::current_exe().expect("this executable");
    lab.workload(this.to_str().expect("a path in UTF-8"), &[&["load"], arguments].concat())
}

pub(crate) fn number(measured: &Value, key: &str) -> f64 {
    measured[key].as_f64().expect("a measured number")
}
