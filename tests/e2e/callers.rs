//! Every caller is known, whoever made its cgroup, and is still known when it is gone.

use std::fs;

use egret_tests::{EGRESS, Lab, eventually};
use serde_json::Value;

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";
const ID: &str = "3f4a7e1c9b2d5f60817263544a5b6c7d8e9f0011223344556677889900aabbcc";

fn workloads(lab: &Lab) -> Vec<Value> {
    let rows = lab.json(&["inspect", "workloads", "--limit", "1000"]);
    rows.as_array().unwrap().clone()
}

/// The row of an owner.
fn row(lab: &Lab, owner: &str) -> Value {
    let rows = workloads(lab);
    let row = rows.iter().find(|row| row["newest"]["owner"] == owner);
    row.unwrap_or_else(|| panic!("{owner}: {rows:?}")).clone()
}

#[test]
fn callers_in_every_layout_of_cgroups_are_known_after_they_have_gone() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let curl = fs::canonicalize("/usr/bin/curl").unwrap();
    // Docker, Podman, containerd (nerdctl) and CRI-O, with systemd; then without it.
    let layouts = [
        "docker-ID.scope",
        "libpod-ID.scope",
        "nerdctl-ID.scope",
        "crio-ID.scope",
        "docker/ID",
        "libpod_parent/libpod-ID",
    ];
    for (number, layout) in layouts.into_iter().enumerate() {
        let id = format!("{number}{}", &ID[1..]);
        let path = lab.workload_cgroup().with_file_name(layout.replace("ID", &id));
        fs::create_dir_all(&path).unwrap();
        let output = lab.workload_in(&path, "curl", &["-s", "-m", "20", URL]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS, "{layout}");
        fs::remove_dir(&path).unwrap();
        let owner = format!("container {}", &id[..12]);
        eventually("its flow has ended", || row(&lab, &owner)["running"] == 0);
        let row = row(&lab, &owner);
        assert_eq!(row["newest"]["container"], id, "{layout}");
        assert_eq!(
            (&row["flows"], &row["requests"], &row["failed"]),
            (&1.into(), &1.into(), &0.into()),
            "{layout}: {row}"
        );
        assert_eq!(row["apis"][0]["api"], "partner", "{layout}");
        assert_eq!(row["users"][0], "root", "{layout}");
        assert_eq!(row["executables"][0], curl.to_str().unwrap(), "{layout}");
        assert!(row["bytes_sent"].as_u64().unwrap() > 40 && row["bytes_received"].as_u64().unwrap() > 40, "{row}");
    }
    let pod = lab.pod("billing", "api-0").logs();
    assert!(pod.curl(URL).contains(EGRESS));
    let of_pod = row(&lab, &format!("pod {}", pod.uid()));
    assert_eq!(of_pod["newest"]["workload"], "billing/api-0", "{of_pod}");
    let table = lab.cli(&["inspect", "workloads", "--socket", lab.socket().to_str().unwrap()]);
    assert!(table.contains("billing/api-0") && table.contains("partner (1)"), "{table}");
}

#[test]
fn what_the_kernel_refused_and_what_still_runs_is_counted() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let denied = "  - name: denied\n    hosts: [denied.example]\n    mode: deny\n";
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.8", "denied.example")]);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{denied}")), &[]);
    assert_eq!(lab.curl("http://denied.example/").0, 0);
    let mut caller = lab.converse(
        "import http.client\n\
         c = http.client.HTTPConnection('api.partner.example', timeout=10)\n\
         for _ in range(3):\n    c.request('GET', '/')\n    c.getresponse().read()\n\
         print('asked', flush=True)\ninput()",
    );
    assert_eq!(caller.line(), "asked");
    eventually("both are on record", || {
        let row = row(&lab, "workload.service");
        row["flows"] == 2 && row["running"] == 1 && row["failed"] == 1 && row["requests"] == 3
    });
    let row = row(&lab, "workload.service");
    let apis: Vec<_> = row["apis"].as_array().unwrap().iter().map(|used| used["api"].as_str().unwrap()).collect();
    assert_eq!(apis, ["partner", "denied"], "{row}");
}

#[test]
fn a_thread_in_a_pid_namespace_has_the_number_of_its_process_on_the_node() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = "import os, socket, threading\n\
                   held = []\n\
                   call = lambda: held.append(socket.create_connection(('api.partner.example', 80), 20))\n\
                   thread = threading.Thread(target=call)\nthread.start()\nthread.join()\n\
                   print(os.getpid(), flush=True)\ninput()";
    let shell =
        format!("import os\nos.execvp('unshare', ['unshare', '--pid', '--fork', 'python3', '-c', '''{program}'''])");
    let shell = shell.replace("('api.partner.example', 80)", "(\"api.partner.example\", 80)");
    let mut caller = lab.converse(&shell);
    assert_eq!(caller.line(), "1", "its number in its own namespace");
    let processes = fs::read_to_string(lab.workload_cgroup().join("cgroup.procs")).unwrap();
    let flows = lab.json(&["inspect", "flows"]);
    let pid = flows[0]["caller"]["pid"].as_u64().or_else(|| flows[0]["pid"].as_u64()).unwrap();
    assert!(processes.lines().any(|line| line == pid.to_string()), "{pid}: {processes}");
}
