//! What policies cost: none, ten cheap ones, a condition; each on a port of its own.

use egret_tests::{EGRESS, Lab, NODE, Service};

use crate::gateway::{Configs, Contestant, THIRD_PARTY, cpu};
use crate::passthrough::{load, many_ports, number};
use crate::report::Report;

const NAME: &str = "api.partner.example";
const REQUESTS: u64 = 60_000;
const CONNECTIONS: &str = "32";

/// What is measured, and the third party's port for it.
const SCENARIOS: [(&str, u16); 3] = [("no policy", 80), ("ten headers set", 81), ("one condition", 82)];

/// Headers that are set on the way there; two more are on the way back.
const THERE: usize = 8;

pub(crate) fn run(rounds: u32) -> Report {
    let lab = Lab::new();
    lab.hosts(&[(THIRD_PARTY, NAME)]);
    many_ports(&lab);
    let _third_party = third_party(&lab);
    let configs = Configs { egret: egret(), nginx: nginx(&lab), haproxy: haproxy(), ready: 80 };
    let mut report = Report::new("policies", rounds, "nginx, haproxy");
    for round in 1..=rounds {
        for contestant in Contestant::ALL {
            eprintln!("bench: round {round} of {rounds}: {}", contestant.name());
            let running = contestant.start(&lab, &configs);
            let source = if contestant == Contestant::Direct { NODE } else { EGRESS };
            let run = |port: u16, connections: &str, count: u64| {
                let (to, count) = (running.to(port), count.to_string());
                load(&lab, &["http", &to, NAME, connections, &count, "--source", source])
            };
            for (_, port) in SCENARIOS {
                run(port, "8", 500);
            }
            for (scenario, port) in SCENARIOS {
                let before = cpu(&lab);
                let measured = run(port, CONNECTIONS, REQUESTS);
                let used = (cpu(&lab) - before).as_secs_f64();
                report.add(scenario, "rate", "1/s", contestant.name(), REQUESTS as f64 / number(&measured, "seconds"));
                if contestant != Contestant::Direct {
                    report.add(scenario, "CPU per request", "us", contestant.name(), used / REQUESTS as f64 * 1e6);
                }
            }
        }
    }
    report
}

fn third_party(lab: &Lab) -> Service {
    let directory = lab.directory().join("third-party");
    std::fs::create_dir(&directory).expect("a directory");
    let config = directory.join("nginx.conf");
    let text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n\
         events {{ worker_connections 19000; }}\nhttp {{\n  access_log off;\n  keepalive_requests 100000000;\n  \
         keepalive_timeout 1h;\n  server {{\n    {}add_header X-Source $remote_addr;\n    location / {{ return 200 \"{}\"; }}\n  }}\n}}\n",
        SCENARIOS.map(|(_, port)| format!("listen {THIRD_PARTY}:{port};\n    ")).concat(),
        "x".repeat(1024),
        directory = directory.display(),
    );
    std::fs::write(&config, text).expect("a configuration");
    lab.service(80, "nginx", &["-c", config.to_str().expect("a path in UTF-8")])
}

fn egret() -> String {
    let api = |name: &str, port: u16| format!("  - name: {name}\n    hosts: [{NAME}]\n    ports: [{port}]\n");
    let set = |name: &str| format!("        - set-header: {{name: {name}, value: some-value}}\n");
    let there: String = (0..THERE).map(|number| set(&format!("X-There-{number}"))).collect();
    [
        api("none", 80),
        api("ten", 81),
        format!("    policies:\n      inbound:\n{there}      outbound:\n{}{}", set("X-Back-0"), set("X-Back-1")),
        api("condition", 82),
        "    policies:\n      inbound:\n        - choose:\n            - when: 'request.headers[\"x-kind\"] == \"b\" && request.path.startsWith(\"/v1\")'\n              \
         then:\n                - set-header: {name: X-There, value: some-value}\n"
            .to_owned(),
    ]
    .concat()
}

fn nginx(lab: &Lab) -> String {
    let directory = lab.directory().display();
    let proxy = "proxy_set_header Connection \"\"; proxy_set_header Host $host;";
    let server = |port: u16, rules: &str| {
        format!(
            "  server {{ listen 127.0.0.1:{}; location / {{ {proxy} {rules} proxy_pass http://to{port}; }} }}\n",
            Contestant::Nginx.port(port)
        )
    };
    let there: String = (0..THERE).map(|number| format!("proxy_set_header X-There-{number} some-value; ")).collect();
    let upstreams = SCENARIOS.map(|(_, port)| {
        format!("  upstream to{port} {{ server {THIRD_PARTY}:{port}; keepalive 64; keepalive_requests 100000000; }}\n")
    });
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx-error.log;\n\
         events {{ worker_connections 19000; }}\nhttp {{\n  access_log {directory}/nginx-access.log;\n  \
         keepalive_requests 100000000;\n  keepalive_timeout 1h;\n  proxy_http_version 1.1;\n  proxy_bind {EGRESS};\n  \
         map \"$http_x_kind $uri\" $condition {{ default ''; ~^b\\ /v1 some-value; }}\n{}{}{}{}}}\n",
        upstreams.concat(),
        server(80, ""),
        server(81, &format!("{there}add_header X-Back-0 some-value; add_header X-Back-1 some-value;")),
        server(82, "proxy_set_header X-There $condition;"),
    )
}

fn haproxy() -> String {
    let part = |port: u16, rules: &str| {
        format!(
            "frontend f{port}\n  bind 127.0.0.1:{}\n{rules}  default_backend b{port}\nbackend b{port}\n  source {EGRESS}\n  \
             http-reuse always\n  server third-party {THIRD_PARTY}:{port} pool-max-conn 64\n",
            Contestant::Haproxy.port(port)
        )
    };
    let there: String =
        (0..THERE).map(|number| format!("  http-request set-header X-There-{number} some-value\n")).collect();
    let back = "  http-response set-header X-Back-0 some-value\n  http-response set-header X-Back-1 some-value\n";
    let condition = "  http-request set-header X-There some-value if { req.hdr(x-kind) b } { path_beg /v1 }\n";
    format!(
        "global\n  nbthread 1\n  maxconn 9500\n  log stdout format raw local0\ndefaults\n  mode http\n  log global\n  \
         option httplog\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n  timeout http-keep-alive 10m\n{}{}{}",
        part(80, ""),
        part(81, &(there + back)),
        part(82, condition),
    )
}
