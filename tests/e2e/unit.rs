//! The shipped systemd unit: Egret starts under exactly its rules, on the real root of the cgroup hierarchy, and every documented
//! fact about a caller is known there.
//!
//! The hooks are on the root of the hierarchy, as on a node. What they capture is one address and port that no other lab uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use egret_tests::{Behaviour, EGRESS, Egret, Lab, cgroup_root, eventually, executable};
use serde_json::Value;

const ADDRESS: &str = "203.0.113.15";
const PORT: u16 = 8715;
const URL: &str = "http://unit.partner.example:8715/";

/// The `[Service]` section of the unit.
struct Unit(Vec<(String, String)>);

impl Unit {
    fn shipped() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/deploy/egret.service");
        let text = fs::read_to_string(path).unwrap();
        let service = text.split("[Service]").nth(1).unwrap().split("[Install]").next().unwrap();
        let lines = service.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let directives = lines.map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line}")));
        Self(directives.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn capabilities(&self) -> Vec<&str> {
        self.0.iter().find(|(name, _)| name == "CapabilityBoundingSet").unwrap().1.split(' ').collect()
    }

    /// A command that runs `egret run` as systemd would, without these capabilities.
    fn command(&self, lab: &Lab, config: &Path, without: &[&str]) -> Command {
        let directory = lab.directory().display();
        let (mut prepare, mut setpriv) =
            (String::from("set -e\n"), String::from("setpriv --inh-caps=-all --bounding-set=-all"));
        for (name, value) in &self.0 {
            match (name.as_str(), value.as_str()) {
                ("CapabilityBoundingSet", set) => {
                    for capability in set.split(' ').filter(|capability| !without.contains(capability)) {
                        setpriv += &format!(",+{}", capability.trim_start_matches("CAP_").to_lowercase());
                    }
                }
                ("NoNewPrivileges", "yes") => setpriv += " --no-new-privs",
                ("UMask", mask) => prepare += &format!("umask {mask}\n"),
                // Only what is below the lab's directory, /dev, /proc and /sys can be written to.
                ("ProtectSystem", "strict") => {
                    prepare += &format!("mount --bind {directory} {directory}\nmount -o remount,bind,ro /\n");
                }
                ("ProtectHome", "yes") => {
                    prepare += "mount -t tmpfs -o ro none /home\nmount -t tmpfs -o ro none /root\n"
                }
                // The lab's directory takes the place of systemd's; it is in /tmp, so that has to stay.
                ("RuntimeDirectory" | "StateDirectory" | "LogsDirectory", "egret") | ("PrivateTmp", "yes") => {}
                (
                    "RuntimeDirectoryMode" | "LogsDirectoryMode" | "StateDirectoryMode" | "RuntimeDirectoryPreserve",
                    _,
                ) => {}
                // The lab's cgroups are its own.
                ("Delegate", "yes") => {}
                ("ExecStart", line) => assert!(line.contains(" run --persist "), "{line}"),
                ("Type" | "Restart" | "RestartSec" | "TimeoutStopSec" | "LimitNOFILE", _) => {}
                other => panic!("this test does not apply {other:?} yet"),
            }
        }
        let script =
            format!("{prepare}exec {setpriv} {} run --persist --config {}", executable().display(), config.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    }
}

/// A cgroup of the host, as systemd or a kubelet would make it. Removed when dropped.
struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    fn new(path: &str) -> Self {
        let mut made = Vec::new();
        let mut directory = cgroup_root();
        for part in path.split('/') {
            directory.push(part);
            if fs::create_dir(&directory).is_ok() {
                made.push(directory.clone());
            }
        }
        Self(made)
    }

    fn path(&self) -> &Path {
        self.0.last().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The lab's configuration, but with the hooks on the root of the hierarchy.
fn configure(lab: &Lab) -> PathBuf {
    lab.hosts(&[(ADDRESS, "unit.partner.example")]);
    let api = format!("  - name: partner\n    hosts: [unit.partner.example]\n    ports: [{PORT}]\n");
    let text = fs::read_to_string(lab.configure(&api)).unwrap();
    let without: Vec<_> = text.lines().filter(|line| !line.starts_with("  cgroup: ")).collect();
    lab.write_config(&without.join("\n"))
}

#[test]
fn the_shipped_unit_starts_on_the_real_root_and_knows_every_fact_about_a_caller() {
    let lab = Lab::new();
    let partner = lab.third_party(ADDRESS, PORT, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let config = configure(&lab);
    let egret: Egret = lab.start_egret_by(Unit::shipped().command(&lab, &config, &[])).ready();
    let socket = lab.socket();
    let doctor = lab.try_cli(&["doctor", "--socket", socket.to_str().unwrap()]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("ok    hooks work"), "{doctor}");

    let number = std::process::id();
    let unit = format!("egret-test-{number}.service");
    let of_unit = Cgroup::new(&format!("system.slice/{unit}"));
    let uid = format!("9d3f2b1a-4c5e-4f60-8a7b-{number:012x}");
    let container = format!("{number:064x}");
    let pod = format!("kubepods-besteffort-pod{}.slice", uid.replace('-', "_"));
    let of_pod =
        Cgroup::new(&format!("kubepods.slice/kubepods-besteffort.slice/{pod}/cri-containerd-{container}.scope"));
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    let curl = ["curl", "-s", "-m", "10", URL];
    for (cgroup, command) in
        [(of_unit.path(), [&user[..], &curl].concat()), (of_pod.path(), [&["--no-new-privs"][..], &curl].concat())]
    {
        let output = lab.workload_in(cgroup, "setpriv", &command).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS, "{}", egret.log());
    }
    // The pod without `privileged` has the same capabilities: they are enough to enter the network namespaces of containers.
    let foreign = lab.container();
    assert_eq!(foreign.curl(URL), (200, EGRESS.to_owned()), "{}", egret.log());
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    let log = || -> Vec<Value> {
        let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("all flows are on record", || log().len() >= 3);
    let log = log();
    let fact =
        |fact: &str, value: &str| log.iter().find(|line| line[fact] == value).unwrap_or_else(|| panic!("{log:?}"));
    let by_unit = fact("unit", &unit);
    let executable = fs::canonicalize("/usr/bin/curl").unwrap();
    assert_eq!(by_unit["executable"], executable.to_str().unwrap());
    assert_eq!((&by_unit["uid"], &by_unit["user"]), (&65534.into(), &"nobody".into()));
    assert!(by_unit["pid"].as_u64().unwrap() > 0 && by_unit["command"] == "curl", "{by_unit}");
    assert_eq!(by_unit["cgroup"], format!("/system.slice/{unit}"));
    let by_pod = fact("pod", &uid);
    assert_eq!(by_pod["container"], container);
    assert_eq!((&by_pod["executable"], &by_pod["user"]), (&executable.to_str().unwrap().into(), &"root".into()));
    egret.stop();
    lab.cli(&["detach", "--pins", lab.pins().to_str().unwrap()]);
}

#[test]
fn a_capability_that_is_missing_is_named() {
    let lab = Lab::new();
    let config = configure(&lab);
    let unit = Unit::shipped();
    for capability in unit.capabilities() {
        let mut egret = lab.start_egret_by(unit.command(&lab, &config, &[capability]));
        eventually("it does not start", || !egret.runs());
        let log = egret.log();
        assert!(log.contains(&format!("capabilities are missing: {capability} (to ")), "{log}");
        assert_eq!(log.matches("CAP_").count(), 1, "{log}");
    }
}
