//! Which sockets' DNS queries go through Egret: those of resolvers on the node do, those that are bound to a device do not.

use std::fs;
use std::path::PathBuf;

use egret_tests::{Behaviour, DNS, EGRESS, EGRESS_V6, Lab, Service, ThirdParty};

use crate::PARTNER;
use crate::dns::{V6, forwarded};

const NAME: &str = "api.partner.example";

/// The address of the listed host that Egret's DNS server names, and the one that the caller's names.
const EGRETS: &str = "203.0.113.7";
const CALLERS: &str = "203.0.113.8";

/// The DNS server that Egret asks.
const EGRETS_SERVER: &str = "203.0.113.15";

const API: &str =
    "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\nresolver: {servers: [203.0.113.15]}\n";

#[test]
fn sockets_that_are_bound_to_a_device_get_their_responses() {
    let lab = Lab::new();
    lab.dns().set("host.example", 60, &["198.51.100.1"]);
    lab.dns_at(V6).set("host.example", 60, &["198.51.100.6"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, struct, sys
IP_UNICAST_IF, IPV6_UNICAST_IF = 50, 76
labels = b"".join(bytes([len(label)]) + label.encode() for label in "host.example".split("."))
query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
device = socket.if_nametoindex("node0")
ways = {
    "device": lambda s, v6: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"node0"),
    "unicast": lambda s, v6: s.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_IF, socket.htonl(device)) if v6
        else s.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, socket.htonl(device)),
    "mapped": lambda s, v6: s.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, socket.htonl(device)),
    "none": lambda s, v6: None,
}
def ask(family, server, way, connects):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    ways[way](s, family == socket.AF_INET6)
    if connects:
        s.connect((server, 53))
        s.send(query)
    else:
        s.sendto(query, (server, 53))
    data, peer = s.recvfrom(512)
    assert peer[:2] == (server, 53), peer
    return socket.inet_ntoa(data[-4:])
for way in sys.argv[3].split():
    for connects in (True, False):
        print(ask(socket.AF_INET, sys.argv[1], way, connects), ask(socket.AF_INET6, sys.argv[2], way, connects),
              ask(socket.AF_INET6, "::ffff:" + sys.argv[1], way, connects))
"#;
    let said = "198.51.100.1 198.51.100.6 198.51.100.1";
    // A device that is set for one family counts for it alone: it does not matter to the kernel for the other one.
    for (way, expected) in [("device", 0), ("unicast", 2), ("mapped", 4), ("none", 10)] {
        assert_eq!(lab.python(program, &[DNS, V6, way]), [said; 2].join("\n"), "{way}");
        assert_eq!(forwarded(&lab), expected, "{way}");
    }
}

#[test]
fn sockets_that_were_connected_before_egret_started_go_on() {
    let lab = Lab::new();
    lab.dns().set("host.example", 60, &["198.51.100.1"]);
    lab.dns_at(V6).set("host.example", 60, &["198.51.100.6"]);
    let mut asking = lab.converse(&format!(
        r#"
import socket, struct, sys
labels = b"".join(bytes([len(label)]) + label.encode() for label in "host.example".split("."))
query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
sockets = []
for family, server in ((socket.AF_INET, "{DNS}"), (socket.AF_INET6, "{V6}"), (socket.AF_INET6, "::ffff:{DNS}")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((server, 53))
    sockets.append(s)
for line in sys.stdin:
    for s in sockets: s.send(query)
    print([socket.inet_ntoa(s.recv(512)[-4:]) for s in sockets], flush=True)
"#
    ));
    let mut asks = || {
        asking.tell("again");
        assert_eq!(asking.line(), "['198.51.100.1', '198.51.100.6', '198.51.100.1']");
    };
    asks();
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    asks();
    assert_eq!(forwarded(&lab), 0);
    egret.stop();
    asks();
}

struct Scene {
    lab: Lab,
    partner: ThirdParty,
    at_the_callers: ThirdParty,
}

/// A lab where only the caller's DNS server names one of the third party's addresses.
fn scene() -> Scene {
    let lab = Lab::new();
    lab.dns().set(NAME, 0, &[CALLERS]);
    lab.dns_at(EGRETS_SERVER).set(NAME, 60, &[EGRETS]);
    let allowed = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
    let partner = lab.third_party(EGRETS, 80, Behaviour::Http(allowed.clone()));
    let at_the_callers = lab.third_party(CALLERS, 80, Behaviour::Http(allowed));
    Scene { lab, partner, at_the_callers }
}

impl Scene {
    /// Callers ask this resolver on the node, and are captured.
    fn captures_callers_of(&self, resolver: &str, queries: u64) {
        fs::write(self.lab.directory().join("resolv.conf"), format!("nameserver {resolver}\n")).unwrap();
        let _egret = self.lab.egret(&self.lab.configure(API), &[]);
        assert_eq!(self.lab.curl(&format!("http://{NAME}/")), (200, EGRESS.to_owned()));
        assert_eq!(self.partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
        assert!(self.at_the_callers.sources().is_empty(), "{:?}", self.at_the_callers.sources());
        assert!(forwarded(&self.lab) >= queries, "{}", forwarded(&self.lab));
        let redirects = self.lab.json(&["inspect", "redirects"]);
        assert!(redirects.as_array().unwrap().iter().any(|row| row["address"] == CALLERS), "{redirects}");
    }
}

#[test]
fn callers_of_a_dnsmasq_on_the_loopback_are_captured_and_its_own_queries_are_forwarded() {
    let scene = scene();
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
        &format!("--server={DNS}"),
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--cache-size=0",
        "--user=root",
        "--pid-file=",
    ];
    let _dnsmasq = scene.lab.node_service("dnsmasq.service", 53, "dnsmasq", &arguments);
    // The caller's, whose socket is connected, and two of dnsmasq.
    scene.captures_callers_of("127.0.0.1", 3);
}

/// systemd-resolved, as a service of its own: without a system bus, with a configuration of the lab's.
fn resolved(lab: &Lab) -> Service {
    const RESOLVED: &str = "/lib/systemd/systemd-resolved";
    let program = std::env::var_os("EGRET_RESOLVED").map_or_else(|| PathBuf::from(RESOLVED), PathBuf::from);
    let directory = lab.directory().join("resolved");
    fs::create_dir_all(directory.join("systemd")).unwrap();
    let settings = format!("[Resolve]\nDNS={DNS}\nFallbackDNS=\nLLMNR=no\nMulticastDNS=no\nDNSSEC=no\nCache=no\n");
    fs::write(directory.join("systemd/resolved.conf"), settings).unwrap();
    for (file, account) in
        [("passwd", "systemd-resolve:x:996:996::/:/usr/sbin/nologin\n"), ("group", "systemd-resolve:x:996:\n")]
    {
        let accounts = fs::read_to_string(format!("/etc/{file}")).unwrap();
        fs::write(directory.join(file), accounts + account).unwrap();
    }
    let script = r#"
mkdir -p /run/systemd /etc/systemd
mount -t tmpfs none /run/systemd
mount --bind "$1/systemd" /etc/systemd
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
exec "$2"
"#;
    let arguments = ["-ec", script, "sh", directory.to_str().unwrap(), program.to_str().unwrap()];
    lab.node_service("systemd-resolved.service", 53, "sh", &arguments)
}

#[test]
fn callers_of_the_stub_of_systemd_resolved_are_captured() {
    let scene = scene();
    let _resolved = resolved(&scene.lab);
    scene.captures_callers_of("127.0.0.53", 2);
}
