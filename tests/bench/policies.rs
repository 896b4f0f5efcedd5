//! What policies cost: none, ten cheap ones, a condition, a condition in CEL; each on a port of its own.

use egret_tests::{EGRESS, Lab, NODE};
use serde_json::{Value, json};

use crate::envoy;
use crate::gateway::{Configs, Contestant, THIRD_PARTY, cpu};
use crate::passthrough::{load, many_ports, number};
use crate::report::Report;
use crate::third_party::plain;

const NAME: &str = "api.partner.example";
const REQUESTS: u64 = 60_000;
const CONNECTIONS: &str = "32";

/// What is measured, and the third party's port for it.
const SCENARIOS: [(&str, u16); 4] =
    [("no policy", 80), ("ten headers set", 81), ("one condition", 82), ("one condition in CEL", CEL)];

/// A refusal on a condition that no comparison of texts can say: nginx and HAProxy have nothing that does the same.
const CEL: u16 = 83;

/// Headers that are set on the way there; two more are on the way back.
const THERE: usize = 8;

pub(crate) fn run(rounds: u32) -> Report {
    let lab = Lab::new();
    lab.hosts(&[(THIRD_PARTY, NAME)]);
    many_ports(&lab);
    let _third_party = plain(&lab, &SCENARIOS.map(|(_, port)| port));
    let configs = Configs { egret: egret(), nginx: nginx(&lab), haproxy: haproxy(), envoy: envoy(&lab), ready: 80 };
    let mut report = Report::new("policies", rounds, Contestant::peers());
    for round in 1..=rounds {
        for contestant in Contestant::all() {
            eprintln!("bench: round {round} of {rounds}: {}", contestant.name());
            let running = contestant.start(&lab, &configs);
            let source = if contestant == Contestant::Direct { NODE } else { EGRESS };
            let run = |port: u16, connections: &str, count: u64| {
                let (to, count) = (running.to(port), count.to_string());
                load(&lab, &["http", &to, NAME, connections, &count, "--source", source])
            };
            let has = |port: u16| port != CEL || !matches!(contestant, Contestant::Nginx | Contestant::Haproxy);
            let scenarios = || SCENARIOS.into_iter().filter(|(_, port)| has(*port));
            for (_, port) in scenarios() {
                run(port, "8", 500);
            }
            for (scenario, port) in scenarios() {
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
        api("cel", CEL),
        "    policies:\n      inbound:\n        - choose:\n            - when: size(request.headers[\"user-agent\"]) + size(request.path) == 3\n              \
         then:\n                - return-response: {status: 403}\n"
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

fn envoy(lab: &Lab) -> String {
    let name = |port: u16| format!("to{port}");
    let every = |port: u16| envoy::route(&name(port));
    let set = |name: String| json!({ "header": { "key": name, "value": "some-value" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" });
    let mut ten = every(81);
    ten["request_headers_to_add"] = (0..THERE).map(|number| set(format!("X-There-{number}"))).collect();
    ten["response_headers_to_add"] = (0..2).map(|number| set(format!("X-Back-{number}"))).collect();
    let mut chosen = every(82);
    chosen["match"] = json!({ "prefix": "/v1", "headers": [{ "name": "x-kind", "string_match": { "exact": "b" } }] });
    chosen["request_headers_to_add"] = json!([set("X-There".to_owned())]);
    let listener = |port: u16, filters: Vec<Value>, routes: &[Value]| {
        envoy::listener(port, json!({ "filters": [envoy::http(lab, filters, routes)] }))
    };
    envoy::config(
        &[
            listener(80, Vec::new(), &[every(80)]),
            listener(81, Vec::new(), &[ten]),
            listener(82, Vec::new(), &[chosen, every(82)]),
            listener(CEL, vec![refuse_on_cel()], &[every(CEL)]),
        ],
        &SCENARIOS.map(|(_, port)| envoy::cluster(&name(port), port)),
    )
}

/// What Egret is told in [`egret`], as the syntax tree that Envoy wants.
fn refuse_on_cel() -> Value {
    let call =
        |function: &str, arguments: &[Value]| json!({ "call_expr": { "function": function, "args": arguments } });
    let request =
        |field: &str| json!({ "select_expr": { "operand": { "ident_expr": { "name": "request" } }, "field": field } });
    let agent = call("_[_]", &[request("headers"), json!({ "const_expr": { "string_value": "user-agent" } })]);
    let sum = call("_+_", &[call("size", &[agent]), call("size", &[request("path")])]);
    let condition = call("_==_", &[sum, json!({ "const_expr": { "int64_value": 3 } })]);
    envoy::extension(
        "envoy.filters.http.rbac",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        json!({ "rules": { "action": "DENY", "policies": { "cel": {
            "permissions": [{ "any": true }], "principals": [{ "any": true }], "condition": condition,
        } } } }),
    )
}
