//! The contestants: each carries from the application to the third party, by SNI, from the egress address, and logs
//! one line per connection.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use egret_tests::{EGRESS, Egret, Lab, eventually, listens};

use crate::{APPLICATIONS, GATEWAY, on_cpu};

pub(crate) const THIRD_PARTY: &str = "203.0.113.7";
const NGINX: u16 = 8443;
const HAPROXY: u16 = 8444;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    Direct,
    Egret,
    Nginx,
    Haproxy,
}

/// A contestant at work.
pub(crate) struct Running {
    /// Where the application connects to.
    pub(crate) to: SocketAddr,
    _egret: Option<Egret>,
    _peer: Option<Peer>,
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

    /// Starts it alone on its CPU and waits until it is ready.
    pub(crate) fn start(self, lab: &Lab) -> Running {
        on_cpu(GATEWAY);
        let (mut egret, mut peer) = (None, None);
        let to = match self {
            Self::Direct => (THIRD_PARTY, 443),
            Self::Egret => {
                let config = lab.configure("  - name: partner\n    hosts: [api.partner.example]\n");
                egret = Some(lab.egret(&config, &[]));
                (THIRD_PARTY, 443)
            }
            Self::Nginx => {
                peer = Some(Peer::start(lab, "nginx", "-c", &nginx(lab), NGINX));
                ("127.0.0.1", NGINX)
            }
            Self::Haproxy => {
                peer = Some(Peer::start(lab, "haproxy", "-f", &haproxy(), HAPROXY));
                ("127.0.0.1", HAPROXY)
            }
        };
        on_cpu(APPLICATIONS);
        let (address, port) = to;
        Running {
            to: (address.parse::<std::net::IpAddr>().expect("an address"), port).into(),
            _egret: egret,
            _peer: peer,
        }
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

/// Without `proxy_buffer_size` it copies 16 KiB at a time: 64 KiB is its better side. `proxy_half_close` makes it do what the
/// others do: pass on the end of one direction alone.
fn nginx(lab: &Lab) -> String {
    let directory = lab.directory().display();
    format!(
        "daemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx-error.log;\n\
         load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nevents {{ worker_connections 16384; }}\n\
         stream {{\n  log_format flow '$time_iso8601 $remote_addr $ssl_preread_server_name $bytes_sent $session_time';\n  \
         access_log {directory}/nginx-access.log flow;\n  \
         map $ssl_preread_server_name $upstream {{ api.partner.example {THIRD_PARTY}:443; }}\n  \
         server {{\n    listen 127.0.0.1:{NGINX} backlog=4096;\n    ssl_preread on;\n    proxy_pass $upstream;\n    \
         proxy_bind {EGRESS};\n    proxy_buffer_size 64k;\n    proxy_half_close on;\n    tcp_nodelay on;\n  }}\n}}\n"
    )
}

/// With forced splice(2).
fn haproxy() -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\n  log stdout format raw local0\ndefaults\n  mode tcp\n  log global\n  \
         option tcplog\n  option splice-request\n  option splice-response\n  timeout connect 10s\n  timeout client 10m\n  \
         timeout server 10m\nfrontend in\n  bind 127.0.0.1:{HAPROXY} backlog 4096\n  tcp-request inspect-delay 5s\n  \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
         use_backend partner if {{ req.ssl_sni -i api.partner.example }}\nbackend partner\n  source {EGRESS}\n  \
         server partner {THIRD_PARTY}:443\n"
    )
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
