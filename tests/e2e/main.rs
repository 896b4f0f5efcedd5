//! End to end, through the real executable and the real kernel. One module per promise.

mod answers;

mod audience;

mod bypasses;

mod callers;

mod capture;

mod clients;

mod compare;

mod conformance;

mod containers;

mod decisions;

mod deployment;

mod destinations;

mod dns;

mod dns_clients;

mod dns_containers;

mod dns_hostile;

mod dns_interrupted;

mod dns_learnt;

mod dns_sockets;

mod doctor;

mod documented;

mod elsewhere;

mod environment;

mod every_client;

mod explained;

mod fail_mode;

mod fidelity;
mod files;

mod fleet;

mod handshakes;

mod hostile;

mod hostile_bounds;
mod hostile_containers;

mod hostile_http2;
mod hostile_policies;

mod hostile_kernel;
mod hostile_limits;

mod http;

mod image;

mod inspected;

mod intercept;

mod kubernetes;

mod limits;

mod load;

mod monitoring;
mod names;
mod namespaces;

mod origination;
mod otlp;

mod package;

mod passthrough;

mod podman;
mod podman_hostile;
mod policies;
mod policies_cache;
mod policies_forward;
mod policies_limits;
mod policies_metered;

mod policies_telemetry;

mod policies_content;

mod policies_credentials;

mod pool;

mod refusals;

mod proxy;

mod reload;

mod responses_http2;

mod rollout;

mod scoped;

mod shared_limits;

mod smuggling;

mod source_ip;
mod strangers;

mod take_over;

mod terminal;

mod third_party_tls;

mod tls;

mod owners;
mod trailers;
mod uninstall;
mod unit;

mod unlisted;

mod uploads;

mod wildcards;

mod workloads;

use egret_tests::{Behaviour, EGRESS, EGRESS_V6, Lab, ThirdParty};

/// The lab's usual API, as YAML.
const PARTNER: &str = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80, 443, 7000]\n";

/// A third party that allow-lists the egress addresses.
fn partner(lab: &Lab) -> ThirdParty {
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let allowed = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
    lab.third_party("203.0.113.7", 80, Behaviour::Http(allowed))
}
