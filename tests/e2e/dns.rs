//! DNS queries of callers go through Egret, and no caller notices: neither by what it gets nor by whom it gets it from.

use egret_tests::{DNS, Lab, eventually};

use crate::PARTNER;

/// Words of the DNS clients below.
pub(crate) const CLIENT: &str = r#"
import random, socket, struct, sys

def query(name, kind=1, ident=None):
    ident = random.randrange(65536) if ident is None else ident
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)

def addresses(data):
    ident, flags, questions, answers = struct.unpack(">HHHH", data[:8])
    at = 12
    def skip(at):
        while True:
            length = data[at]
            if length >= 192: return at + 2
            at += 1 + length
            if length == 0: return at
    for _ in range(questions): at = skip(at) + 4
    found = []
    for _ in range(answers):
        at = skip(at)
        kind, _, _, length = struct.unpack(">HHIH", data[at:at + 10])
        at += 10
        if kind in (1, 28): found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data[at:at + length]))
        at += length
    return flags & 15 or found
"#;

/// The second DNS server, and the one over IPv6.
const SECOND: &str = "203.0.113.15";
pub(crate) const V6: &str = "2001:db8:2::7";

/// How many queries the hooks have sent to the forwarder.
pub(crate) fn forwarded(lab: &Lab) -> u64 {
    lab.json(&["status"])["kernel"]["dns_forwarded"].as_u64().unwrap()
}

/// Runs a client that asks DNS servers itself; returns what it printed. So many of its queries, at least, are forwarded.
fn ask(lab: &Lab, program: &str, queries: u64) -> String {
    let before = forwarded(lab);
    let said = lab.python(&format!("{CLIENT}{program}"), &[DNS, SECOND, V6]);
    assert!(forwarded(lab) - before >= queries, "{queries}");
    said
}

/// A lab whose servers give different addresses for one name, so that a response says who gave it.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.dns().set("host.example", 60, &["198.51.100.1", "2001:db8:9::1"]);
    lab.dns_at(SECOND).set("host.example", 60, &["198.51.100.2"]);
    lab.dns_at(V6).set("host.example", 60, &["198.51.100.6"]);
    lab
}

#[test]
fn a_connected_socket_gets_the_response_of_its_server_and_sees_it_as_its_peer() {
    let lab = lab();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
for server, family in ((sys.argv[1], socket.AF_INET), ("::ffff:" + sys.argv[2], socket.AF_INET6), (sys.argv[3], socket.AF_INET6)):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((server, 53))
    s.send(query("host.example"))
    data, peer = s.recvfrom(4096)
    print(addresses(data), peer[:2], s.getpeername()[:2])
"#;
    let expected = "['198.51.100.1'] ('203.0.113.16', 53) ('203.0.113.16', 53)\n\
                    ['198.51.100.2'] ('::ffff:203.0.113.15', 53) ('::ffff:203.0.113.15', 53)\n\
                    ['198.51.100.6'] ('2001:db8:2::7', 53) ('2001:db8:2::7', 53)";
    assert_eq!(ask(&lab, program, 3), expected);
}

#[test]
fn one_socket_asks_two_servers_and_each_response_comes_from_its_own() {
    let lab = lab();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
for family, prefix in ((socket.AF_INET, ""), (socket.AF_INET6, "::ffff:")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    servers = [prefix + sys.argv[1], prefix + sys.argv[2]] + ([sys.argv[3]] if prefix else [])
    for ident, server in enumerate(servers * 2):
        s.sendto(query("host.example", ident=ident), (server, 53))
    got = sorted((peer[0], addresses(data), peer[1]) for data, peer in (s.recvfrom(4096) for _ in servers * 2))
    print(got[::2], got[::2] == got[1::2])
"#;
    let expected = "[('203.0.113.15', ['198.51.100.2'], 53), ('203.0.113.16', ['198.51.100.1'], 53)] True\n\
                    [('2001:db8:2::7', ['198.51.100.6'], 53), ('::ffff:203.0.113.15', ['198.51.100.2'], 53), \
                    ('::ffff:203.0.113.16', ['198.51.100.1'], 53)] True";
    assert_eq!(ask(&lab, program, 10), expected);
}

#[test]
fn a_socket_with_a_ninth_server_asks_it_directly() {
    let lab = lab();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
for number in range(1, 9):
    s.sendto(query("host.example"), ("203.0.113.%d" % number, 53))
s.sendto(query("host.example"), (sys.argv[1], 53))
data, peer = s.recvfrom(4096)
while peer[0] != sys.argv[1]:
    data, peer = s.recvfrom(4096)
print(addresses(data), peer)
"#;
    assert_eq!(ask(&lab, program, 8), "['198.51.100.1'] ('203.0.113.16', 53)");
    assert_eq!(lab.json(&["status"])["kernel"]["dns_no_room"], 1);
}

#[test]
fn what_the_forwarder_does_not_understand_arrives_byte_for_byte() {
    let lab = lab();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    // Asked directly, by one whom the hooks do not redirect, the server says the same.
    let program = r#"
queries = [
    query("hOsT.eXaMpLe", ident=7), query("nowhere.example", ident=8), query("host.example", 28, ident=9),
    query("host.example", ident=10)[:-4] + struct.pack(">HH", 65280, 1),
    query("host.example", ident=11)[:10] + struct.pack(">H", 1) + query("host.example")[12:] + b"\0\0\x29\x10\0\0\0\0\0\0\0",
]
def ask(source):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("192.0.2.1", source))
    s.settimeout(5)
    for query in queries: s.sendto(query, (sys.argv[1], 53))
    return sorted(s.recv(4096) for _ in queries)
print(ask(0) == ask(53))
"#;
    assert_eq!(ask(&lab, program, 5), "True");
}

#[test]
fn pipelined_queries_over_tcp_and_a_truncated_response_are_carried() {
    let lab = Lab::new();
    let dns = lab.dns();
    let many: Vec<_> = (1..=60).map(|number| format!("198.51.100.{number}")).collect();
    dns.set("many.example", 60, &many.iter().map(String::as_str).collect::<Vec<_>>());
    dns.set("host.example", 60, &["198.51.100.1"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
s = socket.create_connection((sys.argv[1], 53), 5)
names = ["host.example", "many.example", "nowhere.example"]
for ident, name in enumerate(names):
    message = query(name, ident=ident)
    s.sendall(struct.pack(">H", len(message)) + message)
f = s.makefile("rb")
got = {}
for _ in names:
    data = f.read(struct.unpack(">H", f.read(2))[0])
    found = addresses(data)
    got[names[data[1]]] = found if isinstance(found, int) else len(found)
print(sorted(got.items()), s.getpeername())
"#;
    let expected = "[('host.example', 1), ('many.example', 60), ('nowhere.example', 3)] ('203.0.113.16', 53)";
    assert_eq!(ask(&lab, program, 1), expected);
    let asked = dns.asked_by_tcp();
    let glibc = "print(len({a[4][0] for a in socket.getaddrinfo('many.example', 80)}))";
    assert_eq!(ask(&lab, glibc, 1), "60");
    assert!(dns.asked_by_tcp() > asked, "it was truncated first");
}

#[test]
fn a_caller_learns_at_once_that_there_is_no_server() {
    let lab = lab();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
for family, server in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1"), (socket.AF_INET, "203.0.113.14")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(4)
    s.connect((server, 53))
    s.send(query("host.example"))
    try: s.recv(4096)
    except ConnectionRefusedError: print("refused", end=" ")
"#;
    assert_eq!(ask(&lab, program, 4), "refused refused refused refused");
}

#[test]
fn dns_goes_directly_once_the_forwarder_is_killed_or_hangs_and_when_it_is_off() {
    let lab = lab();
    let ask_glibc = || {
        let program = "import socket\nprint(sorted({a[4][0] for a in socket.getaddrinfo('host.example', 80)}))";
        assert_eq!(lab.python(program, &[]), "['198.51.100.1', '2001:db8:9::1']");
    };
    let resolv = lab.directory().join("resolv.conf");
    std::fs::write(resolv, format!("nameserver {DNS}\noptions timeout:1 attempts:1\n")).unwrap();
    let config = lab.configure(PARTNER);
    let egret = lab.egret(&config, &["--persist"]);
    ask_glibc();
    assert!(forwarded(&lab) > 0);
    egret.pause();
    // A lookup that began before it counts as hanging is lost.
    let lookup = "import socket\nsocket.getaddrinfo('host.example', 80)";
    eventually("lookups succeed", || lab.run("python3", &["-c", lookup]).status.success());
    egret.resume();
    egret.kill();
    ask_glibc();
    lab.egret(&config, &["--persist"]).stop();
    ask_glibc();
    let egret = lab.egret(&config, &[]);
    ask_glibc();
    egret.stop();
    ask_glibc();
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}dns: {{forward: false}}\n")), &[]);
    ask_glibc();
    assert_eq!(forwarded(&lab), 0);
}

#[test]
fn egrets_own_queries_do_not_go_through_its_forwarder() {
    let lab = Lab::new();
    let dns = lab.dns();
    // Too long for a datagram: Egret asks again over TCP.
    let many: Vec<_> = (1..=60).map(|number| format!("198.51.100.{number}")).collect();
    dns.set("api.partner.example", 1, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    eventually("Egret has resolved the name again", || dns.asked_by_tcp() > 2);
    assert_eq!(forwarded(&lab), 0);
    assert_ne!(lab.json(&["status"])["kernel"]["exempt"], 0);
}
