//! What a DNS response says of a listed host is in force before its caller gets the response.

use std::net::IpAddr;

use egret_tests::{Behaviour, DNS, EGRESS, Lab};

use crate::PARTNER;

const NAME: &str = "api.partner.example";

#[test]
fn heavy_no_connection_escapes_that_is_made_at_once_after_a_response_with_a_new_address() {
    const ROUNDS: usize = 1_000;
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
import socket
seen = set()
for _ in range({ROUNDS}):
    address = socket.getaddrinfo("{NAME}", 7000, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    with socket.create_connection(address, 10) as s:
        seen.add((address[0], s.recv(99).decode().strip()))
print(len({{address for address, _ in seen}}), {{source for _, source in seen}})
"#
    );
    assert_eq!(lab.python(&program, &[]), format!("{ROUNDS} {{'{EGRESS}'}}"));
    assert_eq!(everywhere.sources(), [EGRESS.parse::<IpAddr>().unwrap()]);
    assert_eq!(lab.json(&["status"])["dns"]["learnt_late"], 0);
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
