//! What callers choose reaches neither the operator's terminal nor a log as it is.

use std::fs;

use egret_tests::{Behaviour, EGRESS, Lab, eventually};

/// A command's name, in Python: it begins another line, turns red, rings, and turns the direction of text.
const HOSTILE: &str = "\\nWARN\\x1b[31m\\x07X\\xe2\\x80\\xae";

/// Whether a text has a character that a terminal acts on, but for line ends.
fn acts(text: &str) -> bool {
    text.chars().any(|character| (character.is_control() && character != '\n') || character == '\u{202e}')
}

#[test]
fn names_that_callers_choose_are_escaped_in_tables_and_logs() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let trace = "by ${workload.owner} ${workload.command} ${request.headers[\"x-said\"]}";
    let egret = lab.egret(
        &lab.configure(&format!(
            "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies:\n      inbound:\n        \
             - rate-limit: {{calls: 100, period: 1m}}\n        - trace: {{severity: warning, message: '{trace}'}}\n"
        )),
        &[],
    );
    let cgroup = lab.workload_cgroup().with_file_name("\u{1b}[2J\u{1b}[1;1Hx.service\r\u{202e}");
    fs::create_dir(&cgroup).unwrap();
    let socket = lab.socket();
    let socket = socket.to_str().unwrap();
    let program = egret_tests::executable();
    let mut tail = lab.gateway(program.to_str().unwrap(), &["tail", "--count", "2", "--socket", socket]);
    let tail = tail.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let program = format!(
        r#"
import ctypes, os, socket
ctypes.CDLL(None).prctl(15, b"{HOSTILE}", 0, 0, 0)
held = []
while True:
    s = socket.create_connection(("203.0.113.7", 80), timeout=10)
    s.sendall(b"GET /%0a HTTP/1.1\r\nHost: api.partner.example\r\nX-Said: a\tb\xc2\x9b31m\r\n\r\n")
    print(s.recv(1000)[:15].decode(), flush=True)
    held.append(s)
    input()
"#
    );
    let mut caller = lab.converse_in(&cgroup, &program);
    assert_eq!(caller.line(), "HTTP/1.1 200 OK");
    caller.tell("again");
    assert_eq!(caller.line(), "HTTP/1.1 200 OK");
    for what in ["flows", "limits", "decisions", "apis"] {
        let text = lab.cli(&["inspect", what, "--socket", socket]);
        assert!(!acts(&text), "{what}: {text:?}");
    }
    let flows = lab.cli(&["inspect", "flows", "--socket", socket]);
    assert!(flows.contains("\\u{1b}[2J") && flows.contains("\\nWARN\\u{1b}"), "{flows}");
    assert_eq!(flows.lines().count(), 3, "two flows are two lines: {flows}");
    let shown = lab.json(&["inspect", "flows"]);
    assert!(shown[0]["workload"].as_str().unwrap().contains("\u{1b}[2J"), "programs read what it is: {shown}");
    assert!(!acts(&lab.cli(&["inspect", "flows", "-o", "json", "--socket", socket])));
    drop(caller);
    eventually("the trace is logged", || egret.log().contains("by "));
    assert!(!acts(&egret.log()), "{:?}", egret.log());
    assert!(egret.log().lines().all(|line| !line.starts_with("WARN")), "{}", egret.log());
    let log = || fs::read_to_string(lab.access_log()).unwrap();
    eventually("the flow is on record", || log().contains("bytes_sent"));
    assert!(!acts(&log()) && log().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    drop(egret);
    let tail = String::from_utf8(tail.wait_with_output().unwrap().stdout).unwrap();
    assert!(!acts(&tail) && tail.lines().all(|line| !line.starts_with("WARN")), "{tail:?}");
}

#[test]
fn what_a_file_says_is_escaped() {
    let lab = Lab::new();
    let write = |text: &str| lab.write_config(text).to_str().unwrap().to_owned();
    let api = "version: 1\negress: {addresses: [192.0.2.10]}\napis: [{name: a, hosts: [a.example], ports: [80]}]\n";
    let both = |arguments: &[&str]| {
        let output = lab.try_cli(arguments);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let bad = write(&api.replace("a.example", "\"a\\e[31m\\n.example\"").replace("[80]", "[80, \"\\x9b31m\"]"));
    let text = both(&["check", &bad]);
    assert!(text.contains("error") && !acts(&text), "{text:?}");
    let old = lab.directory().join("old.yaml");
    fs::copy(write(api), &old).unwrap();
    let new = write(&api.replace(
        "ports: [80]",
        "ports: [80], policies: {inbound: [{set-header: {name: A, value: \"\\x9b31m\\u202e\"}}]}",
    ));
    let text = both(&["diff", old.to_str().unwrap(), &new]);
    assert!(text.contains("set-header") && !acts(&text), "{text:?}");
    let text = both(&["explain", "--config", &new, "http://a.example/\u{202e}%0a", "--workload", "\u{1b}[31m"]);
    assert!(!acts(&text), "{text:?}");
}
