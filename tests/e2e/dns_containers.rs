//! DNS queries of containers go through Egret and leave from the container, to the server that it asked.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Stdio;

use egret_tests::{Behaviour, Container, DNS, Dns, EGRESS, EGRESS_V6, Lab, Mood, ThirdParty, eventually};

use crate::dns::{CLIENT, V6, forwarded};
use crate::dns_hostile::CROWD;

const NAME: &str = "api.partner.example";
const URL: &str = "http://api.partner.example/";

/// The addresses of the listed host: the one that Egret's DNS server names, and the one that the container's names.
const EGRETS: &str = "203.0.113.7";
const CONTAINERS: &str = "203.0.113.8";

/// The container's DNS servers.
const SERVER: &str = "203.0.113.15";
const SECOND: &str = "203.0.113.14";

const APIS: &str = "  - name: partner\n    hosts: [api.partner.example, '*.shop.example']\n    ports: [80]\n";

struct Scene {
    lab: Lab,
    /// Of Egret and the node.
    node_dns: Dns,
    /// Of containers.
    dns: Dns,
    partner: ThirdParty,
    at_the_containers: ThirdParty,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        let (node_dns, dns) = (lab.dns(), lab.dns_at(SERVER));
        node_dns.set(NAME, 60, &[EGRETS]);
        node_dns.set("a.shop.example", 60, &[EGRETS]);
        dns.set(NAME, 60, &[CONTAINERS]);
        dns.set("a.shop.example", 60, &[CONTAINERS]);
        let allowed: Vec<IpAddr> = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
        let partner = lab.third_party(EGRETS, 80, Behaviour::Http(allowed.clone()));
        let at_the_containers = lab.third_party(CONTAINERS, 80, Behaviour::Http(allowed));
        Self { lab, node_dns, dns, partner, at_the_containers }
    }

    fn container(&self) -> Container<'_> {
        self.lab.named_container().resolves_by(&format!("nameserver {SERVER}\n"))
    }

    /// A container that Egret forwards queries of by now.
    fn served(&self) -> Container<'_> {
        let before = self.namespaces();
        let container = self.container();
        eventually("Egret knows the container", || self.namespaces() > before);
        container
    }

    fn namespaces(&self) -> u64 {
        self.lab.json(&["status"])["namespaces"].as_u64().unwrap()
    }

    fn kernel(&self, reason: &str) -> u64 {
        self.lab.json(&["status"])["kernel"][reason].as_u64().unwrap()
    }

    /// Nobody has got past Egret, and the container's server has been asked from its address alone.
    fn nobody_escaped(&self, container: &Container<'_>) {
        assert!(self.partner.sources().iter().all(|source| source.to_string() == EGRESS));
        assert!(self.at_the_containers.sources().is_empty(), "{:?}", self.at_the_containers.sources());
        assert_eq!(self.dns.clients(), [container.address()]);
    }
}

#[test]
fn a_container_is_captured_at_an_address_that_only_its_own_dns_server_names() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let container = scene.served();
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(container.curl("http://a.shop.example/"), (200, EGRESS.to_owned()), "below a wildcard");
    assert_eq!((scene.kernel("dns_foreign_namespace"), scene.kernel("held")), (0, 0));
    scene.nobody_escaped(&container);
    // What its server said counts for this container alone.
    let other = scene.lab.named_container();
    let direct = other.curl(&format!("http://{CONTAINERS}/"));
    assert_eq!(direct, (403, other.address().to_string()));
}

#[test]
fn containers_that_are_there_when_egret_starts_are_known_by_then() {
    let scene = Scene::new();
    let named = scene.container();
    // This one has no name, but a process.
    let unnamed = scene.lab.container().resolves_by(&format!("nameserver {SERVER}\n"));
    let mut stays = unnamed.converse("print('up', flush=True)\ninput()");
    assert_eq!(stays.line(), "up");
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    for container in [&named, &unnamed] {
        assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    }
    assert_eq!(scene.kernel("dns_foreign_namespace"), 0);
    assert!(scene.at_the_containers.sources().is_empty());
    stays.tell("");
}

#[test]
fn the_first_query_of_a_namespace_that_egret_does_not_know_goes_directly_and_is_counted() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let container = scene.lab.container().resolves_by(&format!("nameserver {SERVER}\n"));
    let lookup = "import socket\nprint(socket.gethostbyname('api.partner.example'))";
    assert_eq!(container.python(lookup, &[]), CONTAINERS);
    assert_eq!((forwarded(&scene.lab), scene.kernel("dns_foreign_namespace")), (0, 1));
    eventually("Egret forwards there", || {
        assert_eq!(container.python(lookup, &[]), CONTAINERS);
        forwarded(&scene.lab) > 0
    });
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    scene.nobody_escaped(&container);
}

#[test]
fn every_kind_of_socket_in_a_container_gets_the_response_of_the_server_that_it_asked() {
    let lab = Lab::new();
    let servers = [lab.dns_at(SERVER), lab.dns_at(SECOND), lab.dns_at(V6)];
    for (server, address) in servers.iter().zip(["198.51.100.1", "198.51.100.2", "198.51.100.6"]) {
        server.set("host.example", 60, &[address]);
    }
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    let container = lab.named_container();
    eventually("Egret knows the container", || lab.json(&["status"])["namespaces"] == 1);
    let program = r#"
def new(family, source=None):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if source: s.bind((source, 0))
    s.settimeout(5)
    return s
# Connected, to one server after the other.
for family, servers in ((socket.AF_INET, sys.argv[1:3]), (socket.AF_INET6, ["::ffff:" + sys.argv[1], "::ffff:" + sys.argv[2]]), (socket.AF_INET6, [sys.argv[3]])):
    s = new(family)
    for server in servers:
        s.connect((server, 53))
        s.send(query("host.example"))
        data, peer = s.recvfrom(4096)
        print(addresses(data), peer[0] == server, s.getpeername()[:2] == (server, 53))
# All of them at once.
for family, prefix in ((socket.AF_INET, ""), (socket.AF_INET6, "::ffff:")):
    s = new(family)
    servers = [prefix + sys.argv[1], prefix + sys.argv[2]] + ([sys.argv[3]] if prefix else [])
    for ident, server in enumerate(servers * 3):
        s.sendto(query("host.example", ident=ident), (server, 53))
    got = sorted((peer[0], addresses(data), peer[1]) for data, peer in (s.recvfrom(4096) for _ in servers * 3))
    print(got[::3], got[::3] == got[1::3] == got[2::3])
# With a source of its own.
for source in (sys.argv[4], "0.0.0.0"):
    for connects in (True, False):
        s = new(socket.AF_INET, source)
        if connects: s.connect((sys.argv[1], 53)); s.send(query("host.example"))
        else: s.sendto(query("host.example"), (sys.argv[1], 53))
        data, peer = s.recvfrom(4096)
        print(addresses(data), peer)
# Sent without `connect` first, then with.
s = new(socket.AF_INET)
s.sendto(query("host.example"), (sys.argv[1], 53))
one = addresses(s.recv(4096))
s.connect((sys.argv[2], 53))
s.send(query("host.example"))
print(one, addresses(s.recv(4096)), s.getpeername())
"#;
    let address = container.address().to_string();
    let expected = "['198.51.100.1'] True True\n['198.51.100.2'] True True\n\
                    ['198.51.100.1'] True True\n['198.51.100.2'] True True\n['198.51.100.6'] True True\n\
                    [('203.0.113.14', ['198.51.100.2'], 53), ('203.0.113.15', ['198.51.100.1'], 53)] True\n\
                    [('2001:db8:2::7', ['198.51.100.6'], 53), ('::ffff:203.0.113.14', ['198.51.100.2'], 53), \
                    ('::ffff:203.0.113.15', ['198.51.100.1'], 53)] True\n";
    let own = "['198.51.100.1'] ('203.0.113.15', 53)\n".repeat(4);
    let last = "['198.51.100.1'] ['198.51.100.2'] ('203.0.113.14', 53)";
    let said = container.python(&format!("{CLIENT}{program}"), &[SERVER, SECOND, V6, &address]);
    assert_eq!(said, format!("{expected}{own}{last}"));
    assert_eq!(lab.json(&["status"])["kernel"]["dns_no_room"], 0);
    assert_eq!(forwarded(&lab), 5 + 6 + 9 + 4 + 2);
    for (server, address) in servers.iter().zip([container.address(), container.address(), container.address_v6()]) {
        assert_eq!(server.clients(), [address]);
    }
}

#[test]
fn each_response_to_one_socket_of_a_container_names_the_ipv6_server_that_sent_it() {
    const SECOND_V6: &str = "2001:db8:2::8";
    let lab = Lab::new();
    lab.internet_ip(&["-6", "address", "add", "2001:db8:2::8/128", "dev", "lo", "nodad"]);
    let servers = [lab.dns_at(V6), lab.dns_at(SECOND_V6), lab.dns_at(SERVER)];
    for (server, address) in servers.iter().zip(["198.51.100.6", "198.51.100.8", "198.51.100.1"]) {
        server.set("host.example", 60, &[address]);
    }
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    let container = lab.named_container();
    eventually("Egret knows the container", || lab.json(&["status"])["namespaces"] == 1);
    // Without `connect`, all at once, and one after the other; whichever is asked first.
    let program = r#"
servers = ["2001:db8:2::7", "2001:db8:2::8", "::ffff:203.0.113.15"]
says = dict(zip(servers, ("198.51.100.6", "198.51.100.8", "198.51.100.1")))
for first in range(3):
    order = servers[first:] + servers[:first]
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.settimeout(5)
    got = []
    for at_once in (12, 1, 1, 1):
        for ident in range(len(got), len(got) + at_once):
            s.sendto(query("host.example", ident=ident), (order[ident % 3], 53))
        got += [s.recvfrom(4096) for _ in range(at_once)]
    right = [peer[:2] == (order[struct.unpack_from(">H", data)[0] % 3], 53) and addresses(data) == [says[peer[0]]] for data, peer in got]
    print(right.count(True), right.count(False))
"#;
    assert_eq!(container.python(&format!("{CLIENT}{program}"), &[]), "15 0\n15 0\n15 0");
    // The loopback has one IPv6 address, so that such a socket has one server that is asked through Egret: the first.
    assert_eq!((forwarded(&lab), lab.json(&["status"])["kernel"]["dns_no_room"].as_u64()), (3 * 10, Some(3 * 5)));
}

#[test]
fn a_container_with_ipv6_alone_is_captured_at_the_address_that_its_dns_server_names() {
    let lab = Lab::new();
    let at = "2001:db8:2::8";
    lab.internet_ip(&["-6", "route", "add", "local", "2001:db8:2::8/128", "dev", "lo"]);
    lab.dns().set(NAME, 60, &[V6]);
    let dns = lab.dns_at(V6);
    dns.set(NAME, 60, &[at]);
    let partner = lab.third_party(V6, 80, Behaviour::Http(vec![EGRESS_V6.parse().unwrap()]));
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    let container = lab.named_container().without_ipv4().resolves_by(&format!("nameserver {V6}\n"));
    eventually("Egret knows the container", || lab.json(&["status"])["namespaces"] == 1);
    assert_eq!(container.curl(URL), (200, EGRESS_V6.to_owned()));
    assert_eq!(dns.clients(), [container.address_v6()]);
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS_V6));
}

#[test]
fn responses_over_tcp_and_of_search_domains_reach_a_container_unchanged() {
    let scene = Scene::new();
    let many: Vec<_> = (1..=60).map(|number| format!("198.51.100.{number}")).collect();
    scene.dns.set("many.example", 60, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let container = scene.served();
    let count = "import socket\nprint(len({a[4][0] for a in socket.getaddrinfo('many.example', 80)}))";
    assert_eq!(container.python(count, &[]), "60");
    assert!(scene.dns.asked_by_tcp() > 0, "it was truncated first");
    // As a resolver of a cluster asks, which appends domains to a name with few dots.
    let program = r#"
names = [name + suffix for suffix in (".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local", "") for name in ("api.partner.example",)]
def ask(source, tcp):
    answers = []
    for ident, name in enumerate(names):
        message = query(name, ident=ident)
        if tcp:
            s = socket.create_connection((sys.argv[1], 53), 5)
            s.sendall(struct.pack(">H", len(message)) + message)
            f = s.makefile("rb")
            answers.append(f.read(struct.unpack(">H", f.read(2))[0]))
            assert s.getpeername() == (sys.argv[1], 53)
        else:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("0.0.0.0", source))
            s.settimeout(5)
            s.sendto(message, (sys.argv[1], 53))
            answers.append(s.recv(4096))
        s.close()
    return answers
# From port 53, as a server asks, the hooks let queries pass.
direct = ask(53, False)
print([addresses(answer) for answer in direct], ask(0, False) == direct, ask(0, True) == direct)
"#;
    let said = container.python(&format!("{CLIENT}{program}"), &[SERVER]);
    assert_eq!(said, format!("[3, 3, 3, ['{CONTAINERS}']] True True"));
    assert_eq!(scene.dns.clients(), [container.address()]);
}

#[test]
fn a_container_asks_a_server_of_its_own_network() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    // As in a network of Docker, where the server is on the container's loopback.
    let container = scene.lab.named_container().resolves_by("nameserver 127.0.0.11\n");
    let own = container.dns_at("127.0.0.11");
    own.set(NAME, 60, &[CONTAINERS]);
    eventually("Egret knows the container", || scene.namespaces() == 1);
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(own.clients(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(scene.at_the_containers.sources().is_empty());
    // A server that is not there is found out at once.
    let program = r#"
for connects in (True, False):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, 11, 1)
    s.settimeout(4)
    if connects: s.connect((sys.argv[1], 53)); s.send(query("host.example"))
    else: s.sendto(query("host.example"), (sys.argv[1], 53))
    try: s.recv(4096)
    except ConnectionRefusedError: print("refused", end=" ")
"#;
    assert_eq!(container.python(&format!("{CLIENT}{program}"), &["127.0.0.12"]), "refused refused");
}

#[test]
fn a_container_that_has_the_address_of_the_nodes_dns_server_teaches_nobody_else() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let container = scene.served();
    container.ip(&["address", "add", &format!("{DNS}/32"), "dev", "lo"]);
    let forged = container.dns_at(DNS);
    forged.set("b.shop.example", 60, &["203.0.113.9"]);
    let victim = scene.lab.third_party("203.0.113.9", 80, Behaviour::Banner);
    let program = format!(
        "{CLIENT}\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(5)\n\
         s.sendto(query('b.shop.example'), ('{DNS}', 53))\nprint(addresses(s.recv(4096)))"
    );
    assert_eq!(container.python(&program, &[]), "['203.0.113.9']");
    assert!(forwarded(&scene.lab) > 0);
    // On the node, that address is nobody's that is listed.
    let read = "import socket\nprint(socket.create_connection(('203.0.113.9', 80), 5).recv(99).decode())";
    assert_eq!(scene.lab.python(read, &[]), egret_tests::NODE);
    assert_eq!(victim.sources(), [egret_tests::NODE.parse::<IpAddr>().unwrap()]);
    assert!(scene.node_dns.clients().iter().all(|client| *client != container.address()));
}

#[test]
fn forged_responses_reach_no_container() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let container = scene.served();
    scene.dns.is(Mood::Forged("203.0.113.9".parse().unwrap()));
    let lookup = "import socket\nprint(socket.gethostbyname('api.partner.example'))";
    assert_eq!(container.python(lookup, &[]), CONTAINERS);
    let redirects = scene.lab.json(&["inspect", "redirects"]);
    assert!(!redirects.to_string().contains("203.0.113.9"), "{redirects}");
}

const ASKS: &str = r#"
import select, socket, sys, time
wrong, lookups, slowest = [], 0, 0
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    began = time.monotonic()
    try:
        if socket.gethostbyname("api.partner.example") != "203.0.113.8": wrong.append("another address")
    except OSError as error:
        wrong.append(repr(error))
    lookups, slowest = lookups + 1, max(slowest, time.monotonic() - began)
print(wrong[:3], lookups > 10, slowest < 4)
"#;

#[test]
fn no_lookup_of_a_container_is_lost_while_egret_is_taken_over() {
    let scene = Scene::new();
    let config = scene.lab.configure(APIS);
    let mut egret = scene.lab.egret(&config, &["--persist"]);
    let container = scene.served();
    let mut asking = container.converse(ASKS);
    assert_eq!(asking.line(), "begun");
    for _ in 0..3 {
        let next = scene.lab.egret(&config, &["--persist"]);
        egret.ended();
        egret = next;
    }
    asking.tell("end");
    assert_eq!(asking.line(), "[] True True");
    assert_eq!(scene.kernel("dns_foreign_namespace") + scene.kernel("dns_forwarder_gone"), 0);
    assert_eq!(container.curl(URL), (200, EGRESS.to_owned()));
    scene.nobody_escaped(&container);
}

#[test]
fn heavy_a_container_that_floods_its_dns_server_slows_no_other_one() {
    let scene = Scene::new();
    scene.dns.everything_below("flood.example");
    let egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let flooding = scene.served();
    // Another server than the flooded one, which may lose queries by itself: what is lost here, Egret has lost.
    scene.lab.dns_at(SECOND).set(NAME, 60, &[CONTAINERS]);
    let resolv_conf = format!("nameserver {SECOND}\noptions timeout:1 attempts:5\n");
    let other = scene.lab.named_container().resolves_by(&resolv_conf);
    eventually("Egret knows the container", || scene.namespaces() == 2);
    // To the server that responds, and to one that is silent.
    let program = r#"
servers = [("203.0.113.15", 53), ("203.0.113.13", 53)]
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
[s.setblocking(False) for s in sockets]
print("begins", flush=True)
sent = 0
for n in range(60_000):
    s = sockets[n % 16]
    try: sent += bool(s.sendto(query("%x.flood.example" % n, ident=n & 0xffff), servers[n // 16 % 2]))
    except OSError: pass
    if n % 16 == 0:
        for s in sockets:
            try:
                while True: s.recv(512)
            except OSError: pass
print(sent, flush=True)
"#;
    let mut flood = flooding.converse(&format!("{CLIENT}{program}"));
    assert_eq!(flood.line(), "begins");
    let mut asking = other.converse(ASKS);
    assert_eq!(asking.line(), "begun");
    let sent: u64 = flood.line().parse().unwrap();
    assert!(sent > 30_000, "{sent}");
    asking.tell("end");
    assert_eq!(asking.line(), "[] True True");
    assert_eq!(scene.served().curl(URL), (200, EGRESS.to_owned()), "a new one");
    assert!(scene.at_the_containers.sources().is_empty());
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", egret.pid())).unwrap().count();
    assert!(descriptors < 1500, "{descriptors}");
}

#[test]
fn a_connected_socket_of_a_container_whose_queries_find_no_room_is_told() {
    let scene = Scene::new();
    scene.dns.set("host.example", 60, &["198.51.100.1"]);
    scene.lab.dns_at(SECOND).is(Mood::Silent);
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    assert_eq!(scene.served().python(CROWD, &[SECOND, SERVER]), "told\nTrue\ntold\nTrue");
    assert_ne!(scene.lab.json(&["status"])["dns"]["disconnected_no_room"], 0);
}

#[test]
fn dns_of_a_container_goes_directly_once_egret_is_killed_or_stopped() {
    let scene = Scene::new();
    let config = scene.lab.configure(APIS);
    let egret = scene.lab.egret(&config, &["--persist"]);
    let container = scene.served();
    let lookup = || {
        let program = "import socket\nprint(socket.gethostbyname('api.partner.example'))";
        assert_eq!(container.python(program, &[]), CONTAINERS);
    };
    lookup();
    assert!(forwarded(&scene.lab) > 0);
    egret.kill();
    lookup();
    let egret = scene.lab.egret(&config, &[]);
    let before = forwarded(&scene.lab);
    lookup();
    assert!(forwarded(&scene.lab) > before, "Egret knows the container when it is ready");
    egret.stop();
    lookup();
}

#[test]
fn heavy_fifty_containers_that_resolve_and_connect_as_their_first_act_are_captured() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(APIS), &[]);
    let containers: Vec<_> = (0..50).map(|_| scene.container()).collect();
    let callers: Vec<_> = containers
        .iter()
        .map(|container| {
            let mut command = container.command("curl", &["-s", "-m", "20", URL]);
            command.stdout(Stdio::piped()).spawn().expect("curl runs")
        })
        .collect();
    for caller in callers {
        assert_eq!(String::from_utf8_lossy(&caller.wait_with_output().unwrap().stdout).trim(), EGRESS);
    }
    assert_eq!((scene.kernel("dns_foreign_namespace"), scene.kernel("held")), (0, 0));
    assert!(scene.at_the_containers.sources().is_empty());
    let asked_from: BTreeSet<_> = containers.iter().map(Container::address).collect();
    assert_eq!(scene.dns.clients(), Vec::from_iter(asked_from));
}

/// How many namespaces a test makes; more by hand.
fn many() -> usize {
    std::env::var("EGRET_TEST_NAMESPACES").ok().and_then(|count| count.parse().ok()).unwrap_or(50)
}

#[test]
fn heavy_a_namespace_costs_four_descriptors_little_memory_and_no_thread() {
    let lab = Lab::new();
    let _dns = lab.dns();
    let egret = lab.egret(&lab.configure(APIS), &[]);
    let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", egret.pid())).unwrap().count();
    let before = (count("fd"), count("task"), egret.memory());
    let namespaces = many();
    let named = lab.named_namespaces(namespaces);
    let served = || lab.json(&["status"])["namespaces"].as_u64().unwrap();
    eventually("Egret listens in all of them", || served() == namespaces as u64);
    // The runtime has some threads for files, which come and go.
    let (descriptors, threads) = (count("fd") - before.0, count("task").saturating_sub(before.1));
    let memory = egret.memory().saturating_sub(before.2);
    println!("{namespaces} network namespaces: {descriptors} descriptors, {threads} threads, {} KiB", memory / 1024);
    assert!(descriptors <= 4 * namespaces, "{descriptors}");
    assert!(threads < 10, "{threads}");
    // The resident set grows in steps of the allocator.
    assert!(memory <= (2 << 20) + 64 * 1024 * namespaces as u64, "{memory}");
    drop(named);
    eventually("Egret leaves them", || served() == 0);
}
