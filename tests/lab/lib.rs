//! The lab: a node and an internet, in network namespaces and a cgroup of their own; nothing of it touches the host.
//!
//! The node has the address 192.0.2.1, which connections leave from by themselves, and the egress addresses
//! 192.0.2.10 and 2001:db8:1::10. The internet has third parties on 203.0.113.0/24 and 2001:db8:2::/64. What a test asserts
//! is what a third party saw. Everything ends with the [`Lab`], also when a test panics.

mod api_server;

mod collector;
mod container;

mod daemon;

mod dns;

mod namespace;

mod pki;

mod pod;

mod podman;

mod third_party;

pub mod wire;

mod workload;

use std::fs::{self, File};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use api_server::{ApiServer, NODE_NAME};
pub use collector::{Collector, Export, attribute};
pub use container::Container;
pub use daemon::{Egret, executable};
pub use dns::{DNS, Dns, Mood};
pub use pki::{Identity, Pki};
pub use pod::{Pod, SIGNATURE};
pub use podman::Podman;
pub use third_party::{Behaviour, Seen, Then, ThirdParty};
pub use workload::{Conversation, Service, listens};

use namespace::{Mounts, Namespace, Place};

/// The address that connections of the node leave from by themselves.
pub const NODE: &str = "192.0.2.1";
/// The egress address.
pub const EGRESS: &str = "192.0.2.10";
/// The IPv6 egress address.
pub const EGRESS_V6: &str = "2001:db8:1::10";

/// The cgroup of applications, below the lab's: a unit, as systemd would make it.
const WORKLOAD: &str = "workload.service";

/// Network namespaces that are there until this is dropped.
#[derive(Debug)]
pub struct NamedNamespaces(#[expect(dead_code, reason = "they go with it")] Vec<Namespace>);

/// A node and an internet.
#[derive(Debug)]
pub struct Lab {
    node: Namespace,
    internet: Namespace,
    cgroup: PathBuf,
    directory: PathBuf,
    pins: PathBuf,
    /// The mount namespace that processes get a copy of; else the test's.
    mounts: OnceLock<File>,
}

impl Lab {
    /// Builds the networks and the cgroup. Panics, with the failing command, when it cannot.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        namespace::mount_bpffs();
        remove_pins_of_dead_labs();
        let name = format!("egret{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        // As a slice, so that what runs in it has owners of its own.
        let cgroup = cgroup_root().join(format!("{name}.slice"));
        let pins = Path::new("/sys/fs/bpf").join(&name);
        // Of a killed process that had this one's number.
        remove(&cgroup, &pins, &directory);
        fs::create_dir_all(directory.join(namespace::NAMED)).expect("a directory for the lab");
        for path in [cgroup.clone(), cgroup.join(WORKLOAD), cgroup.join("egret"), cgroup.join("internet")] {
            fs::create_dir(&path).expect("a cgroup for the lab: run as root");
        }
        let lab = Self {
            node: Namespace::new(&format!("{name}n")),
            internet: Namespace::new(&format!("{name}i")),
            cgroup,
            pins,
            directory,
            mounts: OnceLock::new(),
        };
        lab.wire();
        fs::write(lab.directory.join("resolv.conf"), "").expect("resolv.conf");
        lab.hosts(&[]);
        lab
    }

    fn wire(&self) {
        let (node, internet) = (self.node.name(), self.internet.name());
        ip(&["link", "add", "node0", "netns", node, "type", "veth", "peer", "name", "internet0", "netns", internet]);
        for (namespace, device, addresses) in [
            (node, "node0", &["192.0.2.1/24", "192.0.2.10/24", "2001:db8:1::1/64", "2001:db8:1::10/64"][..]),
            (internet, "internet0", &["192.0.2.254/24", "2001:db8:1::fe/64"][..]),
        ] {
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
            for address in addresses {
                let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                ip(&[&["-n", namespace, "address", "add", address, "dev", device], nodad].concat());
            }
            ip(&["-n", namespace, "link", "set", device, "up"]);
        }
        for number in 1..=16 {
            ip(&["-n", internet, "address", "add", &format!("203.0.113.{number}/32"), "dev", "lo"]);
        }
        ip(&["-n", internet, "address", "add", "2001:db8:2::7/128", "dev", "lo", "nodad"]);
        ip(&["-n", node, "route", "add", "default", "via", "192.0.2.254", "src", NODE]);
        ip(&["-n", node, "route", "add", "default", "via", "2001:db8:1::fe", "src", "2001:db8:1::1"]);
    }

    /// Sets the node's /etc/hosts, live.
    pub fn hosts(&self, hosts: &[(&str, &str)]) {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (address, name) in hosts {
            text.push_str(&format!("{address} {name}\n"));
        }
        fs::write(self.directory.join("hosts"), text).expect("the lab's hosts");
    }

    /// Starts a DNS server in the internet, which the node asks from now on.
    pub fn dns(&self) -> Dns {
        let dns = Dns::start(&self.internet, DNS);
        fs::write(self.directory.join("resolv.conf"), format!("nameserver {DNS}\n")).expect("the lab's resolv.conf");
        dns
    }

    /// Starts another DNS server in the internet, which only those ask who know its address.
    pub fn dns_at(&self, address: &str) -> Dns {
        Dns::start(&self.internet, address)
    }

    /// A certificate authority of the lab's own.
    pub fn pki(&self) -> Pki {
        Pki::new(&self.directory)
    }

    /// Starts a third party in the internet.
    pub fn third_party(&self, address: &str, port: u16, behaviour: Behaviour) -> ThirdParty {
        let address: IpAddr = address.parse().expect("an address");
        ThirdParty::start(&self.internet, (address, port).into(), behaviour)
    }

    /// Starts a real server in the internet and waits until it listens on this port.
    pub fn service(&self, port: u16, program: &str, arguments: &[&str]) -> Service {
        let mut command = Command::new(program);
        command.args(arguments);
        Place { namespace: &self.internet, ..self.place("internet") }.put(&mut command);
        Service::start(command, port)
    }

    /// The same on the node, in a cgroup of its own below the captured one: a unit, as systemd would make it.
    pub fn node_service(&self, unit: &str, port: u16, program: &str, arguments: &[&str]) -> Service {
        let cgroup = self.cgroup.join(unit);
        fs::create_dir_all(&cgroup).expect("a cgroup for the unit");
        Service::start(self.workload_in(&cgroup, program, arguments), port)
    }

    /// The same of one that connects to others itself, as on another machine: outside of the captured cgroup.
    pub fn outside_service(&self, port: u16, program: &str, arguments: &[&str]) -> Service {
        let mut command = Command::new(program);
        command.args(arguments);
        Place { namespace: &self.internet, cgroup: cgroup_root(), ..self.place("") }.put(&mut command);
        Service::start(command, port)
    }

    /// Starts a collector of OpenTelemetry in the internet.
    pub fn collector(&self, address: &str, port: u16) -> Collector {
        Collector::start(self.listen(address, port), None)
    }

    /// The same that speaks TLS.
    pub fn tls_collector(&self, address: &str, port: u16, identity: Identity) -> Collector {
        Collector::start(self.listen(address, port), Some(identity))
    }

    /// A socket that listens in the internet, for a third party of the caller's own.
    pub fn listen(&self, address: &str, port: u16) -> TcpListener {
        let address: IpAddr = address.parse().expect("an address");
        third_party::listen(&self.internet, (address, port).into())
    }

    /// A socket in the internet for datagrams, for a third party of the caller's own.
    pub fn datagrams(&self, address: &str, port: u16) -> UdpSocket {
        let address: IpAddr = address.parse().expect("an address");
        third_party::datagrams(&self.internet, (address, port).into())
    }

    /// A command of a gateway on the node, beside the captured workloads.
    pub fn gateway(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        self.place("egret").put(&mut command);
        command
    }

    /// The cgroup of what [`Lab::gateway`] and [`Lab::egret`] run.
    pub fn gateway_cgroup(&self) -> PathBuf {
        self.cgroup.join("egret")
    }

    /// The cgroup of what [`Lab::workload`] runs.
    pub fn workload_cgroup(&self) -> PathBuf {
        self.cgroup.join(WORKLOAD)
    }

    /// A command of an application on the node, in a cgroup below the captured one.
    pub fn workload(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        self.place(WORKLOAD).put(&mut command);
        command
    }

    /// A new pod on the node, of which its kubelet says nothing yet.
    pub fn pod(&self, namespace: &str, name: &str) -> Pod<'_> {
        Pod::new(self, namespace, name)
    }

    /// A Kubernetes API server, which is not started yet.
    pub fn api_server(&self) -> ApiServer<'_> {
        ApiServer::new(self)
    }

    /// A new container with a network namespace of its own, which has no name: nobody knows of it before its first process.
    pub fn container(&self) -> Container<'_> {
        Container::new(self, false)
    }

    /// The same with a name below /run/netns, which container runtimes give to a namespace before they start a process there.
    pub fn named_container(&self) -> Container<'_> {
        Container::new(self, true)
    }

    /// So many network namespaces without a process, named as by a container runtime, whose loopback is up.
    pub fn named_namespaces(&self, count: usize) -> NamedNamespaces {
        let named = (0..count).map(|number| {
            let namespace = Namespace::new(&format!("{}e{number}", self.node.name()));
            ip(&["-n", namespace.name(), "link", "set", "lo", "up"]);
            namespace.show(&self.directory);
            namespace
        });
        NamedNamespaces(named.collect())
    }

    /// Podman on the node; once a lab, and before what is to see its containers.
    pub fn podman(&self) -> Podman<'_> {
        let Mounts { node, runtime } = namespace::mounts_of_runtime(&self.directory, &Podman::storage(self));
        self.mounts.set(node).expect("one Podman a lab");
        Podman::new(self, runtime)
    }

    /// The node forwards packets of its containers.
    fn forward(&self) {
        let settings = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
        let status = self.gateway("sh", &["-c", settings]).status().expect("sh runs");
        assert!(status.success(), "the node does not forward");
    }

    /// A command of an application in a network namespace other than the node's, as in a container.
    pub fn foreign_workload(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        Place { namespace: &self.internet, ..self.place(WORKLOAD) }.put(&mut command);
        command
    }

    /// Runs a command of an application to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.workload(program, arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Status and body of what curl gets; status 0 if it gets nothing.
    pub fn curl(&self, url: &str) -> (u16, String) {
        curled(&self.run("curl", &["-s", "-m", "10", "-w", "\n%{http_code}", url]))
    }

    /// Runs a Python program as an application; returns what it printed, panics when it fails.
    pub fn python(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run("python3", &[&["-c", program], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a Python program as an application to talk to.
    pub fn converse(&self, program: &str) -> Conversation {
        self.converse_in(&self.workload_cgroup(), program)
    }

    /// The same in any cgroup of the host.
    pub fn converse_in(&self, cgroup: &Path, program: &str) -> Conversation {
        Conversation::start(self.workload_in(cgroup, "python3", &["-c", program]))
    }

    /// Changes the node's network.
    pub fn node_ip(&self, arguments: &[&str]) {
        ip(&[&["-n", self.node.name()], arguments].concat());
    }

    /// Changes the internet's network.
    pub fn internet_ip(&self, arguments: &[&str]) {
        ip(&[&["-n", self.internet.name()], arguments].concat());
    }

    /// Writes the configuration: `apis` is YAML below `apis:`.
    pub fn configure(&self, apis: &str) -> PathBuf {
        let (own, egress) = (self.settings(), format!("egress:\n  addresses: [{EGRESS}, '{EGRESS_V6}']"));
        self.write_config(&format!("{own}{egress}\napis:\n{apis}"))
    }

    /// Writes a directory as the configuration: an example of the project, which `edit` may change, and the lab's own
    /// settings.
    pub fn configure_like(&self, example: &str, edit: impl FnOnce(String) -> String) -> PathBuf {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
        let directory = self.directory.join("egret.d");
        fs::create_dir_all(&directory).expect("the lab's configuration");
        let text = fs::read_to_string(examples.join(format!("{example}.yaml"))).expect("an example");
        fs::write(directory.join("example.yaml"), edit(text)).expect("the lab's configuration");
        // What the example names lies beside it, by its name.
        for path in fs::read_dir(examples).expect("examples").flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            if name.starts_with(&format!("{example}.")) && !name.ends_with(".yaml") {
                fs::copy(&path, directory.join(name)).expect("what an example names");
            }
        }
        fs::write(directory.join("lab.yaml"), self.settings()).expect("the lab's configuration");
        directory
    }

    /// What holds for each configuration of the lab.
    fn settings(&self) -> String {
        format!(
            "version: 1\ncapture:\n  cgroup: {}\n  pins: {}\nkubelet:\n  pods: {}\n  logs: {}\n  cgroup: /{}\nadmin:\n  socket: {}\nstate:\n  directory: {}\nca:\n  certificate: {}\n  key: {}\n\
             telemetry:\n  address: 127.0.0.1:9464\n  access_log: {}\n",
            self.cgroup.display(),
            self.pins.display(),
            self.kubelet("pods").display(),
            self.kubelet("logs").display(),
            self.cgroup.file_name().expect("a name").display(),
            self.socket().display(),
            self.directory.join("state").display(),
            self.directory.join("egret-ca.pem").display(),
            self.directory.join("egret-ca-key.pem").display(),
            self.access_log().display(),
        )
    }

    /// Writes any text as the configuration, as an editor would: a new file in the old one's place.
    pub fn write_config(&self, text: &str) -> PathBuf {
        let (path, fresh) = (self.directory.join("egret.yaml"), self.directory.join("egret.yaml.new"));
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).expect("the lab's configuration");
        path
    }

    /// The daemon's admin socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }

    /// The daemon's access log.
    pub fn access_log(&self) -> PathBuf {
        self.directory.join("access.log")
    }

    /// Where the daemon pins its hooks.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Directory of the lab's files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts Egret with this configuration and waits until it is ready.
    pub fn egret(&self, config: &Path, arguments: &[&str]) -> Egret {
        self.start_egret(config, arguments).ready()
    }

    /// Starts Egret with this configuration, and does not wait.
    pub fn start_egret(&self, config: &Path, arguments: &[&str]) -> Egret {
        Egret::start(self, config, arguments)
    }

    /// Starts a command that ends up as `egret run`, and does not wait.
    pub fn start_egret_by(&self, command: Command) -> Egret {
        Egret::start_by(self, command)
    }

    /// A command of an application on the node, in any cgroup of the host.
    pub fn workload_in(&self, cgroup: &Path, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        Place { cgroup: cgroup.to_owned(), ..self.place("") }.put(&mut command);
        command
    }

    /// Runs an `egret` command on the node; panics when it fails.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        assert!(
            output.status.success(),
            "egret {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs an `egret` command on the node.
    pub fn try_cli(&self, arguments: &[&str]) -> Output {
        let egret = daemon::executable();
        self.gateway(egret.to_str().expect("a path in UTF-8"), arguments).output().expect("egret runs")
    }

    /// What `egret ... --output json` says.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let socket = self.socket();
        let socket = socket.to_str().expect("a path in UTF-8");
        let text = self.cli(&[arguments, &["--output", "json", "--socket", socket]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A directory of the node's kubelet.
    fn kubelet(&self, name: &str) -> PathBuf {
        self.directory.join("kubelet").join(name)
    }

    fn place(&self, cgroup: &str) -> Place<'_> {
        let (namespace, mounts) = (&self.node, self.mounts.get());
        Place { namespace, cgroup: self.cgroup.join(cgroup), mounts, files: &self.directory }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(&self.cgroup, &self.pins, &self.directory);
    }
}

/// Removes what is there of a lab, but for its namespaces.
fn remove(cgroup: &Path, pins: &Path, directory: &Path) {
    namespace::empty(cgroup);
    if pins.exists() {
        let _ = Command::new(daemon::executable()).args(["detach", "--pins"]).arg(pins).output();
    }
    let _ = fs::remove_dir_all(directory);
}

/// Hooks are attached to the root of the hierarchy: those of a test that was killed would stay for ever.
fn remove_pins_of_dead_labs() {
    let is_dead = |pins: &Path| {
        let name = pins.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let pid = name.strip_prefix("egret").and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
        pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
    };
    let pins = fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten().map(|entry| entry.path());
    for pins in pins.filter(|pins| is_dead(pins)) {
        let _ = Command::new(daemon::executable()).args(["detach", "--pins"]).arg(pins).output();
    }
}

/// Asks again until it is so, for at most ten seconds; for EGRET_LAB_PATIENCE seconds on a machine that is slow, as an emulated
/// one is.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let seconds = std::env::var("EGRET_LAB_PATIENCE").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Status and body of what `curl -w "\n%{http_code}"` printed.
fn curled(output: &Output) -> (u16, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.trim().parse().unwrap_or(0), body.trim().to_owned())
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}

/// Returns the mount point of the host's cgroup v2 hierarchy.
pub fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a cgroup v2 hierarchy");
    PathBuf::from(line.split(' ').nth(4).expect("a mount point"))
}
