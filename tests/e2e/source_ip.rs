//! The third party sees the egress IP, whoever calls; everybody else sees what they always saw.

use std::net::IpAddr;

use egret_tests::{Behaviour, EGRESS, EGRESS_V6, Lab, NODE};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn an_unmodified_curl_leaves_from_the_egress_address() {
    let lab = Lab::new();
    let partner = partner(&lab);
    assert_eq!(lab.curl(URL), (403, NODE.to_owned()), "without Egret");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(partner.sources(), addresses(&[NODE, EGRESS]));
    let rows = lab.json(&["inspect", "redirects"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["port"] == 80).unwrap();
    assert_eq!((&row["host"], &row["hits"]), (&"api.partner.example".into(), &1.into()), "{row}");
}

#[test]
fn ipv6_leaves_from_the_ipv6_egress_address() {
    let lab = Lab::new();
    lab.hosts(&[("2001:db8:2::7", "api.partner.example")]);
    let partner = lab.third_party("2001:db8:2::7", 80, Behaviour::Http(addresses(&[EGRESS_V6])));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS_V6.to_owned()));
    assert_eq!(partner.sources(), addresses(&[EGRESS_V6]));
}

#[test]
fn unlisted_hosts_see_what_they_always_saw() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let stranger = lab.third_party("203.0.113.8", 80, Behaviour::Http(Vec::new()));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.curl("http://203.0.113.8/"), (403, NODE.to_owned()));
    assert_eq!(stranger.sources(), addresses(&[NODE]));
    assert_eq!(lab.json(&["status"])["kernel"]["redirected"], 0);
}

#[test]
fn bind_mode_sets_the_source_in_the_kernel() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(&format!("{PARTNER}    mode: bind\n")), &["--persist"]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(lab.json(&["status"])["kernel"]["bound"], 1);
    // No proxy hop: it goes on without the process.
    egret.kill();
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    // Never from another address.
    lab.node_ip(&["address", "del", "192.0.2.10/24", "dev", "node0"]);
    assert_eq!(lab.curl(URL).0, 0);
    assert_eq!(partner.sources(), addresses(&[EGRESS]));
}

#[test]
fn an_egress_address_that_is_not_there_is_an_error_that_names_those_that_are() {
    let lab = Lab::new();
    let config = lab.write_config("version: 1\negress: {addresses: [192.0.2.77]}\n");
    let output = lab.try_cli(&["run", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("192.0.2.77") && text.contains(NODE) && text.contains(EGRESS), "{text}");
}

#[test]
fn an_egress_address_that_disappears_is_never_replaced_in_silence() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    lab.node_ip(&["address", "del", "192.0.2.10/24", "dev", "node0"]);
    egret_tests::eventually("the alarm", || egret.log().contains("an egress address is not on the node any more"));
    assert_eq!(lab.curl(URL).0, 0);
    assert_eq!(partner.seen(), []);
    lab.node_ip(&["address", "add", "192.0.2.10/24", "dev", "node0"]);
    egret_tests::eventually("it is back", || egret.log().contains("is on the node again"));
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
}

#[test]
fn the_systemd_units_capabilities_are_enough() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let unit = include_str!("../../config/deploy/egret.service");
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let set: String =
        set.split(' ').map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
    let config = lab.configure(PARTNER);
    let egret = egret_tests::executable();
    let bounding = format!("--bounding-set=-all{set}");
    let arguments =
        [&bounding, "--", egret.to_str().unwrap(), "run", "--persist", "--config", config.to_str().unwrap()];
    let mut daemon = lab.gateway("setpriv", &arguments).spawn().unwrap();
    egret_tests::eventually("it serves", || {
        assert!(daemon.try_wait().unwrap().is_none(), "it ended");
        lab.curl(URL) == (200, EGRESS.to_owned())
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
