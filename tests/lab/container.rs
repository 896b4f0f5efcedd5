//! Containers with a network namespace of their own, behind a veth, as a container runtime makes them.

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::namespace::{Namespace, Place};
use crate::{Conversation, Lab, ip};

/// A container. Its connections reach the internet from its own address, so that a third party sees which of them left past Egret.
#[derive(Debug)]
pub struct Container<'a> {
    lab: &'a Lab,
    namespace: Namespace,
    cgroup: String,
    address: IpAddr,
}

impl<'a> Container<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (node, internet) = (lab.node.name(), lab.internet.name());
        let namespace = Namespace::new(&format!("{node}c{number}"));
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
        Self { lab, namespace, cgroup, address: v4(2).parse().expect("an address") }
    }

    /// The address that a third party sees of connections that leave past Egret.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// A command in the container.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        Place { namespace: &self.namespace, ..self.lab.place(&self.cgroup) }.put(&mut command);
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
