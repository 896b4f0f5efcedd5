//! What a person sees of network namespaces, and what becomes of those in which Egret cannot listen.

use std::process::Command;

use egret_tests::{Container, Conversation, EGRESS, Lab, Mood, eventually, executable};
use serde_json::Value;

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// Processes that each enter a network namespace of their own, ask there, and stay: the first line that this hears is their number. Prints
/// how many got each outcome, then that of one more for each further line.
const STAY: &str = r#"
import collections, ctypes, fcntl, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def ask():
    try:
        s = socket.create_connection(("203.0.113.7", 80), 20)
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: s.recv(4096), b"")).split(b" ")[1].decode()
    except OSError as error:
        return type(error).__name__
def one():
    reader, writer = os.pipe()
    if os.fork() == 0:
        assert libc.unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", b"lo", 1, b""))
        os.write(writer, ask().encode())
        os.close(writer)
        signal.pause()
    os.close(writer)
    return os.fdopen(reader)
for line in sys.stdin:
    running = [one() for _ in range(int(line))]
    print(dict(collections.Counter(reader.read() for reader in running)), flush=True)
"#;

fn stay(lab: &Lab, number: u32) -> Conversation {
    let mut callers = lab.converse(STAY);
    callers.tell(&number.to_string());
    callers
}

fn rows(lab: &Lab) -> Vec<Value> {
    lab.json(&["inspect", "namespaces"]).as_array().unwrap().clone()
}

fn table(lab: &Lab, what: &[&str]) -> String {
    let socket = lab.socket();
    lab.cli(&[what, &["--socket", socket.to_str().unwrap()]].concat())
}

fn inode(container: &Container<'_>) -> Value {
    let output = container.run("stat", &["-L", "-c", "%i", "/proc/self/ns/net"]);
    String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap().into()
}

#[test]
fn a_person_sees_in_which_namespaces_egret_listens_also_after_a_take_over() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let egret = lab.egret(&config, &["--persist"]);
    assert_eq!(table(&lab, &["inspect", "namespaces"]), "none\n");
    let container = lab.container();
    for _ in 0..2 {
        assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    }
    let all = rows(&lab);
    let [row] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&row["state"], &row["connections"], &row["cause"]), (&"served".into(), &2.into(), &Value::Null));
    assert_eq!(row["network_namespace"], inode(&container));
    assert!(row["workload"].as_str().unwrap().starts_with("container 0000") && row["container"].is_string(), "{row}");
    assert_eq!(row["listeners"], lab.json(&["status"])["listeners"]);
    let text = table(&lab, &["inspect", "namespaces"]);
    assert!(text.contains("container 0000") && text.contains("served"), "{text}");

    let _next = lab.egret(&config, &["--persist"]);
    egret.ended();
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    let later = &rows(&lab)[0];
    for fact in ["network_namespace", "workload", "container", "pid", "state"] {
        assert_eq!(later[fact], row[fact], "{fact}");
    }
    assert_eq!(later["connections"], 3);
    assert!(later["age_seconds"].as_u64() >= row["age_seconds"].as_u64());
}

#[test]
fn a_person_sees_why_egret_cannot_listen_in_a_namespace() {
    let lab = Lab::new();
    let _dns = lab.dns();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    let port = lab.json(&["status"])["listeners"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let mut other = container.converse(&format!(
        "import socket\nlistener = socket.create_server(('', {port}))\nprint('listens', flush=True)\ninput()"
    ));
    assert_eq!(other.line(), "listens");
    assert_eq!(container.curl(URL).0, 0);
    let row = &rows(&lab)[0];
    assert_eq!((&row["state"], &row["cause"]), (&"refused".into(), &"port_taken".into()), "{row}");
    assert_eq!((&row["network_namespace"], &row["listeners"]), (&inode(&container), &Value::Array(Vec::new())));
    assert!(row["remedy"].as_str().unwrap().contains("another port"), "{row}");
    let text = table(&lab, &["doctor"]);
    assert!(text.contains("1 network namespace of callers") && text.contains("port_taken: 1"), "{text}");
    let metrics = String::from_utf8(lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout).unwrap();
    let counted = |line: &str| line.starts_with("egret_network_namespaces_refused_total{cause=\"port_taken\"} ");
    assert!(metrics.lines().any(|line| counted(line) && !line.ends_with(" 0")), "{metrics}");
    assert_eq!(partner.seen(), []);

    other.tell("");
    eventually("egret listens there", || container.curl(URL) == (200, EGRESS.to_owned()));
    let all = rows(&lab);
    assert!(all.len() == 1 && all[0]["state"] == "served", "{all:?}");
    assert!(!table(&lab, &["doctor"]).contains("warning"));
}

#[test]
fn a_container_whose_loopback_device_is_taken_down_fails_at_once_and_is_captured_when_it_is_up_again() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    // Egret leaves a namespace without a process.
    let _stays = container.converse("input()");
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    assert!(container.run("ip", &["link", "set", "lo", "down"]).status.success());
    eventually("egret sees it", || rows(&lab)[0]["cause"] == "loopback_down");
    let refused = |container: &Container<'_>| container.run("curl", &["-s", "-m", "5", URL]).status.code() == Some(7);
    assert!(refused(&container), "at once, not by a timeout");
    assert!(table(&lab, &["inspect", "namespaces"]).contains("ip link set lo up"));
    assert!(container.run("ip", &["link", "set", "lo", "up"]).status.success());
    eventually("it is captured again", || container.curl(URL) == (200, EGRESS.to_owned()));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn an_owner_that_has_its_share_of_namespaces_gets_no_more_also_after_a_take_over_and_takes_none_from_others() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let start = || {
        // As few files as leave 32 namespaces to an owner.
        let mut command = Command::new("prlimit");
        command.args(["--nofile=1024:1024", "--"]).arg(executable());
        command.args(["run", "--persist", "--config"]).arg(&config);
        lab.start_egret_by(command).ready()
    };
    let egret = start();
    let mut callers = stay(&lab, 38);
    assert_eq!(callers.line(), "{'200': 32, 'TimeoutError': 6}");
    let refused = |rows: &[Value]| rows.iter().filter(|row| row["cause"] == "too_many_namespaces").count();
    assert_eq!((rows(&lab).len(), refused(&rows(&lab))), (38, 6));
    assert_eq!(lab.container().curl(URL), (200, EGRESS.to_owned()), "another owner");

    let _next = start();
    egret.ended();
    callers.tell("1");
    assert_eq!(callers.line(), "{'TimeoutError': 1}");
    assert_eq!(refused(&rows(&lab)), 1);
    assert_eq!(lab.container().curl(URL), (200, EGRESS.to_owned()), "another owner");
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn new_namespaces_are_served_while_a_process_that_takes_over_is_slow_to_start() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("slow.partner.example", 60, &["203.0.113.8"]);
    let partner = partner(&lab);
    let config = lab.configure(&format!("{PARTNER}  - name: slow\n    hosts: [slow.partner.example]\n"));
    let egret = lab.egret(&config, &["--persist"]);
    dns.is(Mood::Silent);
    let next = lab.start_egret(&config, &["--persist"]);
    let mut callers = lab.converse(STAY);
    let mut served = 0;
    // The first of these would wait for longer than a connection can.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(2) {
        callers.tell("5");
        assert_eq!(callers.line(), "{'200': 5}");
        served += 5;
        assert!(!next.log().contains("egret: ready"), "it was not slow");
    }
    dns.is(Mood::Well);
    let next = next.ready();
    egret.ended();
    callers.tell("5");
    assert_eq!(callers.line(), "{'200': 5}");
    eventually("all are the new process's", || lab.json(&["status"])["namespaces"] == served + 5);
    assert!(next.log().matches("cannot listen").count() == 0, "{}", next.log());
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}
