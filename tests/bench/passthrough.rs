//! Bytes carried untouched.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use egret_tests::{EGRESS, Lab};
use serde_json::{Value, json};

use crate::envoy;
use crate::gateway::{Configs, Contestant, Running, THIRD_PARTY, cpu, memory};
use crate::report::Report;
use crate::third_party;

/// The third party's.
const PORT: u16 = 443;

/// Bytes over each connection, and how many connections.
const BULK_EACH: &str = "500000000";
const BULK_CONNECTIONS: f64 = 4.0;
const CONNECTIONS: u64 = 10_000;
const IDLE: u64 = 1_000;

/// What is measured of each contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Bytes to the application.
    Download,
    /// Bytes to the third party.
    Upload,
    /// A connection for each small exchange.
    Connections,
    /// Small exchanges over one connection.
    Latency,
    /// Memory of connections at rest.
    Idle,
}

pub(crate) fn run(rounds: u32, scenarios: &[Scenario]) -> Report {
    let lab = Lab::new();
    lab.hosts(&[(THIRD_PARTY, "api.partner.example")]);
    many_ports(&lab);
    third_party::start(lab.listen(THIRD_PARTY, PORT));
    let configs = Configs {
        egret: "  - name: partner\n    hosts: [api.partner.example]\n".to_owned(),
        nginx: nginx(&lab),
        haproxy: haproxy(),
        envoy: envoy(&lab),
        ready: PORT,
    };
    let mut report = Report::new("passthrough", rounds, Contestant::peers());
    for round in 1..=rounds {
        for contestant in Contestant::all() {
            eprintln!("bench: round {round} of {rounds}: {}", contestant.name());
            measure(&lab, contestant.start(&lab, &configs), contestant, scenarios, &mut report);
        }
    }
    report
}

/// By SNI. Without `proxy_buffer_size` it copies 16 KiB at a time: 64 KiB is its better side. `proxy_half_close` makes it do what the
/// others do: pass on the end of one direction alone.
fn nginx(lab: &Lab) -> String {
    let port = Contestant::Nginx.port(PORT);
    let directory = lab.directory().display();
    format!(
        "daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx-error.log;\n\
         load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nevents {{ worker_connections 16384; }}\n\
         stream {{\n  log_format flow '$time_iso8601 $remote_addr $ssl_preread_server_name $bytes_sent $session_time';\n  \
         access_log {directory}/nginx-access.log flow;\n  \
         map $ssl_preread_server_name $upstream {{ api.partner.example {THIRD_PARTY}:{PORT}; }}\n  \
         server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    ssl_preread on;\n    proxy_pass $upstream;\n    \
         proxy_bind {EGRESS};\n    proxy_buffer_size 64k;\n    proxy_half_close on;\n    tcp_nodelay on;\n  }}\n}}\n"
    )
}

/// By SNI, with forced splice(2).
fn haproxy() -> String {
    let port = Contestant::Haproxy.port(PORT);
    format!(
        "global\n  nbthread 1\n  maxconn 4000\n  log stdout format raw local0\ndefaults\n  mode tcp\n  log global\n  \
         option tcplog\n  option splice-request\n  option splice-response\n  timeout connect 10s\n  timeout client 10m\n  \
         timeout server 10m\nfrontend in\n  bind 127.0.0.1:{port} backlog 4096\n  tcp-request inspect-delay 5s\n  \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
         use_backend partner if {{ req.ssl_sni -i api.partner.example }}\nbackend partner\n  source {EGRESS}\n  \
         server partner {THIRD_PARTY}:{PORT}\n"
    )
}

/// By SNI.
fn envoy(lab: &Lab) -> String {
    let proxy = envoy::extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": "tcp", "cluster": "partner", "access_log": [envoy::access_log(lab)] }),
    );
    let chain = json!({ "filter_chain_match": { "server_names": ["api.partner.example"] }, "filters": [proxy] });
    envoy::config(&[envoy::listener(PORT, chain)], &[envoy::cluster("partner", PORT)])
}

/// Enough source ports for every contestant, none of them a listener's, and their reuse after a second.
pub(crate) fn many_ports(lab: &Lab) {
    let settings = "echo 10000 65535 >/proc/sys/net/ipv4/ip_local_port_range; echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse";
    let status = lab.gateway("sh", &["-c", settings]).status().expect("sh runs");
    assert!(status.success(), "the node's ports cannot be set");
}

fn measure(lab: &Lab, running: Running, contestant: Contestant, scenarios: &[Scenario], report: &mut Report) {
    let to = running.to(PORT);
    load(lab, &["connections", &to, "8", "500"]);
    for scenario in scenarios {
        match scenario {
            Scenario::Download => bulk(lab, contestant, "download", [&to, "0", BULK_EACH], report),
            Scenario::Upload => bulk(lab, contestant, "upload", [&to, BULK_EACH, "0"], report),
            Scenario::Connections => connections(lab, contestant, &to, report),
            Scenario::Latency => {
                let measured = load(lab, &["latency", &to, "20000"]);
                report.add("round trip", "p50", "us", contestant.name(), number(&measured, "p50") * 1e6);
                report.add("round trip", "p99", "us", contestant.name(), number(&measured, "p99") * 1e6);
            }
            Scenario::Idle if contestant == Contestant::Direct => {}
            Scenario::Idle => {
                report.add(
                    "idle connection",
                    "memory",
                    "KB",
                    contestant.name(),
                    idle(lab, &["idle", &to, &IDLE.to_string()]) / IDLE as f64 / 1000.0,
                );
            }
        }
    }
}

fn bulk(lab: &Lab, contestant: Contestant, scenario: &str, [to, up, down]: [&str; 3], report: &mut Report) {
    const GB: f64 = 1e9;
    let gigabytes = BULK_CONNECTIONS * BULK_EACH.parse::<f64>().expect("a number") / GB;
    let before = cpu(lab);
    let measured = load(lab, &["bulk", to, &BULK_CONNECTIONS.to_string(), up, down]);
    let used = (cpu(lab) - before).as_secs_f64();
    report.add(scenario, "throughput", "GB/s", contestant.name(), gigabytes / number(&measured, "seconds"));
    if contestant != Contestant::Direct {
        report.add(scenario, "CPU of the gateway", "s/GB", contestant.name(), used / gigabytes);
    }
}

fn connections(lab: &Lab, contestant: Contestant, to: &str, report: &mut Report) {
    const SCENARIO: &str = "new connections";
    let before = cpu(lab);
    let measured = load(lab, &["connections", to, "16", &CONNECTIONS.to_string()]);
    let used = (cpu(lab) - before).as_secs_f64();
    let (name, count) = (contestant.name(), CONNECTIONS as f64);
    report.add(SCENARIO, "rate", "1/s", name, count / number(&measured, "seconds"));
    report.add(SCENARIO, "CPU of the application", "us", name, number(&measured, "cpu") / count * 1e6);
    if contestant != Contestant::Direct {
        report.add(SCENARIO, "CPU of the gateway", "us", name, used / count * 1e6);
    }
}

/// Bytes for connections held, all of them, by this application.
pub(crate) fn idle(lab: &Lab, arguments: &[&str]) -> f64 {
    let before = memory(lab);
    let mut application = application(lab, arguments);
    let mut process = application.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the application starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("the application says a line");
    let used = at_rest(lab) - before;
    process.stdin.take().expect("a pipe").write_all(b"\n").expect("the application listens");
    process.wait().expect("the application ends");
    used
}

/// Memory when it has not changed for a while.
fn at_rest(lab: &Lab) -> f64 {
    let mut now = memory(lab);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(3));
        let before = std::mem::replace(&mut now, memory(lab));
        if (now - before).abs() < before / 100.0 {
            break;
        }
    }
    now
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
