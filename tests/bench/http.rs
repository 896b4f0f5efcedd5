//! Requests: plain, with TLS to the third party, and with TLS on both sides.

use clap::ValueEnum;
use egret_tests::{EGRESS, Lab, NODE, Service};
use serde_json::json;

use crate::envoy;
use crate::gateway::{Configs, Contestant, Running, THIRD_PARTY, cpu};
use crate::passthrough::{idle, load, many_ports, number};
use crate::report::Report;

/// The third party's ports: plain, plain for the application and TLS for the third party, TLS.
const PLAIN: u16 = 80;
const ORIGINATED: u16 = 81;
const SECURE: u16 = 443;

const NAME: &str = "api.partner.example";
/// The same third party, where plain requests leave over TLS.
const ORIGINATED_NAME: &str = "secure.partner.example";

const CONNECTIONS: &str = "32";
const REQUESTS: u64 = 60_000;
const NEW: u64 = 10_000;
const NEW_SECURE: u64 = 3_000;
/// So many that 20,000 descriptors, a usual limit, are enough for a gateway that keeps both sides of them.
const IDLE: u64 = 6_000;

/// What is measured of each contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Plain, connections kept alive.
    Plain,
    /// Plain, a connection for each request.
    PlainNew,
    /// Plain for the application, TLS with the third party.
    Originate,
    /// TLS on both sides, connections kept alive.
    Intercept,
    /// TLS on both sides, a connection with a full handshake for each request.
    InterceptNew,
    /// One connection: plain, then TLS on both sides.
    Latency,
    /// Memory of connections at rest after a request: plain, then TLS on both sides.
    Idle,
}

pub(crate) fn run(rounds: u32, scenarios: &[Scenario]) -> Report {
    let lab = Lab::new();
    lab.hosts(&[(THIRD_PARTY, NAME), (THIRD_PARTY, ORIGINATED_NAME)]);
    many_ports(&lab);
    let pki = lab.pki();
    let (certificate, key) = pki.identity(&[NAME, ORIGINATED_NAME], &[]).write(lab.directory());
    let paths = [certificate, key].map(|path| path.to_str().expect("a path in UTF-8").to_owned());
    let _third_party = third_party(&lab, &paths);
    let configs = Configs {
        egret: format!(
            "  - name: partner\n    hosts: [{NAME}]\n    mode: intercept\n    ports: [{SECURE}]\n    backend: {{tls: {{ca: {ca}}}}}\n  \
             - name: plain\n    hosts: [{NAME}]\n    ports: [{PLAIN}]\n  \
             - name: originated\n    hosts: [{ORIGINATED_NAME}]\n    ports: [{ORIGINATED}]\n    backend: {{tls: {{ca: {ca}}}}}\n",
            ca = pki.ca(),
        ),
        nginx: nginx(&lab, &paths, pki.ca()),
        haproxy: haproxy(&lab, &paths, pki.ca()),
        envoy: envoy(&lab, &paths, pki.ca()),
        ready: PLAIN,
    };
    let mut report = Report::new("http", rounds, Contestant::peers());
    for round in 1..=rounds {
        for contestant in Contestant::all() {
            eprintln!("bench: round {round} of {rounds}: {}", contestant.name());
            let authority = match contestant {
                Contestant::Egret => lab.directory().join("egret-ca.pem"),
                _ => pki.ca().into(),
            };
            let authority = authority.to_str().expect("a path in UTF-8").to_owned();
            let running = contestant.start(&lab, &configs);
            Measure { lab: &lab, configs: &configs, running, contestant, authority, report: &mut report }
                .all(scenarios);
        }
    }
    report
}

struct Measure<'a> {
    lab: &'a Lab,
    configs: &'a Configs,
    running: Running,
    contestant: Contestant,
    /// The authority that the application trusts.
    authority: String,
    report: &'a mut Report,
}

impl Measure<'_> {
    fn all(&mut self, scenarios: &[Scenario]) {
        let authority = self.authority.clone();
        let tls = ["--ca", &authority];
        let all = [(PLAIN, NAME, &[][..]), (ORIGINATED, ORIGINATED_NAME, &[]), (SECURE, NAME, &tls)];
        for (port, name, options) in all {
            self.load(port, name, "8", 500, options);
        }
        for scenario in scenarios {
            match scenario {
                Scenario::Plain => self.requests("plain", PLAIN, NAME, REQUESTS, &[]),
                Scenario::PlainNew => self.requests("plain, new connections", PLAIN, NAME, NEW, &["--anew"]),
                Scenario::Originate => self.requests("TLS origination", ORIGINATED, ORIGINATED_NAME, REQUESTS, &[]),
                Scenario::Intercept => self.requests("interception", SECURE, NAME, REQUESTS, &tls),
                Scenario::InterceptNew => {
                    let options = [&tls[..], &["--anew"]].concat();
                    self.requests("interception, new connections", SECURE, NAME, NEW_SECURE, &options);
                }
                Scenario::Latency => {
                    self.latency("plain, one connection", PLAIN, &[]);
                    self.latency("interception, one connection", SECURE, &tls);
                }
                Scenario::Idle if self.contestant == Contestant::Direct => {}
                Scenario::Idle => {
                    self.idle("plain, idle connection", PLAIN, &[]);
                    self.idle("interception, idle connection", SECURE, &tls);
                }
            }
        }
    }

    /// Whom the third party must see.
    fn source(&self) -> &'static str {
        if self.contestant == Contestant::Direct { NODE } else { EGRESS }
    }

    fn load(&self, port: u16, name: &str, connections: &str, count: u64, options: &[&str]) -> serde_json::Value {
        let (to, count) = (self.running.to(port), count.to_string());
        load(self.lab, &[&["http", &to, name, connections, &count, "--source", self.source()], options].concat())
    }

    fn requests(&mut self, scenario: &str, port: u16, name: &str, count: u64, options: &[&str]) {
        let before = cpu(self.lab);
        let measured = self.load(port, name, CONNECTIONS, count, options);
        let used = (cpu(self.lab) - before).as_secs_f64();
        let of = self.contestant.name();
        self.report.add(scenario, "rate", "1/s", of, count as f64 / number(&measured, "seconds"));
        self.percentiles(scenario, &measured);
        if self.contestant != Contestant::Direct {
            self.report.add(scenario, "CPU per request", "us", of, used / count as f64 * 1e6);
        }
    }

    fn latency(&mut self, scenario: &str, port: u16, options: &[&str]) {
        let measured = self.load(port, NAME, "1", 10_000, options);
        self.percentiles(scenario, &measured);
    }

    fn percentiles(&mut self, scenario: &str, measured: &serde_json::Value) {
        for name in ["p50", "p99"] {
            self.report.add(scenario, name, "us", self.contestant.name(), number(measured, name) * 1e6);
        }
    }

    /// By a contestant that has done nothing else.
    fn idle(&mut self, scenario: &str, port: u16, options: &[&str]) {
        self.running.again(self.lab, self.configs);
        self.load(port, NAME, "8", 500, options);
        let (to, count) = (self.running.to(port), IDLE.to_string());
        let arguments = [&["http", &to, NAME, "8", &count, "--anew", "--hold"], options].concat();
        let used = idle(self.lab, &arguments) / IDLE as f64;
        self.report.add(scenario, "memory", "KB", self.contestant.name(), used / 1000.0);
    }
}

/// Answers of 1 KiB.
fn third_party(lab: &Lab, [certificate, key]: &[String; 2]) -> Service {
    let directory = lab.directory().join("third-party");
    std::fs::create_dir(&directory).expect("a directory");
    let config = directory.join("nginx.conf");
    let text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n\
         worker_rlimit_nofile 20000;\nevents {{ worker_connections 19000; }}\nhttp {{\n  access_log off;\n  \
         keepalive_requests 100000000;\n  keepalive_timeout 1h;\n  server {{\n    listen {THIRD_PARTY}:{PLAIN} backlog=4096;\n    \
         listen {THIRD_PARTY}:{ORIGINATED} backlog=4096;\n    listen {THIRD_PARTY}:{SECURE} ssl backlog=4096;\n    \
         ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    \
         add_header X-Source $remote_addr;\n    location / {{ return 200 \"{body}\"; }}\n  }}\n}}\n",
        directory = directory.display(),
        body = "x".repeat(1024),
    );
    std::fs::write(&config, text).expect("a configuration");
    lab.service(PLAIN, "nginx", &["-c", config.to_str().expect("a path in UTF-8")])
}

/// With kept upstream connections, and the third party verified.
fn nginx(lab: &Lab, [certificate, key]: &[String; 2], ca: &str) -> String {
    let directory = lab.directory().display();
    let [plain, originated, secure] = [PLAIN, ORIGINATED, SECURE].map(|port| Contestant::Nginx.port(port));
    let verified = |name: &str| {
        format!(
            "proxy_pass https://secure; proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name {name}; \
             proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        )
    };
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {directory}/nginx.pid;\n\
         error_log {directory}/nginx-error.log;\nevents {{ worker_connections 19000; }}\nhttp {{\n  \
         access_log {directory}/nginx-access.log;\n  keepalive_requests 100000000;\n  keepalive_timeout 1h;\n  \
         upstream plain {{ server {THIRD_PARTY}:{PLAIN}; keepalive 64; keepalive_requests 100000000; }}\n  \
         upstream secure {{ server {THIRD_PARTY}:{SECURE}; keepalive 64; keepalive_requests 100000000; }}\n  \
         proxy_http_version 1.1;\n  proxy_set_header Connection \"\";\n  proxy_set_header Host $host;\n  \
         proxy_bind {EGRESS};\n  \
         server {{ listen 127.0.0.1:{plain} backlog=4096; location / {{ proxy_pass http://plain; }} }}\n  \
         server {{ listen 127.0.0.1:{originated} backlog=4096; location / {{ {} }} }}\n  \
         server {{ listen 127.0.0.1:{secure} ssl backlog=4096; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate}; \
         ssl_certificate_key {key}; location / {{ {} }} }}\n}}\n",
        verified(ORIGINATED_NAME),
        verified(NAME),
    )
}

/// With kept upstream connections, and the third party verified.
fn haproxy(lab: &Lab, [certificate, key]: &[String; 2], ca: &str) -> String {
    let both = lab.directory().join("haproxy.pem");
    let text = [certificate, key].map(|path| std::fs::read_to_string(path).expect("PEM")).concat();
    std::fs::write(&both, text).expect("PEM");
    let both = both.display();
    let [plain, originated, secure] = [PLAIN, ORIGINATED, SECURE].map(|port| Contestant::Haproxy.port(port));
    let backend = |name: &str, server: &str| {
        format!(
            "backend {name}\n  source {EGRESS}\n  http-reuse always\n  server third-party {THIRD_PARTY}:{server} pool-max-conn 64\n"
        )
    };
    let tls = |name: &str| format!("{SECURE} ssl verify required ca-file {ca} sni str({name}) verifyhost {name}");
    format!(
        "global\n  nbthread 1\n  maxconn 9500\n  log stdout format raw local0\ndefaults\n  mode http\n  log global\n  \
         option httplog\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n  timeout http-keep-alive 10m\n\
         frontend plain\n  bind 127.0.0.1:{plain} backlog 4096\n  default_backend plain\n\
         frontend originated\n  bind 127.0.0.1:{originated} backlog 4096\n  default_backend originated\n\
         frontend secure\n  bind 127.0.0.1:{secure} backlog 4096 ssl crt {both}\n  default_backend secure\n{}{}{}",
        backend("plain", &PLAIN.to_string()),
        backend("originated", &tls(ORIGINATED_NAME)),
        backend("secure", &tls(NAME)),
    )
}

/// With kept upstream connections, and the third party verified.
fn envoy(lab: &Lab, [certificate, key]: &[String; 2], ca: &str) -> String {
    const TLS: &str = "envoy.extensions.transport_sockets.tls.v3";
    let versions = json!({ "tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3" });
    let tls =
        |context: &str, config| envoy::extension("envoy.transport_sockets.tls", &format!("{TLS}.{context}"), config);
    let verified = |cluster: &str, name: &str| {
        let validation = json!({
            "trusted_ca": { "filename": ca },
            "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": name } }],
        });
        let common = json!({ "tls_params": versions, "validation_context": validation });
        let mut cluster = envoy::cluster(cluster, SECURE);
        cluster["transport_socket"] = tls("UpstreamTlsContext", json!({ "sni": name, "common_tls_context": common }));
        cluster
    };
    let chain = |cluster: &str| json!({ "filters": [envoy::http(lab, Vec::new(), &[envoy::route(cluster)])] });
    let common = json!({
        "tls_params": versions,
        "tls_certificates": [{ "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } }],
    });
    let mut secure = chain("secure");
    secure["transport_socket"] = tls("DownstreamTlsContext", json!({ "common_tls_context": common }));
    envoy::config(
        &[
            envoy::listener(PLAIN, chain("plain")),
            envoy::listener(ORIGINATED, chain("originated")),
            envoy::listener(SECURE, secure),
        ],
        &[envoy::cluster("plain", PLAIN), verified("originated", ORIGINATED_NAME), verified("secure", NAME)],
    )
}
