//! What a DNS response says of a listed host is in force before its caller gets the response.

use std::net::IpAddr;

use egret_tests::{Behaviour, DNS, EGRESS, Lab};

use crate::PARTNER;

const NAME: &str = "api.partner.example";

#[test]
fn heavy_no_connection_escapes_that_is_made_at_once_after_a_response_with_a_new_address() {
    let rounds = std::env::var("EGRET_TEST_ROUNDS")
        .map_or(10_000, |rounds| rounds.parse().expect("EGRET_TEST_ROUNDS: a number"));
    let lab = Lab::new();
    let dns = lab.dns();
    dns.ever_new(NAME);
    lab.internet_ip(&["route", "add", "local", "198.18.0.0/16", "dev", "lo"]);
    let everywhere = lab.third_party("0.0.0.0", 7000, Behaviour::Banner);
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [7000]\n    opaque_ports: [7000]\n",
    );
    let _egret = lab.egret(&config, &[]);
    let program = format!(
        r#"
import multiprocessing, socket
def rounds(count):
    seen = set()
    for _ in range(count):
        address = socket.getaddrinfo("{NAME}", 7000, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        with socket.create_connection(address, 10) as s:
            seen.add((address[0], s.recv(99).decode().strip()))
    return seen
with multiprocessing.Pool(8) as pool:
    seen = set().union(*pool.map(rounds, [{rounds} // 8] * 8, 1))
print(len({{address for address, _ in seen}}), {{source for _, source in seen}})
"#
    );
    assert_eq!(lab.python(&program, &[]), format!("{} {{'{EGRESS}'}}", rounds / 8 * 8));
    assert_eq!(everywhere.sources(), [EGRESS.parse::<IpAddr>().unwrap()]);
    assert_eq!(lab.json(&["status"])["dns"]["learnt_late"], 0);
}

#[test]
fn an_address_is_captured_in_whatever_way_its_name_is_asked_for() {
    let lab = Lab::new();
    let dns = lab.dns();
    lab.internet_ip(&["route", "add", "local", "198.18.0.0/16", "dev", "lo"]);
    let everywhere = lab.third_party("0.0.0.0", 7000, Behaviour::Banner);
    let _egret = lab.egret(
        &lab.configure(
            "  - name: partner\n    hosts: [api.partner.example]\n    ports: [7000]\n    opaque_ports: [7000]\n",
        ),
        &[],
    );
    dns.ever_new(NAME);
    let program = r#"
import socket, struct, sys
server = (sys.argv[1], 53)
def query(ident, name, kind=1, edns=False):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 1 if edns else 0)
    # An OPT record with a cookie (RFC 6891, RFC 7873).
    options = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c" + struct.pack(">HH", 10, 8) + b"\1" * 8 if edns else b""
    return head + labels + b"\0" + struct.pack(">HH", kind, 1) + options
def learns(response):
    # The answer's data is the address: the only record of 198.18.0.0/16 there.
    at = response.index(bytes([0, 4, 198, 18])) + 2
    address = socket.inet_ntoa(response[at:at + 4])
    with socket.create_connection((address, 7000), 10) as s:
        print(s.recv(99).decode().strip())
def udp(*queries):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    for q in queries: s.sendto(q, server)
    return {r[:2]: r for r in (s.recv(4096) for _ in queries)}
def tcp(*queries):
    s = socket.create_connection(server, 5)
    f = s.makefile("rb")
    s.sendall(b"".join(struct.pack(">H", len(q)) + q for q in queries))
    return {r[:2]: r for r in (f.read(struct.unpack(">H", f.read(2))[0]) for _ in queries)}
name, mixed = "api.partner.example", "aPI.pArtNeR.eXAMple"
for ask in (udp, tcp):
    learns(ask(query(1, name))[b"\0\1"])
    learns(ask(query(1, mixed))[b"\0\1"])
    learns(ask(query(1, name, edns=True))[b"\0\1"])
    # Both families at once from one socket, as glibc and musl do.
    learns(ask(query(1, name), query(2, name, kind=28))[b"\0\1"])
    # Several names at once.
    learns(ask(query(1, "nowhere.example"), query(2, name), query(3, "nobody.example"))[b"\0\2"])
"#;
    assert_eq!(lab.python(program, &[DNS]), [EGRESS; 10].join("\n"));
    assert_eq!(everywhere.sources(), [EGRESS.parse::<IpAddr>().unwrap()]);
}

#[test]
fn https_records_of_listed_hosts_lose_what_leads_past_egret_and_those_of_others_do_not() {
    let lab = Lab::new();
    let dns = lab.dns();
    for name in [NAME, "other.example"] {
        dns.https(name, &["h3", "h2"]);
    }
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, struct, sys
def ask(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    s.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 65, 1), (sys.argv[1], 53))
    data = s.recv(4096)
    return [word in data for word in (b"\x02h3", b"\x02h2", b"outer.example")]
print(ask("api.partner.example"), ask("other.example"))
"#;
    assert_eq!(lab.python(program, &[DNS]), "[False, True, False] [True, True, True]");
}
