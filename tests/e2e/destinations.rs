//! `egret explain` says of a destination what happens to a caller's connections there: by the live table, with keys and lines.

use std::fs;

use egret_tests::Lab;
use serde_json::Value;

const APIS: &str = "  - name: partner
    hosts: [api.partner.example, '*.shop.example']
    ports: [80, 443]
    workloads:
      allow: [{unit: workload.service}]
dns: {forward: true}
";

/// An address that only a DNS server of the caller's own gives the partner's name.
const ELSEWHERE: &str = "203.0.113.9";
const OWN_SERVER: &str = "203.0.113.15";

/// What was found at each step, as `WHAT: FOUND`, and the verdict at the end.
fn told(explained: &Value) -> Vec<String> {
    let steps = explained["steps"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = steps.map(|step| format!("{}: {}", text(&step["what"]), text(&step["found"])));
    steps.chain([format!("so: {}", text(&explained["verdict"]))]).collect()
}

fn asked(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    told(&lab.json(&[&["explain"], arguments].concat()))
}

fn has(told: &[String], what: &str, found: &str) -> bool {
    told.iter().any(|line| line.starts_with(what) && line.contains(found))
}

#[test]
fn a_destination_is_explained_by_the_live_table_for_the_caller_that_is_named() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 60, &["203.0.113.7"]);
    lab.dns_at(OWN_SERVER).set("api.partner.example", 60, &[ELSEWHERE]);
    let partner =
        lab.third_party("203.0.113.7", 80, egret_tests::Behaviour::Http(vec![egret_tests::EGRESS.parse().unwrap()]));
    let config = lab.configure(APIS);
    let _egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
    drop(partner);

    let lines = asked(&lab, &["--workload", "workload.service", "api.partner.example:80"]);
    for (what, found) in [
        ("name", "API `partner` lists it as api.partner.example"),
        ("workloads", "for workload.service"),
        ("mode", "passthrough"),
        ("leaves from", "192.0.2.10"),
        ("address 203.0.113.7", "resolved by Egret"),
        ("kernel's table, port 80", "for everybody: sent to Egret; fail closed, generation 1, 1 hits"),
        ("while Egret is not there", "refused"),
        ("so", "carried"),
    ] {
        assert!(has(&lines, what, found), "{what}: {found}: {lines:#?}");
    }
    let lines = asked(&lab, &["--workload", "another.service", "api.partner.example"]);
    assert!(has(&lines, "workloads", "not for another.service"), "{lines:#?}");
    assert!(has(&lines, "so", "workload_not_allowed"), "{lines:#?}");

    let program = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
labels = b"".join(bytes([len(label)]) + label.encode() for label in "api.partner.example".split("."))
s.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1), (sys.argv[1], 53))
s.recv(512)
"#;
    lab.python(program, &[OWN_SERVER]);
    let destination = format!("{ELSEWHERE}:80");
    let lines = asked(&lab, &["--workload", "workload.service", &destination]);
    assert!(has(&lines, "names there", "API `partner`: api.partner.example"), "{lines:#?}");
    assert!(has(&lines, "kernel's table", "for workload.service alone"), "{lines:#?}");
    let lines = asked(&lab, &["--workload", "another.service", &destination]);
    assert!(has(&lines, "kernel's table", "rows for other owners only"), "{lines:#?}");
    assert!(has(&lines, "so", "Egret does not touch"), "{lines:#?}");
    let lines = asked(&lab, &["203.0.113.15"]);
    assert!(has(&lines, "names there", "of no API") && has(&lines, "so", "Egret does not touch"), "{lines:#?}");

    // Keys with the lines that they are written in now.
    let explained = lab.json(&["explain", "--workload", "workload.service", "api.partner.example"]);
    let steps = explained["steps"].as_array().unwrap();
    let of = |what: &str| steps.iter().find(|step| step["what"] == what).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let line = text.lines().position(|line| line.contains("workloads:")).unwrap() + 1;
    assert_eq!(of("workloads")["at"], format!("{}:{line}", config.display()), "{explained}");
    assert_eq!(of("workloads")["key"], "apis[partner].workloads");
    assert!(of("mode")["at"].is_null(), "it is not written");
}

#[test]
fn a_destination_is_explained_without_a_gateway_and_wrong_questions_are_told() {
    let lab = Lab::new();
    let config = lab.configure(APIS);
    let config = config.to_str().unwrap();
    let text = lab.cli(&["explain", "--config", config, "--unit", "workload.service", "www.shop.example:443"]);
    assert!(text.contains("lists it as *.shop.example") && text.contains("only a running gateway knows"), "{text}");
    assert!(text.contains("(apis[partner].mode, default)"), "{text}");
    let text = lab.cli(&["explain", "--config", config, "stranger.example"]);
    assert!(text.contains("no API lists it"), "{text}");
    for wrong in [&["a b"][..], &["api.partner.example:0x50"], &["-X", "POST", "api.partner.example"]] {
        let output = lab.try_cli(&[&["explain", "--config", config], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("egret: "), "{wrong:?}");
    }
}

#[test]
fn the_doctor_says_what_is_learnt_below_wildcards() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 60, &["203.0.113.7"]);
    dns.set("www.shop.example", 60, &["203.0.113.8", "203.0.113.9"]);
    let socket = lab.socket();
    let doctor = || {
        let output = lab.try_cli(&["doctor", "--socket", socket.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains("wildcard *.shop.example")).unwrap_or_default().to_owned()
    };
    let egret = lab.egret(&lab.configure(&APIS.replace("forward: true", "forward: false")), &[]);
    assert!(doctor().contains("FAIL") && doctor().contains("set dns: {forward: true}"), "{}", doctor());
    egret.stop();
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    assert!(doctor().contains("no caller has asked for a name below it yet"), "{}", doctor());
    lab.python("import socket; socket.getaddrinfo('www.shop.example', 80)", &[]);
    assert!(doctor().contains("1 name learnt, 2 addresses captured for everybody"), "{}", doctor());
}
