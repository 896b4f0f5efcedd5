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
fn heavy_thousands_of_hosts_of_a_hosts_file_are_captured_when_egret_is_ready() {
    let lab = Lab::new();
    let hosts: Vec<_> =
        (0..4_000).map(|n| (format!("198.18.{}.{}", n / 256, n % 256), format!("api{n}.partner.example"))).collect();
    lab.hosts(&hosts.iter().map(|(address, name)| (address.as_str(), name.as_str())).collect::<Vec<_>>());
    let apis = hosts.iter().map(|(_, name)| format!("  - name: {name}\n    hosts: [{name}]\n    ports: [80]\n"));
    let _egret = lab.egret(&lab.configure(&apis.collect::<String>()), &[]);
    assert_eq!(captured(&lab).len(), hosts.len());
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

/// Addresses that only the node, its network or its cloud have, and the node's own.
const INTERNAL: &[&str] = &[
    "127.0.0.1",
    "169.254.169.254",
    "10.0.0.7",
    "172.16.0.7",
    "192.168.0.7",
    "100.64.0.7",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "240.0.0.7",
    "0.0.0.7",
    "fd00:ec2::254",
    "fe80::7",
    "64:ff9b::a9fe:a9fe",
    "::7f00:1",
    "2002:7f00:1::",
    "192.0.2.1",
    "192.0.2.10",
];

#[test]
fn a_third_partys_name_cannot_lead_to_the_node_or_its_network() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 1, &["203.0.113.7"]);
    dns.set("denied.example", 1, INTERNAL);
    let partners = partners(&lab, &["203.0.113.7"]);
    let denied = "  - name: denied\n    hosts: [denied.example]\n    mode: deny\n";
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{denied}")), &[]);
    dns.set(NAME, 1, INTERNAL);
    let host = || lab.json(&["inspect", "apis"])[0]["hosts"][0].clone();
    eventually("the addresses are refused", || host()["refused"].as_array().unwrap().len() == INTERNAL.len());
    assert_eq!(captured(&lab), ["203.0.113.7"]);
    assert!(host()["error"].as_str().unwrap().contains("no usable address"), "{}", host());
    // What is known stays, and Egret connects to nothing else.
    let to_partner = ["-s", "-m", "10", "-H", "Host: api.partner.example", "http://203.0.113.7/"];
    assert_eq!(String::from_utf8_lossy(&lab.run("curl", &to_partner).stdout).trim(), EGRESS);
    assert_eq!(partners[0].sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn a_private_address_is_captured_where_its_owner_allows_it() {
    let lab = Lab::new();
    lab.internet_ip(&["address", "add", "10.20.0.7/32", "dev", "lo"]);
    let dns = lab.dns();
    dns.set("api.ledger.example", 1, &["10.20.0.7", "10.21.0.7"]);
    let _ledger = lab.third_party("10.20.0.7", 443, Behaviour::Banner);
    let _egret = lab.egret(
        &lab.configure_like("private-service", |text| {
            text.replace("ports: [443]", "ports: [443]\n    opaque_ports: [443]")
        }),
        &[],
    );
    assert_eq!(captured(&lab), ["10.20.0.7"]);
    let program = "import socket\ns = socket.create_connection(('10.20.0.7', 443), 20)\nprint(s.recv(99).decode())";
    assert_eq!(lab.python(program, &[]), EGRESS);
}

#[test]
fn heavy_a_name_with_ever_new_addresses_keeps_no_other_api_out() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 1, &["203.0.113.7"]);
    let flood = |round: u32| {
        let addresses: Vec<_> = (0..1000).map(|n| format!("198.18.{}.{}", round * 4 + n / 250, n % 250 + 1)).collect();
        dns.set("flood.example", 1, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    };
    flood(0);
    let _partners = partners(&lab, &["203.0.113.7", "203.0.113.8"]);
    let flooding = "  - name: flood\n    hosts: [flood.example]\n    ports: [443]\n";
    let egret = lab.egret(&lab.configure(&format!("{flooding}{PARTNER}")), &[]);
    let of_flood = || captured(&lab).iter().filter(|address| address.starts_with("198.18.")).count();
    for round in 1..4 {
        flood(round);
        let newest = format!("198.18.{}.1", round * 4);
        eventually("the newest addresses are captured", || captured(&lab).contains(&newest));
        assert_eq!(of_flood(), 256);
    }
    eventually("the alarm", || egret.log().contains("resolver.max_addresses"));
    dns.set(NAME, 1, &["203.0.113.8"]);
    eventually("the other API is captured where it has moved", || captured(&lab).contains(&"203.0.113.8".to_owned()));
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
}

#[test]
fn a_name_that_adds_anothers_address_neither_weakens_nor_breaks_it() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("denied.example", 1, &["203.0.113.8"]);
    dns.set(NAME, 1, &["203.0.113.7"]);
    let partners = partners(&lab, &["203.0.113.7", "203.0.113.8"]);
    let denied = "  - name: denied\n    hosts: [denied.example]\n    mode: deny\n";
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{denied}")), &[]);
    let ask = |host: &str| {
        let host = format!("Host: {host}");
        let output = lab.run(
            "curl",
            &["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-H", &host, "http://203.0.113.8/"],
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask("denied.example"), "000");
    dns.set(NAME, 1, &["203.0.113.7", "203.0.113.8"]);
    eventually("the address is shared", || {
        let rows = lab.json(&["inspect", "redirects"]);
        rows.as_array().unwrap().iter().any(|row| row["address"] == "203.0.113.8" && row["action"] == "redirect")
    });
    for (host, status) in [("denied.example", "000"), ("nobody.invalid", "421"), (NAME, "200")] {
        assert_eq!(ask(host), status, "{host}");
    }
    assert!(!partners[1].seen().iter().any(|seen| String::from_utf8_lossy(&seen.all).contains("denied")));
}

#[test]
fn a_silent_address_is_passed_by_and_tried_last_from_then_on() {
    // Nobody has it, and nobody says so.
    const SILENT: &str = "203.0.113.77";
    let lab = Lab::new();
    lab.hosts(&[(SILENT, NAME), ("203.0.113.7", NAME)]);
    let partners = partners(&lab, &["203.0.113.7"]);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    pool: {{idle: 0}}\n")), &[]);
    let connect = format!("{NAME}:80:{SILENT}:80");
    let ask = || {
        let output = lab.run("curl", &["-s", "-m", "20", "-H", "Connection: close", "--connect-to", &connect, URL]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS);
    };
    ask();
    lab.internet_ip(&["address", "add", &format!("{SILENT}/32"), "dev", "lo"]);
    let late = self::partners(&lab, &[SILENT]);
    ask();
    assert!(late[0].seen().is_empty(), "the caller connected to it, and it would answer now");
    assert_eq!(partners[0].seen().len(), 2);
}
