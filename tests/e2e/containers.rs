//! Callers in network namespaces of their own: captured from their first connection on, and seen from the egress address.

use egret_tests::{Behaviour, EGRESS, EGRESS_V6, Lab};

use crate::{PARTNER, partner};

#[test]
fn the_first_connection_of_a_container_waits_until_egret_listens_there_and_leaves_from_the_egress_address() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let container = lab.container();
    assert_eq!(container.curl("http://api.partner.example/"), (403, container.address().to_string()), "past Egret");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    let kernel = lab.json(&["status"])["kernel"].clone();
    assert_eq!((&kernel["held"], &kernel["redirected"]), (&1.into(), &1.into()), "{kernel}");
    let sources: Vec<_> = partner.sources().iter().map(ToString::to_string).collect();
    assert!(sources[1..].iter().all(|source| source == EGRESS), "{sources:?}");
}

/// How many namespaces a test makes; more by hand.
fn many() -> u32 {
    std::env::var("EGRET_TEST_NAMESPACES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

const NAMESPACES: &str = include_str!("../clients/namespaces.py");

#[test]
fn heavy_processes_that_connect_as_soon_as_their_namespace_exists_are_all_captured() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let count = many();
    let said = lab.python(NAMESPACES, &[&count.to_string(), "50", "203.0.113.7", "80"]);
    assert_eq!(said, format!("{{'200 {EGRESS}': {count}}}"));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn egret_leaves_a_namespace_whose_processes_are_gone() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let said = lab.python(NAMESPACES, &["3", "3", "203.0.113.7", "80"]);
    assert_eq!(said, format!("{{'200 {EGRESS}': 3}}"));
    let container = lab.container();
    assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    let mut stays = container.converse("input()");
    let namespaces = || lab.json(&["status"])["namespaces"].as_u64().unwrap();
    assert_eq!(namespaces(), 4);
    eventually_slowly("those of the processes are gone", || namespaces() == 1);
    assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    stays.tell("");
}

/// Waits longer than Egret waits between two looks.
fn eventually_slowly(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2 {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(9);
        while std::time::Instant::now() < end {
            if is_so() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    panic!("not in time: {what}");
}

#[test]
fn a_container_follows_the_fail_mode_of_an_api_while_egret_is_dead_and_is_captured_again_after_its_start() {
    for (fail, status) in [("closed", 0), ("open", 403)] {
        let lab = Lab::new();
        let _partner = partner(&lab);
        let container = lab.container();
        let config = lab.configure(&format!("{PARTNER}    fail: {fail}\n"));
        let egret = lab.egret(&config, &[]);
        assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
        egret.kill();
        assert_eq!(container.curl("http://api.partner.example/").0, status, "{fail}");
        let _egret = lab.egret(&config, &[]);
        assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()), "{fail}");
    }
}

#[test]
fn a_take_over_passes_the_listeners_of_containers_on() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let containers = [lab.container(), lab.container()];
    let mut clients: Vec<_> = containers.iter().map(|container| container.converse(ASKS_ON)).collect();
    for _ in 0..3 {
        let next = lab.egret(&config, &["--persist"]);
        egret.ended();
        egret = next;
    }
    for client in &mut clients {
        client.tell("end");
        assert_eq!(client.line(), "[]");
    }
    assert_eq!(lab.json(&["status"])["namespaces"], 2);
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

/// Asks on new connections, until it is told to end; prints what went wrong.
const ASKS_ON: &str = r#"
import http.client, select, sys
wrong = []
while not select.select([sys.stdin], [], [], 0.001)[0]:
    try:
        c = http.client.HTTPConnection("api.partner.example", timeout=10)
        c.request("GET", "/")
        r = c.getresponse()
        if r.status != 200: wrong.append(r.status)
        r.read()
        c.close()
    except Exception as error:
        wrong.append(repr(error))
print(wrong[:3])
"#;

#[test]
fn a_containers_connections_over_ipv6_are_captured() {
    let lab = Lab::new();
    lab.hosts(&[("2001:db8:2::7", "api.partner.example")]);
    let partner = lab.third_party("2001:db8:2::7", 80, Behaviour::Http(vec![EGRESS_V6.parse().unwrap()]));
    let container = lab.container();
    assert_eq!(container.curl("http://api.partner.example/").0, 403, "past Egret");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS_V6.to_owned()));
    assert_eq!(partner.seen().len(), 2);
}

#[test]
fn another_program_on_egrets_port_in_a_container_gets_no_connection_of_others() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let port = lab.json(&["status"])["listeners"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let container = lab.container();
    let program = r#"
import select, socket, sys
port = int(sys.argv[1])
l = socket.create_server(("127.0.0.1", port))
def outcome():
    s = socket.socket()
    s.settimeout(20)
    try:
        s.connect(("203.0.113.7", 80))
        return "connected"
    except OSError as error:
        return type(error).__name__
print(outcome(), outcome(), select.select([l], [], [], 0)[0])
"#;
    // The first one waits for a listener that cannot come; those that follow get the fail mode.
    assert_eq!(container.python(program, &[&port]), "TimeoutError ConnectionRefusedError []");
    assert_eq!(partner.seen(), []);
}

#[test]
fn nobody_in_a_container_connects_to_the_listener_itself_or_leaves_by_quic() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let port = lab.json(&["status"])["listeners"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let container = lab.container();
    assert_eq!(container.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    let program = r#"
import socket, sys
for address in ("127.0.0.1", "0.0.0.0"):
    try:
        socket.create_connection((address, int(sys.argv[1])), 5)
        print("connected")
    except OSError as error:
        print(type(error).__name__)
u = socket.socket(type=socket.SOCK_DGRAM)
try:
    u.sendto(b"x", ("203.0.113.7", 443))
    print("sent")
except OSError as error:
    print(type(error).__name__)
"#;
    assert_eq!(container.python(program, &[&port]), "ConnectionRefusedError\nConnectionRefusedError\nPermissionError");
}
