//! Every way to connect is captured, its origin is never wrong, and the caller sees the address it asked for.

use egret_tests::{Behaviour, EGRESS, Lab, NODE};

use crate::{PARTNER, partner};

/// Connects in a way that the argument names, prints the peer it sees and what the banner says.
const CONNECT: &str = r#"
import socket, sys, select, errno
way, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM)
s.settimeout(10)
if way == "nonblocking":
    s.setblocking(False)
    try:
        s.connect((address, port))
    except BlockingIOError:
        pass
    select.select([], [s], [], 10)
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    s.settimeout(10)
elif way == "fastopen":
    s.settimeout(None)
    s.sendto(b"hello", 0x20000000, (address, port))
elif way == "reconnect":
    s.connect((address, port))
    s.close()
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(10)
    s.connect((address, port))
else:
    s.connect((address, port))
print(s.getpeername()[0], s.getpeername()[1], s.recv(100).decode().strip())
"#;

#[test]
fn every_way_to_connect_is_captured() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("2001:db8:2::7", "api.partner.example")]);
    let _v4 = lab.third_party("203.0.113.7", 7000, Behaviour::Banner);
    let _v6 = lab.third_party("2001:db8:2::7", 7000, Behaviour::Banner);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    for (way, address, source) in [
        ("blocking", "203.0.113.7", EGRESS),
        ("blocking", "2001:db8:2::7", egret_tests::EGRESS_V6),
        ("blocking", "::ffff:203.0.113.7", EGRESS),
        ("nonblocking", "203.0.113.7", EGRESS),
        ("fastopen", "203.0.113.7", EGRESS),
        ("reconnect", "203.0.113.7", EGRESS),
    ] {
        let said = lab.python(CONNECT, &[way, address, "7000"]);
        assert_eq!(said, format!("{address} 7000 {source}"), "{way} {address}");
    }
}

#[test]
fn heavy_no_origin_is_ever_wrong() {
    const CONNECTIONS: u32 = 20_000;
    let lab = Lab::new();
    let names: Vec<_> = (1..=8).map(|number| format!("203.0.113.{number}")).collect();
    lab.hosts(&names.iter().map(|address| (address.as_str(), "api.partner.example")).collect::<Vec<_>>());
    let _mirrors: Vec<_> = names.iter().map(|address| lab.third_party(address, 7000, Behaviour::Mirror)).collect();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, sys, threading
wrong = []
def run(seed, count):
    for i in range(count):
        address = "203.0.113.%d" % ((seed + i) % 8 + 1)
        s = socket.create_connection((address, 7000), timeout=20)
        s.sendall(b"\0")
        said = s.recv(100).decode().strip()
        if said != address:
            wrong.append((address, said))
        s.close()
threads = [threading.Thread(target=run, args=(n, int(sys.argv[1]) // 4)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(wrong), wrong[:3])
"#;
    assert_eq!(lab.python(program, &[&CONNECTIONS.to_string()]), "0 []");
    let kernel = &lab.json(&["status"])["kernel"];
    assert_eq!(kernel["redirected"], CONNECTIONS, "{kernel}");
}

#[test]
fn udp_to_a_captured_address_and_port_is_refused_at_once() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("2001:db8:2::7", "api.partner.example")]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket
def attempt(how, address, port, protocol=0):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, protocol)
    try:
        if how == "connect":
            s.connect((address, port))
        else:
            s.sendto(b"x", (address, port))
        return "sent"
    except PermissionError:
        return "refused"
both = ("connect", "sendto")
print(*{attempt(how, address, port) for how in both for port in (80, 443, 7000)
        for address in ("203.0.113.7", "::ffff:203.0.113.7", "2001:db8:2::7")},
      attempt("sendto", "203.0.113.7", 7000, 136),
      *{attempt(how, *to) for how in both for to in (("203.0.113.7", 444), ("203.0.113.8", 443))})
"#;
    assert_eq!(lab.python(program, &[]), "refused refused sent");
}

#[test]
fn an_mptcp_socket_sees_the_address_it_asked_for() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("2001:db8:2::7", "api.partner.example")]);
    let _v4 = lab.third_party("203.0.113.7", 7000, Behaviour::Banner);
    let _v6 = lab.third_party("2001:db8:2::7", 7000, Behaviour::Banner);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, sys
for address in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 262)
    s.settimeout(10)
    s.connect((address, 7000))
    print(s.getpeername()[0], s.recv(100).decode().strip())
"#;
    let mapped = "::ffff:203.0.113.7";
    assert_eq!(
        lab.python(program, &["203.0.113.7", "2001:db8:2::7", mapped]),
        format!("203.0.113.7 {EGRESS}\n2001:db8:2::7 {}\n{mapped} {EGRESS}", egret_tests::EGRESS_V6)
    );
}

/// The process decides, not the socket: one that was made outside of the captured cgroups and passed on is captured.
#[test]
fn a_socket_belongs_to_the_process_that_connects_it() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _banner = lab.third_party("203.0.113.7", 7000, Behaviour::Banner);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, sys
inside, outside = sys.argv[1:]
def enter(cgroup):
    open(cgroup + "/cgroup.procs", "w").write("0")
for made, used in ((outside, inside), (inside, outside), (inside, inside)):
    enter(made)
    s = socket.socket()
    enter(used)
    s.settimeout(10)
    s.connect(("203.0.113.7", 7000))
    print(s.recv(100).decode().strip(), end=" ")
"#;
    let inside = lab.workload_cgroup();
    let outside = inside.parent().and_then(|lab| lab.parent()).unwrap();
    let said = lab.python(program, &[inside.to_str().unwrap(), outside.to_str().unwrap()]);
    assert_eq!(said, format!("{EGRESS} {NODE} {EGRESS}"));
}

#[test]
fn deny_refuses_like_a_closed_port() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    mode: deny\n")), &[]);
    let program = "import socket\ntry:\n s = socket.create_connection(('203.0.113.7', 80), 5)\n print('connected')\nexcept (ConnectionRefusedError, PermissionError) as e:\n print('refused')";
    assert_eq!(lab.python(program, &[]), "refused");
    assert_eq!(partner.seen(), []);
}

#[test]
fn exec_runs_a_command_captured() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    assert_eq!(lab.curl("http://api.partner.example/"), (403, NODE.to_owned()));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let socket = lab.socket();
    let said =
        lab.cli(&["exec", "--socket", socket.to_str().unwrap(), "--", "curl", "-s", "http://api.partner.example/"]);
    assert_eq!(said.trim(), EGRESS);
    let code = lab.try_cli(&["exec", "--socket", socket.to_str().unwrap(), "--", "sh", "-c", "exit 7"]).status.code();
    assert_eq!(code, Some(7));
}
