//! What the kernel decides alone is told too: in the CLI and in the access log.

use egret_tests::{Behaviour, EGRESS, Lab, eventually};
use serde_json::Value;

use crate::{PARTNER, partner};

/// The first decision for this reason, once it is there.
fn decision(lab: &Lab, reason: &str) -> Value {
    let find = || {
        let rows = lab.json(&["inspect", "decisions"]);
        rows.as_array().unwrap().iter().find(|row| row["reason"] == reason).cloned()
    };
    eventually(reason, || find().is_some());
    find().unwrap()
}

#[test]
fn refusals_are_told_with_their_caller() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    mode: deny\n")), &[]);
    assert_eq!(lab.curl("http://api.partner.example/").0, 0);
    let row = decision(&lab, "denied");
    assert_eq!(row["command"], "curl");
    assert_eq!(row["api"], "partner");
    assert_eq!(row["original_destination"], "203.0.113.7:80");
    assert_eq!(partner.seen(), []);
    eventually("the access log has it", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"outcome\":\"denied\"")
    });
    lab.python(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ntry:\n s.connect(('203.0.113.7', 443))\nexcept PermissionError:\n pass",
        &[],
    );
    assert_eq!(decision(&lab, "udp_refused")["protocol"], "udp");
}

#[test]
fn what_left_in_bind_mode_is_told_with_its_source() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _banner = lab.third_party("203.0.113.7", 7000, Behaviour::Banner);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    mode: bind\n")), &[]);
    lab.python("import socket\nsocket.create_connection(('203.0.113.7', 7000), 10).recv(100)", &[]);
    assert_eq!(decision(&lab, "bound")["egress"], EGRESS);
}

#[test]
fn what_happened_while_egret_was_dead_is_told_by_the_next_one() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = lab.configure(PARTNER);
    lab.egret(&config, &["--persist"]).kill();
    assert_eq!(lab.curl("http://api.partner.example/").0, 0);
    let _next = lab.egret(&config, &["--persist"]);
    assert_eq!(decision(&lab, "gateway_gone_closed")["command"], "curl");
}
