//! Callers with a network namespace of their own, and all rights in it, who attack how Egret listens there.

use std::time::{Duration, Instant};

use egret_tests::{Container, EGRESS, Egret, Lab, eventually};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// What programs of this module begin with: `ask` connects and asks, and says what came of it.
const ASK: &str = r#"
import ctypes, os, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
NEWNET = 0x40000000
def ask(s, address=("203.0.113.7", 80)):
    began = time.monotonic()
    try:
        s.settimeout(20)
        s.connect(address)
        s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
        outcome = b"".join(iter(lambda: s.recv(4096), b"")).split(b" ")[1].decode()
    except OSError as error:
        outcome = type(error).__name__
    s.close()
    return outcome if time.monotonic() - began < 8 else outcome + ", late"
def enter_new_namespace():
    assert libc.unshare(NEWNET) == 0, os.strerror(ctypes.get_errno())
    os.system("ip link set lo up")
"#;

fn in_container(container: &Container<'_>, program: &str, arguments: &[&str]) -> String {
    container.python(&format!("{ASK}{program}"), arguments)
}

/// The port of Egret's listener for IPv4.
fn port(lab: &Lab) -> String {
    lab.json(&["status"])["listeners"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned()
}

fn namespaces(lab: &Lab) -> u64 {
    lab.json(&["status"])["namespaces"].as_u64().unwrap()
}

/// Waits longer than Egret needs to see that a namespace has no process.
fn eventually_left(lab: &Lab, remaining: u64) {
    let end = Instant::now() + Duration::from_secs(40);
    while namespaces(lab) > remaining {
        assert!(Instant::now() < end, "Egret still listens in {} namespaces", namespaces(lab));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(namespaces(lab), remaining);
}

#[test]
fn callers_that_come_twice_before_egret_has_looked_are_both_captured() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    egret.pause();
    // The hooks tell Egret again after a second.
    let program = r#"
def begin():
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("203.0.113.7", 80))
    return s
first = begin()
time.sleep(1.1)
second = begin()
print("begun", flush=True)
input()
print(ask(socket.socket()), flush=True)
"#;
    let mut caller = container.converse(&format!("{ASK}{program}"));
    assert_eq!(caller.line(), "begun");
    egret.resume();
    eventually("egret listens there", || namespaces(&lab) == 1);
    caller.tell("");
    assert_eq!(caller.line(), "200");
    assert!(!egret.log().contains("cannot listen"), "{}", egret.log());
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
}

#[test]
fn namespaces_without_number_keep_egret_out_of_no_other() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let served = lab.container();
    assert_eq!(served.curl(URL), (200, EGRESS.to_owned()));
    // The rows that so many namespaces leave in which Egret could not listen.
    let program = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"))
    return libc.syscall(321, command, buffer, 128)
path = ctypes.create_string_buffer(sys.argv[1].encode())
rows = bpf(7, struct.pack("=QII", ctypes.addressof(path), 0, 0))
assert rows >= 0, os.strerror(ctypes.get_errno())
for number in range(20000):
    key = ctypes.create_string_buffer(struct.pack("=Q", 1 << 40 | number), 8)
    value = ctypes.create_string_buffer(struct.pack("=IIQ", 3, 0, 0), 16)
    bpf(2, struct.pack("=IIQQQ", rows, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
"#;
    let rows = lab.pins().join("NAMESPACES");
    let output = lab.gateway("python3", &["-c", program, rows.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lab.container().curl(URL), (200, EGRESS.to_owned()), "a new one");
    assert_eq!(served.curl(URL), (200, EGRESS.to_owned()), "one whose row may have made room");
}

#[test]
fn egret_listens_again_where_its_socket_was_closed_by_force() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    // Who has CAP_NET_ADMIN in a network namespace may close all of its sockets (SOCK_DESTROY in sock_diag(7)).
    let killed = container.run("ss", &["-H", "-K", "-t", "-l", &format!("sport = :{}", port(&lab))]);
    assert!(String::from_utf8_lossy(&killed.stdout).contains("127.0.0.1"), "{killed:?}");
    eventually("egret listens there again", || container.curl(URL) == (200, EGRESS.to_owned()));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
    assert!(egret.log().matches("accept").count() < 3, "{}", egret.log());
}

/// Lets a program in a container connect and end before Egret can look at it.
fn connects_and_ends(egret: &Egret, container: &Container<'_>) {
    egret.pause();
    let program = "s = socket.socket()\ns.setblocking(False)\ns.connect_ex(('203.0.113.7', 80))";
    in_container(container, program, &[]);
    egret.resume();
}

#[test]
fn egret_listens_again_although_the_caller_that_it_hears_of_has_ended() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    let mut stays = container
        .converse("import time\nfor line in iter(input, ''):\n    time.sleep(1.1)\n    print('later', flush=True)");
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    container.run("ss", &["-H", "-K", "-t", "-l", &format!("sport = :{}", port(&lab))]);
    eventually("egret has left", || namespaces(&lab) == 0);
    // The hooks tell Egret again after a second, of a caller that is refused.
    stays.tell("wait");
    assert_eq!(stays.line(), "later");
    connects_and_ends(&egret, &container);
    eventually("egret listens there again", || namespaces(&lab) == 1);
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn a_caller_that_has_ended_before_egret_has_looked_keeps_no_other_out() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    connects_and_ends(&egret, &container);
    eventually("egret has looked", || {
        let rows = lab.json(&["inspect", "namespaces"]);
        rows.as_array().unwrap().iter().any(|row| row["cause"] == "process_gone")
    });
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn a_namespace_that_only_a_thread_is_in_is_inhabited() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    let program = r#"
def inside():
    enter_new_namespace()
    print(ask(socket.socket()), flush=True)
    input()
    print(ask(socket.socket()), flush=True)
threading.Thread(target=inside).start()
"#;
    let mut caller = container.converse(&format!("{ASK}{program}"));
    assert_eq!(caller.line(), "200");
    assert_eq!(in_container(&container, "enter_new_namespace()\nprint(ask(socket.socket()))", &[]), "200");
    assert_eq!(namespaces(&lab), 2);
    eventually_left(&lab, 1);
    caller.tell("");
    assert_eq!(caller.line(), "200");
}

#[test]
fn egret_listens_again_in_a_namespace_that_it_has_left_and_whose_connections_are_not_forgotten_yet() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    let program = r#"
def inside(namespace):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if namespace is None: enter_new_namespace()
        else: assert libc.setns(namespace, NEWNET) == 0
        os.write(writer, ask(socket.socket()).encode() + b"\n")
        os.read(go, 1)
        os._exit(0)
    print(os.read(reader, 100).decode().strip(), flush=True)
    kept = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY)
    os.write(end, b"x")
    os.wait()
    return kept
go, end = os.pipe()
kept = inside(None)
input()
inside(kept)
"#;
    let mut caller = container.converse(&format!("{ASK}{program}"));
    assert_eq!(caller.line(), "200");
    eventually_left(&lab, 0);
    caller.tell("");
    assert_eq!(caller.line(), "200");
}

#[test]
fn a_socket_of_another_namespace_is_captured_there_and_hangs_nobody() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let container = lab.container();
    let program = r#"
if sys.argv[1] == "served": assert ask(socket.socket()) == "200"
own = socket.socket()
def to_another(s):
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        enter_new_namespace()
        _, (number, *_), *_ = socket.recv_fds(theirs, 1, 1)
        theirs.sendall(ask(socket.socket(fileno=number)).encode())
        os._exit(0)
    socket.send_fds(ours, [b"x"], [s.fileno()])
    s.close()
    return ours.recv(100).decode()
print(to_another(socket.socket()))
enter_new_namespace()
print(ask(own))
"#;
    assert_eq!(in_container(&container, program, &["served"]), "200\n200");
    // Where Egret does not listen yet, such a caller does not say where that is.
    let new = lab.container();
    let outcomes = in_container(&new, program, &["new"]);
    assert_eq!(
        outcomes.lines().filter(|line| ["TimeoutError", "ConnectionRefusedError"].contains(line)).count(),
        2,
        "{outcomes}"
    );
    eventually("others there are captured", || new.curl(URL) == (200, EGRESS.to_owned()));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn no_setting_of_a_container_leads_a_connection_past_egret_or_makes_it_hang() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let port = port(&lab);
    let program = r#"
port = int(sys.argv[1])
mapped, plain = ("::ffff:203.0.113.7", 80), ("203.0.113.7", 80)
def setting(name, value):
    open("/proc/sys/net/ipv4/" + name, "w").write(value)
def signed(s):
    s.setsockopt(socket.IPPROTO_TCP, 14, struct.pack("=HH4s", 2, 0, socket.inet_aton("127.0.0.1")).ljust(128, b"\0")
        + struct.pack("=BBHi", 0, 0, 3, 0) + b"key".ljust(80, b"\0"))
    return s
def listener():
    l = signed(socket.socket())
    l.bind(("127.0.0.1", port))
    l.listen()
    return l
def to_device():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    return s
def fast_open():
    s = socket.socket()
    for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        s.setsockopt(socket.SOL_SOCKET, way, struct.pack("=qq", 7, 0))
    try:
        return s.sendto(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n", 0x20000000, plain) and s.recv(12)[9:].decode()
    except OSError as error:
        return type(error).__name__
how = {
    "mapped": lambda: ask(socket.socket(socket.AF_INET6), mapped),
    "mptcp": lambda: ask(socket.socket(proto=262), plain),
    "few retries": lambda: (setting("tcp_syn_retries", "1"), ask(socket.socket()))[1],
    "no loopback": lambda: (libc.unshare(NEWNET), ask(socket.socket()))[1],
    "signed": lambda: ask(signed(socket.socket())),
    "signed listener": lambda: (listener(), ask(socket.socket()))[1],
    "device": lambda: ask(to_device()),
    "fast open": lambda: (setting("tcp_fastopen", "5"), fast_open())[1],
    "few in the backlog": lambda: (open("/proc/sys/net/core/somaxconn", "w").write("0"), ask(socket.socket()))[1],
    "no ports": lambda: (setting("ip_local_port_range", "%d %d" % (port, port)), ask(socket.socket()))[1],
}
print(how[sys.argv[2]]())
"#;
    // What the first connection gets, and what later ones get, soon; nothing stands for any error.
    for (how, first, later) in [
        ("mapped", "200", "200"),
        ("mptcp", "ConnectionRefusedError", "200"),
        ("few retries", "", "200"),
        ("fast open", "200", "200"),
        ("few in the backlog", "200", "200"),
        ("device", "ConnectionRefusedError", "ConnectionRefusedError"),
        ("signed", "TimeoutError", ""),
        ("signed listener", "TimeoutError", "ConnectionRefusedError"),
        ("no loopback", "", ""),
        ("no ports", "", ""),
    ] {
        let container = lab.container();
        let outcome = || in_container(&container, program, &[&port, how]);
        let found = outcome();
        assert!(found == first || first.is_empty() && !found.ends_with("late"), "{how}: {found}");
        if !later.is_empty() {
            eventually(how, || outcome() == later);
        }
    }
    assert_eq!(lab.container().curl(URL), (200, EGRESS.to_owned()));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

const NAMESPACES: &str = include_str!("../clients/namespaces.py");

#[test]
fn heavy_callers_of_new_namespaces_are_captured_while_egret_is_taken_over_and_leave_nothing_behind() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let mut arguments = vec!["-c", NAMESPACES];
    arguments.extend(["300", "20", "203.0.113.7", "80"]);
    let callers = lab.workload("python3", &arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..3 {
        let next = lab.egret(&config, &["--persist"]);
        egret.ended();
        egret = next;
    }
    let output = callers.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{{'200 {EGRESS}': 300}}"));
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
    eventually_left(&lab, 0);
    eventually("no record is left", || lab.json(&["status"])["origins_used"] == 0);
    let sockets = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", egret.pid())).unwrap().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .count()
    };
    eventually("its sockets are closed", || sockets() < 40);
}

#[test]
fn callers_of_new_namespaces_never_get_past_an_egret_that_dies_and_starts() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let mut arguments = vec!["-c", NAMESPACES];
    arguments.extend(["150", "10", "203.0.113.7", "80"]);
    let callers = lab.workload("python3", &arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..2 {
        egret.kill();
        egret = lab.egret(&config, &["--persist"]);
    }
    let output = callers.wait_with_output().unwrap();
    let outcomes = String::from_utf8_lossy(&output.stdout);
    for outcome in outcomes.trim().trim_matches(['{', '}']).split(", ") {
        let (what, _) = outcome.split_once(": ").unwrap();
        let known = ["'ConnectionRefusedError'", "'TimeoutError'", "'ConnectionResetError'", "''"];
        assert!(what == format!("'200 {EGRESS}'") || known.contains(&what), "{outcomes}");
    }
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
    assert_eq!(lab.container().curl(URL), (200, EGRESS.to_owned()));
}
