//! What happens to many connections at once when something happens to Egret.

use std::net::IpAddr;

use egret_tests::{Behaviour, Conversation, EGRESS, Lab, NODE, eventually};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// Sixteen clients, each in a thread, that connect, ask and hang up again and again. Told to end, it says how many
/// calls failed, three of the failures, and whether every client got through.
pub(crate) fn clients(lab: &Lab) -> Conversation {
    let program = r#"
import socket, sys, threading
stop, failed, done = threading.Event(), [], [0] * 16
def run(n):
    while not stop.is_set():
        try:
            s = socket.create_connection(("203.0.113.7", 80), timeout=20)
            s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
            said = s.recv(1000)
            if b"200 OK" not in said:
                failed.append(said)
            s.close()
            done[n] += 1
        except OSError as e:
            failed.append(repr(e))
threads = [threading.Thread(target=run, args=(n,)) for n in range(16)]
[t.start() for t in threads]
sys.stdin.readline()
stop.set()
[t.join() for t in threads]
print(len(failed), failed[:3], min(done) > 0)
"#;
    lab.converse(program)
}

pub(crate) fn egress() -> [IpAddr; 1] {
    [EGRESS.parse().unwrap()]
}

#[test]
fn heavy_twenty_take_overs_lose_nothing_and_change_no_address() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let mut clients = clients(&lab);
    for _ in 0..20 {
        let next = lab.egret(&config, &["--persist"]);
        egret.ended();
        egret = next;
    }
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");
    assert_eq!(partner.sources(), egress());
    assert_eq!(lab.json(&["status"])["generation"], 21);
}

#[test]
fn heavy_fifty_reloads_lose_nothing() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let mut clients = clients(&lab);
    for number in 1..=50 {
        // Another API before it: the partner's index changes, and rows of the kernel's table come and go.
        let other = format!("  - name: other{number}\n    hosts: [other{number}.example]\n    ports: [{number}]\n");
        lab.configure(&if number % 2 == 0 { format!("{PARTNER}{other}") } else { format!("{other}{PARTNER}") });
        eventually("the change is live", || lab.json(&["status"])["generation"] == number + 1);
    }
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");
    assert_eq!(partner.sources(), egress());
}

#[test]
fn heavy_a_kill_lets_nothing_out_where_the_api_fails_closed() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut clients = clients(&lab);
    // Until Egret is there the clients are refused by the partner: what counts begins here.
    let egret = lab.egret(&config, &["--persist"]);
    eventually("a client got through", || partner.seen().last().is_some_and(|seen| seen.source == egress()[0]));
    let before = partner.seen().iter().rposition(|seen| seen.source != egress()[0]);
    egret.kill();
    let again = lab.egret(&config, &["--persist"]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    again.kill();
    clients.tell("end");
    clients.line();
    assert_eq!(partner.seen().iter().rposition(|seen| seen.source != egress()[0]), before);
}

#[test]
fn heavy_a_kill_lets_all_go_direct_where_the_api_fails_open() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(&format!("{PARTNER}    fail: open\n"));
    let egret = lab.egret(&config, &["--persist"]);
    let mut clients = clients(&lab);
    eventually("a client got through", || !partner.seen().is_empty());
    assert_eq!(partner.sources(), egress());
    egret.kill();
    eventually("a client went direct", || partner.sources().contains(&NODE.parse().unwrap()));
    let _again = lab.egret(&config, &["--persist"]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    clients.tell("end");
    clients.line();
    let gone = lab.json(&["inspect", "decisions"]);
    assert!(gone.as_array().unwrap().iter().any(|row| row["reason"] == "gateway_gone_open"), "{gone}");
}

#[test]
fn a_running_flow_goes_on_in_the_old_process_which_says_how_long() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let config = lab.configure(&format!("{PARTNER}drain: 30s\n"));
    let old = lab.egret(&config, &["--persist"]);
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 7000), timeout=30)
while True:
    s.sendall(b"x")
    print(s.recv(1).decode(), flush=True)
    if sys.stdin.readline() == "":
        break
"#;
    let mut flow = lab.converse(program);
    assert_eq!(flow.line(), "x");
    let _new = lab.egret(&config, &["--persist"]);
    eventually("the old process drains", || lab.json(&["status"])["draining"][0]["flows"] == 1);
    let draining = lab.json(&["status"])["draining"][0].clone();
    assert_eq!(draining["pid"], old.pid());
    assert!(draining["seconds_left"].as_u64().unwrap() <= 30, "{draining}");
    flow.tell("again");
    assert_eq!(flow.line(), "x");
    drop(flow);
    old.ended();
    eventually("nothing drains any more", || lab.json(&["status"])["draining"].as_array().unwrap().is_empty());
    assert_eq!(echo.sources(), egress());
}

#[test]
fn a_flow_that_outlasts_the_drain_is_cut() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let config = lab.configure(&format!("{PARTNER}drain: 100ms\n"));
    let old = lab.egret(&config, &["--persist"]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 7000), timeout=30)
s.sendall(b"x")
print(s.recv(1).decode(), flush=True)
try:
    print("ended" if s.recv(1) == b"" else "more", flush=True)
except ConnectionResetError:
    print("ended", flush=True)
"#;
    let mut flow = lab.converse(program);
    assert_eq!(flow.line(), "x");
    let _new = lab.egret(&config, &["--persist"]);
    assert_eq!(flow.line(), "ended");
    old.ended();
}

#[test]
fn source_ports_that_run_out_are_a_clear_refusal() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let narrow = "echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range";
    assert!(lab.gateway("sh", &["-c", narrow]).status().unwrap().success());
    // The callers bring ports of their own: it is Egret that has two.
    let program = r#"
import socket
held = []
for port in (5001, 5002, 5003):
    s = socket.socket()
    s.settimeout(20)
    s.bind(("", port))
    s.connect(("203.0.113.7", 7000))
    s.sendall(b"x")
    try:
        print(s.recv(1).decode(), end=" ")
    except ConnectionResetError:
        print("reset", end=" ")
    held.append(s)
"#;
    assert_eq!(lab.python(program, &[]), "x x reset");
    assert_eq!(echo.seen().len(), 2);
    eventually("the record says why", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"ports_exhausted\"")
    });
}
