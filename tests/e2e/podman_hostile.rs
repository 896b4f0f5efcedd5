//! Callers in real containers, with all rights that a container can have on its network, who want past Egret.

use std::fs;

use egret_tests::{EGRESS, Lab, NODE, eventually};
use serde_json::Value;

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// The port of Egret's listener for IPv4.
fn port(lab: &Lab) -> String {
    lab.json(&["status"])["listeners"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn root_of_a_container_gets_nowhere_with_marks_cgroups_or_the_listeners_of_others() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    podman.start("other", &[]);
    // All capabilities, and its own part of the hierarchy of cgroups to write to.
    podman.start("hostile", &["--privileged"]);
    assert_eq!(podman.curl_in("hostile", URL), (403, NODE.to_owned()), "past Egret");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(podman.curl_in("other", URL), (200, EGRESS.to_owned()));
    assert_eq!(podman.curl_in("hostile", URL), (200, EGRESS.to_owned()));
    let address = |name| podman.podman(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", name]);
    let program = r#"
import os, socket, struct, sys
port, *others = sys.argv[1:]
def ask(mark=0):
    s = socket.socket()
    s.settimeout(10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", mark))
    try:
        s.connect(("203.0.113.7", 80))
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: s.recv(4096), b"")).rsplit(b"\r\n", 1)[1].decode().strip()
    except OSError as error:
        return type(error).__name__
def reach(address):
    try:
        socket.create_connection((address, int(port)), 5)
        return "connected"
    except OSError as error:
        return type(error).__name__
print("marks", {ask(mark) for mark in [1, 0x1337, 0xffffffff] + [1 << bit for bit in range(32)]})
print("listeners", {reach(address) for address in others + ["127.0.0.1", "10.88.0.1", "192.0.2.1"]})
os.mkdir("/sys/fs/cgroup/egret")
open("/sys/fs/cgroup/egret/cgroup.procs", "w").write("0")
print("cgroup", ask())
"#;
    let said = podman.python_in("hostile", program, &[&port(&lab), &address("other"), &address("hostile")]);
    let expected = format!("marks {{'{EGRESS}'}}\nlisteners {{'ConnectionRefusedError'}}\ncgroup {EGRESS}");
    assert_eq!(said, expected);
    assert!(partner.sources()[1..].iter().all(|source| source.to_string() == EGRESS));
    let hostile = podman.id("hostile");
    eventually("all of them are known as the container", || {
        let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["container"] == *hostile && line["outcome"] == "ok").count() == 37
    });
}

#[test]
fn a_program_that_has_egrets_port_in_a_container_before_egret_comes_gets_nothing() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    // All of the ports from which Egret chooses.
    let program = r#"
import select, socket, sys
listeners = [socket.create_server(("0.0.0.0", port)) for port in range(61000, 65536)]
print("listens", flush=True)
sys.stdin.readline()
poll = select.poll()
for listener in listeners: poll.register(listener, select.POLLIN)
print(poll.poll(0), flush=True)
"#;
    let mut hostile = podman.converse(&["--name", "hostile"], program);
    assert_eq!(hostile.line(), "listens");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    eventually("its connections are refused", || podman.curl_in("hostile", URL).0 == 0);
    assert_eq!(podman.curl(&[], URL), (200, EGRESS.to_owned()), "another container");
    hostile.tell("");
    assert_eq!(hostile.line(), "[]");
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}
