//! What happens to many connections at once when something happens to Egret.

use std::net::IpAddr;

use egret_tests::{Conversation, EGRESS, Lab, NODE, eventually};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// Sixteen clients, each in a thread, that connect, ask and hang up again and again. Told to end, it says how many
/// calls failed, three of the failures, and whether every client got through.
fn clients(lab: &Lab) -> Conversation {
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

fn egress() -> [IpAddr; 1] {
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
