//! One owner: what a caller names its own cgroups changes neither what it may use nor who it is.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use egret_tests::{Lab, eventually};
use serde_json::Value;

use crate::partner;

/// An unprivileged user to whom the node has delegated a cgroup, as systemd does for each `user@UID.service`.
const USER: u32 = 12345;

/// Calls the partner once from each of these cgroups below the caller's own, which it makes; prints the statuses.
const CALLS: &str = r#"
import os, socket, sys
own, names = sys.argv[1], sys.argv[2:]
statuses = []
for name in names:
    path = os.path.join(own, name)
    os.makedirs(path, exist_ok=True)
    open(path + "/cgroup.procs", "w").write("0")
    s = socket.create_connection(("api.partner.example", 80), 10)
    s.sendall(b"GET /from HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
    heard = b""
    while part := s.recv(65536):
        heard += part
    statuses.append(heard.split(b" ")[1].decode())
print(*statuses)
"#;

/// Makes a cgroup below the lab's and gives it to [`USER`].
fn delegated(lab: &Lab, path: &str) -> PathBuf {
    let directory = lab.workload_cgroup().with_file_name(path);
    fs::create_dir_all(&directory).unwrap();
    for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(directory.join(name), Some(USER), Some(USER)).unwrap();
    }
    directory
}

/// What a Python program of [`USER`] in this cgroup prints.
fn unprivileged(lab: &Lab, cgroup: &Path, program: &str, arguments: &[&str]) -> String {
    let join = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", cgroup.display());
    let user = format!("--reuid={USER}");
    let group = format!("--regid={USER}");
    let own = cgroup.to_str().unwrap();
    let drop = ["setpriv", &user, &group, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    let all = [&["-c", &join, "sh"][..], &drop, &["/usr/bin/python3", "-c", program, own], arguments].concat();
    let output = lab.run("sh", &all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn api(policies: &str) -> String {
    format!(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies:\n      inbound:\n{policies}"
    )
}

/// What the partner was sent.
fn seen(partner: &egret_tests::ThirdParty) -> String {
    let seen: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn cgroups_that_a_caller_makes_do_not_multiply_its_limits() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(&api("        - rate-limit: {calls: 2, period: 1h}\n")), &[]);
    let own = delegated(&lab, "app.service");
    let statuses = unprivileged(&lab, &own, CALLS, &["a", "b", "c/d", "other.service", "kubepods/x"]);
    assert_eq!(statuses, "200 200 429 429 429");
    assert_eq!(seen(&partner).matches("GET /from").count(), 2);
    // Another owner has a limit of its own.
    let other = delegated(&lab, "other.service");
    assert_eq!(unprivileged(&lab, &other, CALLS, &["a"]), "200");
    let rows = lab.json(&["inspect", "limits"]);
    let keys: Vec<_> = rows.as_array().unwrap().iter().map(|row| (&row["key"], &row["used"])).collect();
    assert_eq!(keys, [(&"app.service".into(), &2.into()), (&"other.service".into(), &1.into())]);
    eventually("the owner is on record", || {
        let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.iter().any(|line| {
            line["owner"] == "app.service"
                && line["workload"] == "app.service"
                && line["claimed_name"] == "other.service"
        })
    });
}

#[test]
fn cgroups_that_a_caller_makes_do_not_multiply_its_connections() {
    const HOLDS: &str = r#"
import os, socket, sys
held, heard = [], []
for number in range(6):
    path = os.path.join(sys.argv[1], f"c{number}")
    os.makedirs(path)
    open(path + "/cgroup.procs", "w").write("0")
    s = socket.create_connection(("203.0.113.7", 7000), timeout=10)
    held.append(s)
    try:
        s.sendall(b"x")
        heard.append(s.recv(1).decode() or "closed")
    except ConnectionResetError:
        heard.append("reset")
print(*heard)
"#;
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _echo = lab.third_party("203.0.113.7", 7000, egret_tests::Behaviour::Echo);
    let limits = "limits: {connections_per_workload: 2}\n";
    let _egret = lab.egret(&lab.configure(&format!("{}{limits}", crate::PARTNER)), &[]);
    let own = delegated(&lab, "app.service");
    assert_eq!(unprivileged(&lab, &own, HOLDS, &[]), "x x reset reset reset reset");
}

#[test]
fn a_cgroup_named_like_a_unit_or_a_pod_is_neither() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let billing = lab.pod("billing", "api-0").logs();
    let policies = "        - workload-filter: {allow: [{unit: billing.service}, {namespace: billing}]}\n        \
                    - set-header: {name: X-Caller, value: \"${workload.owner} ${workload.unit} ${workload.pod_name}\"}\n";
    let _egret = lab.egret(&lab.configure(&api(policies)), &[]);
    let pod = format!("pod{}", billing.uid());
    let slice = format!("kubepods.slice/kubepods-pod{}.slice", billing.uid().replace('-', "_"));
    let forged = ["billing.service", &format!("kubepods/{pod}"), &slice, "x/billing.service"];
    for base in ["app.service", "lxc.payload.c1", "batch"] {
        let own = delegated(&lab, base);
        assert_eq!(unprivileged(&lab, &own, CALLS, &forged), "403 403 403 403", "{base}");
    }
    assert_eq!(seen(&partner), "");
    let real = delegated(&lab, "billing.service");
    assert_eq!(unprivileged(&lab, &real, CALLS, &["worker"]), "200");
    assert!(billing.curl("http://api.partner.example/").starts_with("HTTP/1.1 200 "));
    let seen = seen(&partner);
    assert!(seen.contains("x-caller: billing.service billing.service \r\n"), "{seen}");
    assert!(seen.contains(&format!("x-caller: pod {} cri-containerd-", billing.uid())), "{seen}");
}
