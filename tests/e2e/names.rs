//! Listed names are captured wherever DNS says they are: never late, never forgotten, never cut.

use egret_tests::{Behaviour, EGRESS, EGRESS_V6, Lab, Mood, ThirdParty, eventually};

use crate::PARTNER;

const URL: &str = "http://api.partner.example/";
const NAME: &str = "api.partner.example";

/// Third parties at these addresses that allow-list the egress addresses.
fn partners(lab: &Lab, addresses: &[&str]) -> Vec<ThirdParty> {
    let allowed = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
    addresses.iter().map(|address| lab.third_party(address, 80, Behaviour::Http(allowed.clone()))).collect()
}

/// The captured addresses, sorted.
fn captured(lab: &Lab) -> Vec<String> {
    let rows = lab.json(&["inspect", "redirects"]);
    let mut addresses: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

#[test]
fn a_rotation_is_followed_and_cuts_nobody() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 1, &["203.0.113.7"]);
    let partners = partners(&lab, &["203.0.113.7", "203.0.113.8"]);
    let _old = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 7000), timeout=30)
s.sendall(b"before")
print(s.recv(100).decode(), flush=True)
sys.stdin.readline()
s.sendall(b"after")
print(s.recv(100).decode(), flush=True)
"#;
    let mut flow = lab.converse(program);
    assert_eq!(flow.line(), "before");
    dns.set(NAME, 1, &["203.0.113.8"]);
    eventually("the new address is captured", || captured(&lab).contains(&"203.0.113.8".to_owned()));
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(partners[1].sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    // A client that caches the old address is captured still.
    assert_eq!(captured(&lab), ["203.0.113.7", "203.0.113.8"]);
    flow.tell("go on");
    assert_eq!(flow.line(), "after");
}

#[test]
fn addresses_outlive_a_dns_that_fails() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 1, &["203.0.113.7", "2001:db8:2::7"]);
    let _partners = partners(&lab, &["203.0.113.7", "2001:db8:2::7"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let both = ["2001:db8:2::7", "203.0.113.7"];
    assert_eq!(captured(&lab), both);
    let error = || lab.json(&["inspect", "apis"])[0]["hosts"][0]["error"].clone();
    for mood in [Mood::Failing, Mood::Silent] {
        dns.is(mood);
        eventually("the failure is told", || error().is_string());
        assert_eq!(captured(&lab), both, "{mood:?}");
        dns.is(Mood::Well);
        eventually("the failure is over", || error().is_null());
    }
    dns.remove(NAME);
    eventually("the failure is told", || error().is_string());
    assert_eq!(captured(&lab), both, "NXDOMAIN");
}

#[test]
fn a_name_that_resolves_late_is_captured_then_and_holds_up_no_other() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("second.example", 1, &["203.0.113.8"]);
    let _partners = partners(&lab, &["203.0.113.7", "203.0.113.8"]);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}  - name: second\n    hosts: [second.example]\n")), &[]);
    assert_eq!(lab.curl("http://second.example/"), (200, EGRESS.to_owned()));
    assert_eq!(captured(&lab), ["203.0.113.8"]);
    dns.set(NAME, 1, &["203.0.113.7"]);
    eventually("the late name is captured", || lab.curl(URL) == (200, EGRESS.to_owned()));
}

#[test]
fn many_addresses_come_over_tcp_and_aliases_are_followed() {
    let lab = Lab::new();
    let dns = lab.dns();
    let many: Vec<_> = (1..=60).map(|number| format!("198.51.100.{number}")).collect();
    let mut addresses: Vec<_> = many.iter().map(String::as_str).collect();
    addresses.push("203.0.113.7");
    dns.set("edge.cdn.example", 60, &addresses);
    dns.alias("partner.cdn.example", "edge.cdn.example");
    dns.alias(NAME, "partner.cdn.example");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(captured(&lab).len(), 61);
    assert!(dns.asked_by_tcp() > 0);
}

#[test]
fn a_name_that_leads_to_the_node_or_its_metadata_service_is_not_captured() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 60, &["169.254.169.254", "127.0.0.1", "203.0.113.7"]);
    let _partners = partners(&lab, &["203.0.113.7"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(captured(&lab), ["203.0.113.7"]);
}
