//! Connections to captured destinations that do not go through Egret are found, with who, why and what to do.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;

use egret_tests::{Behaviour, Conversation, EGRESS, Lab, NODE, eventually};
use serde_json::Value;

use crate::PARTNER;

/// Connects, then for each line it hears: says one byte and prints whether it came back; connects anew if not.
const CLIENT: &str = r#"
import socket, sys
address = "ADDRESS"
def connect():
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(30)
    s.connect((address, 7000))
    return s
s = connect()
while True:
    try:
        s.sendall(b"x")
        print("echo" if s.recv(1) else "closed", flush=True)
    except OSError as error:
        print("broken", flush=True)
        s = connect()
    if not sys.stdin.readline():
        break
"#;

fn client(lab: &Lab, address: &str) -> Conversation {
    let mut client = lab.converse(&CLIENT.replace("ADDRESS", address));
    assert_eq!(client.line(), "echo");
    client
}

/// Tells it to say one more byte; returns what became of it.
fn again(client: &mut Conversation) -> String {
    client.tell("again");
    client.line()
}

fn bypasses(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    lab.json(&[&["inspect", "bypasses"], arguments].concat()).as_array().unwrap().clone()
}

fn causes(lab: &Lab) -> Vec<String> {
    bypasses(lab, &[]).iter().map(|row| row["cause"].as_str().unwrap().to_owned()).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn connections_older_than_egret_are_listed_and_closed_on_demand() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let mut old = client(&lab, "203.0.113.7");
    let mut mapped = client(&lab, "::ffff:203.0.113.7");
    let program = "import socket, sys\nu = socket.socket(type=socket.SOCK_DGRAM)\nu.connect(('203.0.113.7', 443))\n\
                   print('connected', flush=True)\nsys.stdin.readline()\n\
                   try:\n    u.send(b'x')\n    print('sent', flush=True)\nexcept OSError as error:\n    print('broken', flush=True)\n";
    let mut quic = lab.converse(program);
    assert_eq!(quic.line(), "connected");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let mut new = client(&lab, "203.0.113.7");
    assert_eq!(echo.sources(), [address(NODE), address(EGRESS)]);

    let rows = bypasses(&lab, &[]);
    assert_eq!(rows.len(), 3, "neither Egret's own nor captured ones: {rows:?}");
    for row in &rows {
        let facts = ["cause", "api", "owner", "user"].map(|key| row[key].as_str().unwrap());
        assert_eq!(facts, ["older", "partner", "workload.service", "root"], "{row}");
        assert!(row["local"].as_str().unwrap().starts_with(&format!("{NODE}:")), "{row}");
    }
    let to = |protocol: &str| -> Vec<_> {
        let rows = rows.iter().filter(|row| row["protocol"] == protocol);
        rows.map(|row| row["original_destination"].as_str().unwrap()).collect()
    };
    assert_eq!((to("tcp"), to("udp")), (vec!["203.0.113.7:7000"; 2], vec!["203.0.113.7:443"]));
    assert_eq!((again(&mut old), again(&mut mapped)), ("echo".into(), "echo".into()), "listing closes nothing");

    let closed = bypasses(&lab, &["--close"]);
    assert!(closed.len() == 3 && closed.iter().all(|row| row["closed"] == true), "{closed:?}");
    assert_eq!(
        (again(&mut old), again(&mut mapped), again(&mut quic)),
        ("broken".into(), "broken".into(), "broken".into())
    );
    assert_eq!((again(&mut old), again(&mut mapped), again(&mut new)), ("echo".into(), "echo".into(), "echo".into()));
    eventually("nothing bypasses Egret any more", || bypasses(&lab, &[]).is_empty());
    assert_eq!(echo.sources(), [address(NODE), address(EGRESS)]);
}

#[test]
fn what_the_hooks_let_pass_is_found_with_the_process_and_the_cause() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let config = lab.configure(&format!("{PARTNER}    fail: open\n"));
    lab.egret(&config, &[]).kill();
    let mut gone = client(&lab, "203.0.113.7");
    let _egret = lab.egret(&config, &[]);
    let device = CLIENT.replace(
        "    s.settimeout(30)\n",
        "    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'node0\\0')\n",
    );
    let mut bound = lab.converse(&device.replace("ADDRESS", "203.0.113.7"));
    assert_eq!(bound.line(), "echo");
    eventually("both are found", || causes(&lab).len() == 2);
    let rows = bypasses(&lab, &[]);
    let mut causes: Vec<_> = rows.iter().map(|row| row["cause"].as_str().unwrap()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["bound_device_open", "gateway_gone_open"]);
    for row in &rows {
        let is_known = row["command"] == "python3" && row["pid"].as_u64().is_some_and(|pid| pid > 0);
        assert!(is_known && row["remedy"].as_str().unwrap().contains("fail: closed"), "{row}");
    }
    assert_eq!(echo.sources(), [address(NODE)]);

    // The lab names no DNS server, which is another finding.
    let doctor = lab.try_cli(&["doctor", "--socket", lab.socket().to_str().unwrap()]).stdout;
    let doctor = String::from_utf8_lossy(&doctor).into_owned();
    assert!(doctor.contains("2 connections to captured destinations not through Egret"), "{doctor}");
    let metrics = || String::from_utf8(lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout).unwrap();
    let text = metrics();
    assert!(text.contains("egret_bypasses_open{cause=\"gateway_gone_open\"} 1"), "{text}");
    assert!(bypasses(&lab, &["--close"]).iter().all(|row| row["closed"] == true));
    eventually("all are gone", || bypasses(&lab, &[]).iter().all(|row| row["cause"] == "bound_device_open"));
    assert!(metrics().contains("egret_bypasses_total{cause=\"gateway_gone_open\"} 1"));
    assert_eq!(again(&mut gone), "broken");
    assert_eq!((again(&mut gone), again(&mut bound)), ("echo".into(), "broken".into()));
}

#[test]
fn connections_in_other_network_namespaces_are_found_and_closed_there() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let mut node = client(&lab, "203.0.113.7");
    // In the network namespace of the internet, where the third party is on the loopback.
    let log = lab.directory().join("foreign");
    let program = CLIENT.replace("ADDRESS", "203.0.113.7");
    let mut command = lab.foreign_workload("python3", &["-c", &program]);
    let output = std::fs::File::create(&log).unwrap();
    let mut foreign = command.stdin(Stdio::piped()).stdout(output).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    eventually("it is connected", || said() == "echo\n");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let rows = bypasses(&lab, &[]);
    let mut facts: Vec<_> =
        rows.iter().map(|row| (row["cause"].as_str().unwrap(), row["owner"].as_str().unwrap())).collect();
    facts.dedup();
    assert_eq!((rows.len(), facts), (2, vec![("older", "workload.service")]));
    assert_ne!(rows[0]["network_namespace"], rows[1]["network_namespace"]);
    assert!(bypasses(&lab, &["--close"]).iter().all(|row| row["closed"] == true));
    writeln!(foreign.stdin.as_mut().unwrap(), "again").unwrap();
    eventually("it is broken", || said() == "echo\nbroken\n");
    assert_eq!(again(&mut node), "broken");
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

#[test]
fn a_connection_to_an_address_that_egret_did_not_know_yet_is_found_when_it_does() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 1, &["203.0.113.7"]);
    let echo = lab.third_party("203.0.113.8", 7000, Behaviour::Echo);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    // As one that asked a DNS server over HTTPS would: no DNS query that Egret sees has this address.
    let mut caller = client(&lab, "203.0.113.8");
    assert_eq!(causes(&lab), [""; 0]);
    dns.set("api.partner.example", 1, &["203.0.113.8"]);
    eventually("it is found", || causes(&lab) == ["address_not_known"]);
    assert_eq!(echo.sources(), [address(NODE)]);
    assert_eq!(bypasses(&lab, &["--close"])[0]["closed"], true);
    assert_eq!((again(&mut caller), again(&mut caller)), ("broken".into(), "echo".into()));
    assert_eq!(echo.sources(), [address(NODE), address(EGRESS)]);
}

#[test]
fn callers_outside_the_captured_cgroup_bypass_nothing() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let mut outside = lab.converse_in(&egret_tests::cgroup_root(), &CLIENT.replace("ADDRESS", "203.0.113.7"));
    assert_eq!(outside.line(), "echo");
    let mut inside = client(&lab, "203.0.113.7");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(bypasses(&lab, &["--close"]).len(), 1);
    assert_eq!((again(&mut outside), again(&mut inside)), ("echo".into(), "broken".into()));
}

#[test]
fn an_mptcp_connection_is_captured_or_found() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let mptcp = CLIENT.replace("AF_INET)", "AF_INET, socket.SOCK_STREAM, 262)").replace("ADDRESS", "203.0.113.7");
    let mut old = lab.converse(&mptcp);
    assert_eq!(old.line(), "echo");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let mut new = lab.converse(&mptcp);
    assert_eq!(new.line(), "echo");
    assert_eq!(causes(&lab), ["older"]);
    assert_eq!(echo.sources(), [address(NODE), address(EGRESS)]);
    assert_eq!((again(&mut old), again(&mut new)), ("echo".into(), "echo".into()));
}
