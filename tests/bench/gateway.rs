//! The contestants: each carries from the application to the third party, from the egress address, and logs one line for
//! each connection or request.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use egret_tests::{Egret, Lab, eventually, listens};

use crate::{APPLICATIONS, GATEWAY, on_cpu};

pub(crate) const THIRD_PARTY: &str = "203.0.113.7";

/// The variable that names Envoy's executable.
const ENVOY: &str = "ENVOY_BIN";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    Direct,
    Egret,
    Nginx,
    Haproxy,
    /// Only where `ENVOY_BIN` says where it is.
    Envoy,
}

/// What the contestants are told. Each peer listens for a port of the third party on [`Contestant::port`].
pub(crate) struct Configs {
    /// YAML below `apis:`.
    pub(crate) egret: String,
    pub(crate) nginx: String,
    pub(crate) haproxy: String,
    pub(crate) envoy: String,
    /// A port of the third party: a peer is ready when it listens for it.
    pub(crate) ready: u16,
}

/// A contestant at work.
pub(crate) struct Running {
    contestant: Contestant,
    /// Ended with this, in order: hooks of a killed Egret would refuse the next contestant's connections.
    egret: Option<Egret>,
    peer: Option<Peer>,
}

impl Running {
    /// Ends, and starts anew.
    pub(crate) fn again(&mut self, lab: &Lab, configs: &Configs) {
        self.end();
        *self = self.contestant.start(lab, configs);
    }

    fn end(&mut self) {
        if let Some(egret) = self.egret.take() {
            egret.stop();
        }
        self.peer = None;
    }

    /// Where the application connects to for a port of the third party.
    pub(crate) fn to(&self, port: u16) -> String {
        let address = match self.contestant {
            Contestant::Direct | Contestant::Egret => THIRD_PARTY,
            Contestant::Nginx | Contestant::Haproxy | Contestant::Envoy => "127.0.0.1",
        };
        format!("{address}:{}", self.contestant.port(port))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// A peer's process, ended with this.
pub(crate) struct Peer(Child);

impl Contestant {
    /// Those that are on this machine.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Direct, Self::Egret, Self::Nginx, Self::Haproxy];
        all.extend(std::env::var_os(ENVOY).map(|_| Self::Envoy));
        all
    }

    /// Those that Egret is compared with, and their versions.
    pub(crate) fn peers() -> Vec<(&'static str, String)> {
        let peers = Self::all().into_iter().filter(|contestant| !matches!(contestant, Self::Direct | Self::Egret));
        peers.map(|peer| (peer.name(), peer.version())).collect()
    }

    fn version(self) -> String {
        let option = if self == Self::Envoy { "--version" } else { "-v" };
        let output = Command::new(self.program()).arg(option).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.program()));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let (_, text) = text.split_once("version").expect("a version");
        let mut words = text.split([' ', '/', '-', '\n']);
        let numbered = |word: &&str| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit());
        words.find(numbered).expect("a version's number").to_owned()
    }

    /// The executable of a peer.
    fn program(self) -> String {
        match self {
            Self::Envoy => std::env::var(ENVOY).expect("a path in UTF-8"),
            _ => self.name().to_owned(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Egret => "egret",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Where it listens for a port of the third party.
    pub(crate) fn port(self, port: u16) -> u16 {
        match self {
            Self::Direct | Self::Egret => port,
            Self::Nginx => 8000 + port,
            Self::Haproxy => 9000 + port,
            Self::Envoy => 7000 + port,
        }
    }

    /// Starts it alone on its CPU and waits until it is ready.
    pub(crate) fn start(self, lab: &Lab, configs: &Configs) -> Running {
        on_cpu(GATEWAY);
        let (mut egret, mut peer) = (None, None);
        let ready = self.port(configs.ready);
        match self {
            Self::Direct => {}
            Self::Egret => {
                // One workload makes all connections here.
                let config = format!("{}limits: {{connections_per_workload: 20000}}\n", configs.egret);
                egret = Some(lab.egret(&lab.configure(&config), &[]));
            }
            Self::Nginx => peer = Some(Peer::start(lab, self, &["-c"], &configs.nginx, ready)),
            Self::Haproxy => peer = Some(Peer::start(lab, self, &["-f"], &configs.haproxy, ready)),
            Self::Envoy => {
                let options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"];
                peer = Some(Peer::start(lab, self, &options, &configs.envoy, ready));
            }
        }
        on_cpu(APPLICATIONS);
        Running { contestant: self, egret, peer }
    }
}

impl Peer {
    /// The last of the options takes the configuration's path.
    fn start(lab: &Lab, peer: Contestant, options: &[&str], config: &str, port: u16) -> Self {
        let (name, program) = (peer.name(), peer.program());
        // Envoy goes by the ending, the others do not.
        let path = lab.directory().join(format!("{name}.json"));
        fs::write(&path, config).expect("a configuration");
        Self::run(lab, name, &program, &[options, &[path.to_str().expect("a path in UTF-8")]].concat(), port)
    }

    /// Starts a program and waits until it listens on this port.
    pub(crate) fn run(lab: &Lab, name: &str, program: &str, arguments: &[&str], port: u16) -> Self {
        let log = fs::File::create(lab.directory().join(format!("{name}.log"))).expect("a log");
        let mut process = lab
            .gateway(program, arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        eventually(name, || {
            assert!(process.try_wait().expect("a child").is_none(), "{name} ended");
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
