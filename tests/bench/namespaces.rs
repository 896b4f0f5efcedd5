//! What a network namespace costs in which Egret listens, and what a connection from one costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use egret_tests::{Egret, Lab, eventually};
use serde_json::Value;

use crate::gateway::{THIRD_PARTY, cpu};
use crate::passthrough::{many_ports, number};
use crate::report::Report;
use crate::{APPLICATIONS, GATEWAY, on_cpu, third_party};

const NAME: &str = "api.partner.example";
const PORT: u16 = 443;
const API: &str = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [443]\n";
const CONNECTIONS: u64 = 5_000;

/// How many there are, as the columns of the report.
const SIZES: [(&str, usize); 3] = [("10", 10), ("100", 100), ("500", 500)];

pub(crate) fn run(rounds: u32) -> Report {
    let mut report = Report::new("namespaces", rounds, Vec::new());
    for round in 1..=rounds {
        let mut fewest = None;
        for (column, count) in SIZES {
            eprintln!("bench: round {round} of {rounds}: {column}");
            let memory = namespaces(column, count, &mut report);
            // Against another run: what Egret needed for its start goes back to the kernel at some time, and hides what came later.
            let (least, few) = *fewest.get_or_insert((memory, count));
            if count > few {
                let each = (memory - least) / (count - few) as f64;
                report.add("a namespace", "memory of Egret", "KB", column, each / 1e3);
            }
        }
        connections(&mut report);
    }
    report
}

/// What Egret has and uses.
struct Figures {
    memory: f64,
    kernel: f64,
    descriptors: f64,
    threads: f64,
}

/// Adds what so many namespaces cost beside the first one, each and together. Returns the memory of Egret.
fn namespaces(column: &'static str, count: usize, report: &mut Report) -> f64 {
    let lab = Lab::new();
    let _dns = lab.dns();
    on_cpu(GATEWAY);
    let egret = lab.egret(&lab.configure(API), &[]);
    on_cpu(APPLICATIONS);
    let charged = Charged::of(&lab, &egret);
    let figures = || Figures {
        memory: settled(&egret),
        kernel: charged.bytes(),
        descriptors: entries(&egret, "fd") as f64,
        threads: entries(&egret, "task") as f64,
    };
    let served = || lab.json(&["status"])["namespaces"].as_u64();
    let _first = lab.named_container();
    eventually("Egret listens in the first one", || served() == Some(1));
    let before = figures();
    let _named = lab.named_namespaces(count);
    eventually("Egret listens in all of them", || served() == Some(count as u64 + 1));
    let after = figures();
    let mut add = |name, unit, grown: f64| report.add("a namespace", name, unit, column, grown / count as f64);
    add("memory of the kernel", "KB", (after.kernel - before.kernel) / 1e3);
    add("descriptors", "", after.descriptors - before.descriptors);
    add("threads", "", after.threads - before.threads);
    let mut add = |name, unit, value: f64| report.add("all of them", name, unit, column, value);
    add("memory of Egret", "MB", after.memory / 1e6);
    add("descriptors", "", after.descriptors);
    add("threads that enter namespaces", "", threads(&egret, "namespaces") as f64);
    egret.stop();
    after.memory
}

/// The memory of Egret, once it does not change any more: what it needed for its start goes back to the kernel.
fn settled(egret: &Egret) -> f64 {
    const APART: Duration = Duration::from_millis(500);
    let mut last = egret.memory();
    for _ in 0..20 {
        std::thread::sleep(APART);
        let now = egret.memory();
        if now.abs_diff(last) < 64 << 10 {
            break;
        }
        last = now;
    }
    last as f64
}

/// Entries of a directory of Egret's in proc(5).
fn entries(egret: &Egret, directory: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{directory}", egret.pid())).expect("a running process").count()
}

/// Threads of Egret's of this name.
fn threads(egret: &Egret, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", egret.pid())).expect("a running process").flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

/// Where the kernel counts the memory that it takes for Egret.
enum Charged {
    /// `memory.stat` of Egret's cgroup.
    Unified(PathBuf),
    /// A cgroup of Egret alone in the hierarchy of the memory controller of cgroup v1, removed with this.
    Older(PathBuf),
    /// Nowhere: there is no memory controller.
    Unknown,
}

impl Charged {
    fn of(lab: &Lab, egret: &Egret) -> Self {
        let stat = lab.gateway_cgroup().join("memory.stat");
        if stat.exists() {
            return Self::Unified(stat);
        }
        let older = Path::new("/sys/fs/cgroup/memory").join(format!("egret-bench-{}", egret.pid()));
        // What it takes from now on is counted there.
        let moved =
            fs::create_dir(&older).and_then(|()| fs::write(older.join("cgroup.procs"), egret.pid().to_string()));
        if moved.is_ok() { Self::Older(older) } else { Self::Unknown }
    }

    /// Bytes; NaN where nobody counts them.
    fn bytes(&self) -> f64 {
        let counted = match self {
            Self::Unified(stat) => fs::read_to_string(stat).ok().and_then(|text| {
                let of = |what: &str| text.lines().find_map(|line| line.strip_prefix(what)?.trim().parse::<f64>().ok());
                // Slabs, stacks and sockets' structures are in the first (cgroup-v2, memory.stat), buffers of sockets in the second.
                Some(of("kernel ")? + of("sock ")?)
            }),
            Self::Older(cgroup) => {
                let of = |file| fs::read_to_string(cgroup.join(file)).ok()?.trim().parse::<f64>().ok();
                of("memory.kmem.usage_in_bytes")
                    .map(|bytes| bytes + of("memory.kmem.tcp.usage_in_bytes").unwrap_or(0.0))
            }
            Self::Unknown => None,
        };
        counted.unwrap_or(f64::NAN)
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        if let Self::Older(cgroup) = self {
            // Egret has ended; the kernel may need a moment to see it.
            eventually("the cgroup is empty", || fs::remove_dir(&*cgroup).is_ok());
        }
    }
}

/// Adds what a connection with one small exchange costs from the node's network namespace, and from another one.
fn connections(report: &mut Report) {
    let lab = Lab::new();
    many_ports(&lab);
    lab.hosts(&[(THIRD_PARTY, NAME)]);
    third_party::start(lab.listen(THIRD_PARTY, PORT));
    on_cpu(GATEWAY);
    let egret = lab.egret(&lab.configure(API), &[]);
    on_cpu(APPLICATIONS);
    let container = lab.named_container();
    let this = std::env::current_exe().expect("this executable");
    let this = this.to_str().expect("a path in UTF-8");
    let to = format!("{THIRD_PARTY}:{PORT}");
    let load = |mut command: Command| -> Value {
        let output = command.output().expect("the application starts");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("what the application measured")
    };
    for column in ["node", "namespace"] {
        let connect = |count: u64| {
            let arguments = ["load", "connections", &to, "1", &count.to_string()];
            let is_nodes = column == "node";
            load(if is_nodes { lab.workload(this, &arguments) } else { container.command(this, &arguments) })
        };
        connect(500);
        let before = cpu(&lab);
        let measured = connect(CONNECTIONS);
        let used = (cpu(&lab) - before).as_secs_f64();
        let each = |seconds: f64| seconds / CONNECTIONS as f64 * 1e6;
        report.add("a new connection", "time", "us", column, each(number(&measured, "seconds")));
        report.add("a new connection", "CPU of Egret", "us", column, each(used));
    }
    egret.stop();
}
