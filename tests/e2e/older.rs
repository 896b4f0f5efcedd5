//! Connections that were open before Egret captured their destination.

use egret_tests::{Behaviour, EGRESS, Lab, NODE, eventually};

use crate::PARTNER;

/// Connects, then for each line it hears: says one byte and prints whether it came back; connects anew if not.
const CLIENT: &str = r#"
import socket, sys
def connect():
    return socket.create_connection(("203.0.113.7", 7000), timeout=30)
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

#[test]
fn connections_older_than_egret_are_listed_and_closed_on_demand() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let mut old = lab.converse(CLIENT);
    assert_eq!(old.line(), "echo");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let mut new = lab.converse(CLIENT);
    assert_eq!(new.line(), "echo");
    let node: std::net::IpAddr = NODE.parse().unwrap();
    let egress: std::net::IpAddr = EGRESS.parse().unwrap();
    assert_eq!(echo.sources(), [node, egress]);

    let rows = lab.json(&["inspect", "older"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 1, "neither Egret's own nor captured ones: {rows:?}");
    assert_eq!((&rows[0]["api"], &rows[0]["remote"]), (&"partner".into(), &"203.0.113.7:7000".into()));
    assert!(rows[0]["local"].as_str().unwrap().starts_with(&format!("{NODE}:")), "{rows:?}");
    old.tell("again");
    assert_eq!(old.line(), "echo", "listing closes nothing");

    let closed = lab.json(&["inspect", "older", "--close"]);
    assert_eq!(closed[0]["closed"], true, "{closed}");
    old.tell("again");
    assert_eq!(old.line(), "broken");
    old.tell("again");
    assert_eq!(old.line(), "echo");
    new.tell("again");
    assert_eq!(new.line(), "echo");
    eventually("nothing is older any more", || lab.json(&["inspect", "older"]).as_array().unwrap().is_empty());
    assert_eq!(echo.sources(), [node, egress]);
}
