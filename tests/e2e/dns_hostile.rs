//! Responses that are forged, broken or endless, and callers that flood: nothing is captured for them, and nobody else waits.

use egret_tests::{Conversation, DNS, Lab, Mood, eventually};

use crate::PARTNER;
use crate::dns::forwarded;

const NAME: &str = "api.partner.example";

/// Words of the DNS clients below.
const CLIENT: &str = r#"
import random, socket, struct, sys
def query(name, ident=7):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
"#;

/// Asks over more connected sockets than one caller has places for.
pub(crate) const CROWD: &str = include_str!("../clients/dns/crowd.py");

/// A DNS server that is silent.
const SILENT: &str = "203.0.113.15";

/// Which addresses the kernel captures.
fn captured(lab: &Lab) -> Vec<String> {
    let redirects = lab.json(&["inspect", "redirects"]);
    redirects.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn forged_responses_reach_neither_the_caller_nor_the_table() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 60, &["203.0.113.7"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    dns.set(NAME, 60, &["203.0.113.8"]);
    // Before each response come some with another identifier, another question, from another server and without sense.
    dns.is(Mood::Forged("203.0.113.66".parse().unwrap()));
    let program = format!(
        r#"{CLIENT}
for connects in (True, False):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    if connects: s.connect((sys.argv[1], 53))
    s.sendto(query("{NAME}"), *([] if connects else [(sys.argv[1], 53)])) if not connects else s.send(query("{NAME}"))
    print(socket.inet_ntoa(s.recv(512)[-4:]))
"#
    );
    assert_eq!(lab.python(&program, &[DNS]), "203.0.113.8\n203.0.113.8");
    let captured = captured(&lab);
    assert!(
        captured.contains(&"203.0.113.8".to_owned()) && !captured.contains(&"203.0.113.66".to_owned()),
        "{captured:?}"
    );
    assert!(lab.json(&["status"])["dns"]["response_mismatched"].as_u64().unwrap() >= 6);
}

#[test]
fn broken_responses_are_relayed_and_teach_nothing() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set(NAME, 60, &["203.0.113.7"]);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    dns.set(NAME, 60, &["203.0.113.66"]);
    let program = format!(
        r#"{CLIENT}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(query("{NAME}"), (sys.argv[1], 53))
print(len(s.recv(65535)))
"#
    );
    let whole: usize = {
        dns.is(Mood::Cut(0));
        lab.python(&program.replace(NAME, "other.partner.example"), &[DNS]).parse().unwrap()
    };
    // The last byte of the address is missing, the address, the type; the record counts more bytes than there are.
    for cut in [1, 4, 10] {
        dns.is(Mood::Cut(cut));
        assert_ne!(lab.python(&program, &[DNS]), whole.to_string());
    }
    dns.is(Mood::Well);
    // Names that lead to each other.
    dns.alias(NAME, "a.partner.example");
    dns.alias("a.partner.example", NAME);
    lab.python(&program, &[DNS]);
    // As long as a datagram can be.
    dns.is(Mood::Padded);
    dns.set(NAME, 60, &["203.0.113.9"]);
    assert_eq!(lab.python(&program, &[DNS]), "65507");
    let captured = captured(&lab);
    assert!(!captured.contains(&"203.0.113.66".to_owned()), "{captured:?}");
    drop(egret);
}

#[test]
fn a_caller_whose_server_is_silent_is_relieved_of_the_forwarder_and_others_are_not() {
    let lab = Lab::new();
    lab.dns().set("host.example", 60, &["198.51.100.1"]);
    lab.dns_at("203.0.113.15").is(Mood::Silent);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = format!(
        r#"{CLIENT}
silent = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(400)]
for s in silent: s.sendto(query("host.example"), ("203.0.113.15", 53))
for _ in range(50):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    s.sendto(query("host.example"), (sys.argv[1], 53))
    try: s.recv(512)
    except TimeoutError:
        # Once more, as resolvers do.
        s.sendto(query("host.example"), (sys.argv[1], 53))
        s.recv(512)
print("answered")
"#
    );
    assert_eq!(lab.python(&program, &[DNS]), "answered");
    assert_ne!(lab.json(&["status"])["kernel"]["dns_no_room"], 0);
    let before = forwarded(&lab);
    let other = lab.workload_cgroup().with_file_name("other.service");
    std::fs::create_dir(&other).unwrap();
    let mut other = lab.converse_in(&other, "import socket\nprint(socket.gethostbyname('host.example'))");
    assert_eq!(other.line(), "198.51.100.1");
    assert!(forwarded(&lab) > before);
}

/// A program that floods the node's server with queries for random names: listed ones below a wildcard, and others. It says when it
/// has begun and how many it has sent.
fn flood(lab: &Lab, connects: bool) -> Conversation {
    // As resolvers do, it connects again after an error.
    let connect = if connects { "s.connect((server, 53))" } else { "pass" };
    let send = if connects { "s.send(q)" } else { "s.sendto(q, (server, 53))" };
    lab.converse(&format!(
        r#"{CLIENT}
server = "{DNS}"
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
for s in sockets:
    s.setblocking(False)
    {connect}
print("begins", flush=True)
sent = 0
for n in range(100_000):
    s = sockets[n % 16]
    q = query("%x.%s" % (random.getrandbits(64), ("flood.example", "wild.example")[n % 2]), n & 0xffff)
    try:
        {send}
        sent += 1
    except OSError: {connect}
    if n % 16 == 0:
        for s in sockets:
            try:
                while True: s.recv(512)
            except BlockingIOError: pass
            except OSError: {connect}
print(sent, flush=True)
"#
    ))
}

fn a_flood_slows_nobody(connects: bool) {
    let lab = Lab::new();
    lab.dns().everything_below("wild.example");
    // Another server than the flooded one, which may lose queries by itself: what is lost here, Egret has lost.
    const OTHER: &str = "203.0.113.15";
    let dns = lab.dns_at(OTHER);
    dns.set("host.example", 60, &["198.51.100.1"]);
    dns.set(NAME, 60, &["203.0.113.7"]);
    std::fs::write(lab.directory().join("resolv.conf"), format!("nameserver {OTHER}\noptions timeout:2 attempts:2\n"))
        .unwrap();
    let egret = lab.egret(
        &lab.configure(&format!("{PARTNER}  - name: wild\n    hosts: ['*.wild.example']\n    ports: [443]\n")),
        &[],
    );
    let other = lab.workload_cgroup().with_file_name("other.service");
    std::fs::create_dir(&other).unwrap();
    let program = r#"
import socket, sys, threading
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), done.set()), daemon=True).start()
count = failed = 0
while not done.is_set() or count < 20:
    try:
        socket.gethostbyname("host.example")
        count += 1
    except OSError:
        failed += 1
print(failed, count > 0)
"#;
    let mut flooding = flood(&lab, connects);
    assert_eq!(flooding.line(), "begins");
    let mut other = lab.converse_in(&other, program);
    let sent: u64 = flooding.line().parse().unwrap();
    assert!(sent > 50_000, "{sent}");
    other.tell("end");
    assert_eq!(other.line(), "0 True");
    // The flood has its share of names and addresses, and the listed host its row.
    let hosts = lab.json(&["inspect", "hosts"]);
    assert!(hosts.as_array().unwrap().len() <= 65_536 / 4 + 2, "{}", hosts.as_array().unwrap().len());
    assert!(captured(&lab).contains(&"203.0.113.7".to_owned()));
    let memory = egret.peak_memory();
    assert!(memory < 400 << 20, "{memory}");
    eventually("the queries have ended", || {
        lab.run("python3", &["-c", "import socket; socket.gethostbyname('host.example')"]).status.success()
    });
}

#[test]
fn a_connected_socket_whose_queries_find_no_room_is_told_and_asks_directly_when_it_connects_again() {
    let lab = Lab::new();
    lab.dns().set("host.example", 60, &["198.51.100.1"]);
    lab.dns_at(SILENT).is(Mood::Silent);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.python(CROWD, &[SILENT, DNS]), "told\nTrue\ntold\nTrue");
    assert_ne!(lab.json(&["status"])["dns"]["disconnected_no_room"], 0);
}

#[test]
fn heavy_a_flood_of_queries_from_unconnected_sockets_slows_nobody() {
    a_flood_slows_nobody(false);
}

#[test]
fn heavy_a_flood_of_queries_from_connected_sockets_slows_nobody() {
    a_flood_slows_nobody(true);
}
