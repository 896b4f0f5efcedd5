//! Containers with a network namespace of their own, behind a veth, as a container runtime makes them.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::namespace::{NAMED, Namespace, Place};
use crate::{Conversation, Dns, Lab, ip};

/// A container. Its connections reach the internet from its own address, so that a third party sees which of them left past Egret.
#[derive(Debug)]
pub struct Container<'a> {
    lab: &'a Lab,
    namespace: Namespace,
    cgroup: String,
    address: IpAddr,
    address_v6: IpAddr,
    /// Directory of its files.
    files: PathBuf,
}

impl<'a> Container<'a> {
    pub(crate) fn new(lab: &'a Lab, is_named: bool) -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (node, internet) = (lab.node.name(), lab.internet.name());
        let namespace = Namespace::new(&format!("{node}c{number}"));
        if is_named {
            namespace.show(&lab.directory);
        }
        let (own, device) = (namespace.name(), format!("pod{number}"));
        ip(&["link", "add", "eth0", "netns", own, "type", "veth", "peer", "name", &device, "netns", node]);
        let v4 = |host: u8| format!("10.88.{number}.{host}");
        let v6 = |host: u8| format!("fd00:88:{number}::{host}");
        for (place, device, host) in [(own, "eth0", 2), (node, device.as_str(), 1)] {
            ip(&["-n", place, "address", "add", &format!("{}/24", v4(host)), "dev", device]);
            ip(&["-n", place, "address", "add", &format!("{}/64", v6(host)), "dev", device, "nodad"]);
            ip(&["-n", place, "link", "set", device, "up"]);
            ip(&["-n", place, "link", "set", "lo", "up"]);
        }
        ip(&["-n", own, "route", "add", "default", "via", &v4(1)]);
        ip(&["-n", own, "route", "add", "default", "via", &v6(1)]);
        ip(&["-n", internet, "route", "add", &format!("10.88.{number}.0/24"), "via", crate::NODE]);
        ip(&["-n", internet, "route", "add", &format!("fd00:88:{number}::/64"), "via", "2001:db8:1::1"]);
        lab.forward();
        let cgroup = format!("libpod-{number:064x}.scope");
        fs::create_dir_all(lab.cgroup.join(&cgroup)).expect("the container's cgroup");
        let [address, address_v6] = [v4(2), v6(2)].map(|address| address.parse().expect("an address"));
        Self { lab, namespace, cgroup, address, address_v6, files: lab.directory.clone() }
    }

    /// Gives it a resolv.conf of its own, and a hosts file without the lab's names.
    pub fn resolves_by(mut self, resolv_conf: &str) -> Self {
        self.files = self.lab.directory.join(&self.cgroup);
        fs::create_dir_all(self.files.join(NAMED)).expect("a directory for the container's files");
        for (name, text) in [("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", resolv_conf)] {
            fs::write(self.files.join(name), text).expect("the container's files");
        }
        self
    }

    /// Leaves it without IPv4.
    pub fn without_ipv4(self) -> Self {
        ip(&["-n", self.namespace.name(), "-4", "address", "flush", "dev", "eth0"]);
        self
    }

    /// Starts a DNS server in it.
    pub fn dns_at(&self, address: &str) -> Dns {
        Dns::start(&self.namespace, address)
    }

    /// Changes its network.
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", self.namespace.name()], arguments].concat());
    }

    /// The address that a third party sees of connections that leave past Egret.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The same of connections over IPv6.
    pub fn address_v6(&self) -> IpAddr {
        self.address_v6
    }

    /// A command in the container.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        let place = self.lab.place(&self.cgroup);
        Place { namespace: &self.namespace, files: &self.files, ..place }.put(&mut command);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program, arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Status and body of what curl gets; status 0 if it gets nothing.
    pub fn curl(&self, url: &str) -> (u16, String) {
        crate::curled(&self.run("curl", &["-s", "-m", "10", "-w", "\n%{http_code}", url]))
    }

    /// Runs a Python program; returns what it printed, panics when it fails.
    pub fn python(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run("python3", &[&["-c", program], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a Python program to talk to.
    pub fn converse(&self, program: &str) -> Conversation {
        Conversation::start(self.command("python3", &["-c", program]))
    }
}
