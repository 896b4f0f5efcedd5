//! The contestants: each carries from the application to the third party, from the egress address, and logs one line for
//! each connection or request.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use egret_tests::{Egret, Lab, eventually, listens};

use crate::{APPLICATIONS, GATEWAY, on_cpu};

pub(crate) const THIRD_PARTY: &str = "203.0.113.7";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    Direct,
    Egret,
    Nginx,
    Haproxy,
}

/// What the contestants are told. Each peer listens for a port of the third party on [`Contestant::port`].
pub(crate) struct Configs {
    /// YAML below `apis:`.
    pub(crate) egret: String,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    /// A port of the third party: a peer is ready when it listens for it.
    pub(crate) ready: u16,
}

/// A contestant at work.
pub(crate) struct Running {
    contestant: Contestant,
    /// Held, and ended with this.
    egret: Option<Egret>,
    peer: Option<Peer>,
}

impl Running {
    /// Ends, and starts anew.
    pub(crate) fn again(&mut self, lab: &Lab, configs: &Configs) {
        (self.egret, self.peer) = (None, None);
        *self = self.contestant.start(lab, configs);
    }

    /// Where the application connects to for a port of the third party.
    pub(crate) fn to(&self, port: u16) -> String {
        let address = match self.contestant {
            Contestant::Direct | Contestant::Egret => THIRD_PARTY,
            Contestant::Nginx | Contestant::Haproxy => "127.0.0.1",
        };
        format!("{address}:{}", self.contestant.port(port))
    }
}

struct Peer(Child);

impl Contestant {
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Egret, Self::Nginx, Self::Haproxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Egret => "egret",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Where it listens for a port of the third party.
    pub(crate) fn port(self, port: u16) -> u16 {
        match self {
            Self::Direct | Self::Egret => port,
            Self::Nginx => 8000 + port,
            Self::Haproxy => 9000 + port,
        }
    }

    /// Starts it alone on its CPU and waits until it is ready.
    pub(crate) fn start(self, lab: &Lab, configs: &Configs) -> Running {
        on_cpu(GATEWAY);
        let (mut egret, mut peer) = (None, None);
        let ready = self.port(configs.ready);
        match self {
            Self::Direct => {}
            Self::Egret => egret = Some(lab.egret(&lab.configure(&configs.egret), &[])),
            Self::Nginx => peer = Some(Peer::start(lab, "nginx", "-c", &configs.nginx, ready)),
            Self::Haproxy => peer = Some(Peer::start(lab, "haproxy", "-f", &configs.haproxy, ready)),
        }
        on_cpu(APPLICATIONS);
        Running { contestant: self, egret, peer }
    }
}

impl Peer {
    fn start(lab: &Lab, program: &str, option: &str, config: &str, port: u16) -> Self {
        let path = lab.directory().join(format!("{program}.conf"));
        fs::write(&path, config).expect("a configuration");
        let log = fs::File::create(lab.directory().join(format!("{program}.log"))).expect("a log");
        let mut process = lab
            .gateway(program, &[option, path.to_str().expect("a path in UTF-8")])
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        eventually(program, || {
            assert!(process.try_wait().expect("a child").is_none(), "{program} ended");
            listens(process.id(), port)
        });
        Self(process)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGTERM: nginx's worker ends with its master.
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// CPU time that the gateway's cgroup has used.
pub(crate) fn cpu(lab: &Lab) -> Duration {
    let text = fs::read_to_string(lab.gateway_cgroup().join("cpu.stat")).expect("cpu.stat");
    let used = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("usage_usec");
    Duration::from_micros(used.parse().expect("a number"))
}

/// Memory of the gateway's processes, in bytes: what is shared counts once.
pub(crate) fn memory(lab: &Lab) -> f64 {
    let pids = fs::read_to_string(lab.gateway_cgroup().join("cgroup.procs")).expect("cgroup.procs");
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0
    };
    pids.lines().map(of).sum()
}
