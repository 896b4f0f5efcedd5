//! Callers that attack the kernel half: its table of origins, its events, the way to the listener.

use egret_tests::{Behaviour, EGRESS, Lab, NODE, eventually};
use serde_json::Value;

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// Opens a socket whose SYN the listener drops: it has a TCP_MD5SIG key, which needs no privilege.
const HALF_OPEN: &str = r#"
import socket, struct, sys
def half_open(number, address="203.0.113.7"):
    s = socket.socket()
    s.setblocking(False)
    peer = struct.pack("=HH4s", 2, 0, socket.inet_aton("127.0.0.1")).ljust(128, b"\0")
    s.setsockopt(socket.IPPROTO_TCP, 14, peer + struct.pack("=BBHi", 0, 0, 3, 0) + b"key".ljust(80, b"\0"))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.%d.7" % (1 + number // 40000), 10000 + number % 40000))
    try:
        s.connect((address, 80))
    except BlockingIOError:
        return s
def enter(cgroup):
    import os
    os.makedirs(cgroup, exist_ok=True)
    open(cgroup + "/cgroup.procs", "w").write("0")
"#;

fn decisions(lab: &Lab, reason: &str) -> Vec<Value> {
    let rows = lab.json(&["inspect", "decisions"]);
    rows.as_array().unwrap().iter().filter(|row| row["reason"] == reason).cloned().collect()
}

fn origins(lab: &Lab) -> i64 {
    lab.json(&["status"])["origins_used"].as_i64().unwrap()
}

#[test]
fn heavy_connections_that_never_reach_the_listener_leave_no_record() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = format!("{HALF_OPEN}\nprint(sum(half_open(n).close() is None for n in range(70000)))");
    assert_eq!(lab.python(&program, &[]), "70000");
    assert_eq!(origins(&lab), 0);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
}

#[test]
fn heavy_a_workload_with_many_half_open_connections_is_refused_and_others_are_not() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = format!(
        r#"{HALF_OPEN}
import resource
enter({:?})
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
held, refused = [], 0
for n in range(4200):
    try:
        held.append(half_open(n))
    except ConnectionRefusedError:
        refused += 1
print(len(held), refused, flush=True)
sys.stdin.readline()
"#,
        lab.workload_cgroup().join("greedy")
    );
    let mut greedy = lab.converse(&program);
    assert_eq!(greedy.line(), "4096 104");
    assert_eq!(origins(&lab), 4096);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    let told = || decisions(&lab, "origins_full").iter().map(|row| row["times"].as_u64().unwrap()).sum::<u64>();
    eventually("the refusals are on record", || told() == 104);
    drop(greedy);
    eventually("the records go with their sockets", || origins(&lab) == 0);
}

#[test]
fn a_socket_takes_no_origin_from_an_earlier_connection_to_the_listener() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let listener = lab.json(&["status"])["listeners"][0].as_str().unwrap().to_owned();
    let port = listener.rsplit_once(':').unwrap().1;
    let program = r#"
import socket, struct, sys, ctypes
libc = ctypes.CDLL(None, use_errno=True)
port = int(sys.argv[1])
def outcome(s, address):
    try:
        s.settimeout(10)
        s.connect((address, port))
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
        return s.recv(100)[:12].decode() or "closed"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
# An orderly connection before, which the socket leaves (AF_UNSPEC).
for family, first, address in (
    (socket.AF_INET, "203.0.113.7", "127.0.0.1"),
    (socket.AF_INET, "203.0.113.7", "0.0.0.0"),
    (socket.AF_INET6, "::ffff:203.0.113.7", "::ffff:127.0.0.1"),
    (socket.AF_INET6, "::ffff:203.0.113.7", "::ffff:0.0.0.0"),
):
    s = socket.socket(family)
    s.connect((first, 80))
    assert libc.connect(s.fileno(), b"\0" * 16, 16) == 0
    print(outcome(s, address), end=" ")
# One that fails after the hook has seen it: its source port has such a connection already.
def bound():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("127.0.0.1", 5555))
    return s
one, other = bound(), bound()
one.connect(("203.0.113.7", 80))
try:
    other.connect(("203.0.113.7", 80))
    print("connected", end=" ")
except OSError as error:
    print(error.errno, end=" ")
one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
one.close()
print(outcome(other, "127.0.0.1"))
"#;
    assert_eq!(lab.python(program, &[port]), "refused refused refused refused 99 refused");
    assert_eq!(partner.seen(), []);
    eventually("the refusals are on record", || {
        decisions(&lab, "listener_refused").iter().map(|row| row["times"].as_u64().unwrap()).sum::<u64>() == 5
    });
}

#[test]
fn another_socket_on_the_listeners_port_number_elsewhere_is_left_alone() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let listener = lab.json(&["status"])["listeners"][0].as_str().unwrap().to_owned();
    let port = listener.rsplit_once(':').unwrap().1;
    // The same address and port in another network namespace, and the same port of UDP.
    let program = "import socket, sys\nl = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
                   s = socket.create_connection(l.getsockname())\nprint(s.getpeername() == l.getsockname())";
    let output = lab.foreign_workload("python3", &["-c", program, port]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "True", "{output:?}");
    let program = "import socket, sys\nu = socket.socket(type=socket.SOCK_DGRAM)\nu.bind(('127.0.0.1', int(sys.argv[1])))\n\
                   s = socket.socket(type=socket.SOCK_DGRAM)\ns.connect(u.getsockname())\ns.send(b'x')\nprint(u.recv(1) == b'x')";
    assert_eq!(lab.python(program, &[port]), "True");
}

#[test]
fn heavy_a_connection_that_waits_out_a_change_to_deny_is_refused() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = format!(
        r#"{HALF_OPEN}
import select
s = half_open(0)
print("waits", flush=True)
sys.stdin.readline()
peer = struct.pack("=HH4s", 2, 0, socket.inet_aton("127.0.0.1")).ljust(128, b"\0")
s.setsockopt(socket.IPPROTO_TCP, 14, peer + struct.pack("=BBHi", 0, 0, 0, 0) + b"".ljust(80, b"\0"))
select.select([], [s], [], 30)
try:
    s.settimeout(10)
    s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
    print(s.recv(100)[:12])
except (ConnectionResetError, BrokenPipeError):
    print("reset")
"#
    );
    let mut caller = lab.converse(&program);
    assert_eq!(caller.line(), "waits");
    lab.configure(&format!("{PARTNER}    mode: deny\n"));
    eventually("the rule is live", || lab.json(&["inspect", "redirects"])[0]["action"] == "deny");
    caller.tell("go on");
    assert_eq!(caller.line(), "reset");
    assert_eq!(partner.seen(), []);
}

#[test]
fn heavy_a_flood_of_refused_datagrams_is_a_few_lines_and_hides_nobody() {
    const DATAGRAMS: u64 = 200_000;
    let lab = Lab::new();
    let _partner = partner(&lab);
    let denied = "  - name: denied\n    hosts: [denied.example]\n    ports: [80]\n    mode: deny\n";
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.8", "denied.example")]);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{denied}")), &[]);
    let program = format!(
        r#"{HALF_OPEN}
enter({:?})
s = socket.socket(type=socket.SOCK_DGRAM)
for n in range(int(sys.argv[1])):
    try:
        s.sendto(b"x", ("203.0.113.7", 443))
    except PermissionError:
        pass
    if n == 1000:
        print("floods", flush=True)
print("done", flush=True)
sys.stdin.readline()
"#,
        lab.workload_cgroup().join("flood")
    )
    .replace("int(sys.argv[1])", &DATAGRAMS.to_string());
    let mut flood = lab.converse(&program);
    assert_eq!(flood.line(), "floods");
    assert_eq!(lab.curl("http://denied.example/").0, 0);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    eventually("another workload's refusal is on record", || decisions(&lab, "denied").len() == 1);
    assert_eq!(flood.line(), "done");
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(lab.access_log()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["outcome"] == "udp_refused").collect()
    };
    let times = |line: &Value| line["times"].as_u64().unwrap_or(1);
    eventually("each datagram is counted", || lines().iter().map(times).sum::<u64>() == DATAGRAMS);
    assert!((lines().len() as u64) < DATAGRAMS / 1_000, "{}", lines().len());
    assert_eq!(lab.json(&["status"])["kernel"]["udp_refused"], DATAGRAMS);
}

#[test]
fn a_socket_bound_to_a_device_is_refused_at_once_or_leaves_by_its_fail_mode() {
    for (fail, said, reason) in
        [("closed", "refused".to_owned(), "bound_device_closed"), ("open", NODE.to_owned(), "bound_device_open")]
    {
        let lab = Lab::new();
        lab.hosts(&[("203.0.113.7", "api.partner.example")]);
        let banner = lab.third_party("203.0.113.7", 7000, Behaviour::Banner);
        let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    fail: {fail}\n")), &[]);
        let program = r#"
import socket, sys
s = socket.socket()
s.settimeout(10)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode() + b"\0")
try:
    s.connect(("203.0.113.7", 7000))
    print(s.recv(100).decode().strip())
except ConnectionRefusedError:
    print("refused")
"#;
        assert_eq!(lab.python(program, &["node0"]), said, "{fail}");
        eventually(reason, || decisions(&lab, reason).len() == 1);
        assert_eq!(banner.seen().len(), usize::from(fail == "open"));
        assert_eq!(lab.python(program, &["lo"]), EGRESS, "the loopback reaches the listener");
    }
}
