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
    try:
        s = socket.create_connection(("203.0.113.7", 7000), timeout=10)
        held.append(s)
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

#[test]
fn a_path_in_a_mount_namespace_of_the_callers_own_is_not_an_executable() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let only = |list: &str| {
        api(&format!(
            "        - workload-filter: {{{list}: [{{executable: /usr/bin/curl}}]}}\n        \
             - set-header: {{name: X-Runs, value: \"'${{workload.executable}}'\"}}\n"
        ))
    };
    let path = lab.configure(&only("allow"));
    let _egret = lab.egret(&path, &[]);
    let own = delegated(&lab, "app.service");
    let status = "import http.client, sys\n\
                  caller = http.client.HTTPConnection('api.partner.example', timeout=10)\n\
                  caller.request('GET', '/forged')\n\
                  print(caller.getresponse().status)";
    let forged = "import os, subprocess, sys\n\
                  real = os.path.realpath('/usr/bin/python3')\n\
                  script = f'mount --bind {real} /usr/bin/curl && exec /usr/bin/curl -c \"$0\"'\n\
                  print(subprocess.run(['unshare', '-Urm', 'sh', '-c', script, sys.argv[2]], capture_output=True, text=True, check=True).stdout)";
    assert_eq!(unprivileged(&lab, &own, forged, &[status]), "403");
    assert_eq!(seen(&partner), "");
    assert_eq!(lab.curl("http://api.partner.example/honest").0, 200);
    assert!(seen(&partner).contains("x-runs: '/usr/bin/curl'\r\n"));
    // It is not known what the caller runs, so it may be what is forbidden.
    lab.configure(&only("forbid"));
    eventually("curl is forbidden", || lab.curl("http://api.partner.example/").0 == 403);
    assert_eq!(unprivileged(&lab, &own, forged, &[status]), "403");
    assert_eq!(lab.python(status, &[]), "200", "the node's own Python is known not to be curl");
    assert_eq!(seen(&partner).matches("GET /forged").count(), 1);
}

/// Makes deep nests of cgroups, then connects from threads that are each in a (threaded) cgroup which their process is not in.
const NESTS: &str = r#"
import ctypes, os, socket, sys, threading
own, depth, nests, count = sys.argv[1], *map(int, sys.argv[2:])
for nest in range(nests):
    os.chdir(own)
    for level in range(depth):
        os.mkdir("a" + str(nest) if level == 0 else "a")
        os.chdir("a" + str(nest) if level == 0 else "a")
os.chdir("/")
domain = own + "/threads"
os.mkdir(domain)
for number in range(count):
    os.mkdir(f"{domain}/{number}")
    open(f"{domain}/{number}/cgroup.type", "w").write("threaded")
open(domain + "/cgroup.procs", "w").write("0")
heard = [None] * count
def call(number):
    open(f"{domain}/{number}/cgroup.threads", "w").write(str(ctypes.CDLL(None).syscall(186)))
    s = socket.create_connection(("api.partner.example", 80), 10)
    s.sendall(b"GET /threads HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
    heard[number] = s.recv(100).split(b" ")[1].decode()
threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*heard)
"#;

#[test]
fn a_thread_in_a_cgroup_of_its_own_has_the_owner_of_its_process() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let policies = "        - set-header: {name: X-Owner, value: \"${workload.owner} in ${workload.cgroup}\"}\n";
    let _egret = lab.egret(&lab.configure(&api(policies)), &[]);
    let own = delegated(&lab, "app.service");
    assert_eq!(unprivileged(&lab, &own, NESTS, &["200", "3", "6"]), "200 200 200 200 200 200");
    let seen = seen(&partner);
    for number in 0..6 {
        assert!(seen.contains(&format!("/app.service/threads/{number}\r\n")), "{seen}");
    }
    assert_eq!(seen.matches("x-owner: app.service in ").count(), 6, "{seen}");
}

#[test]
fn cgroups_that_a_caller_removes_in_time_do_not_multiply_its_limits() {
    const VANISHES: &str = r#"
import os, socket, sys
own, count = sys.argv[1], int(sys.argv[2])
home = own + "/home"
os.mkdir(home)
open(home + "/cgroup.procs", "w").write("0")
statuses = []
for number in range(count):
    path = f"{own}/{number}"
    os.mkdir(path)
    open(path + "/cgroup.procs", "w").write("0")
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("203.0.113.7", 80))
    open(home + "/cgroup.procs", "w").write("0")
    os.rmdir(path)
    s.setblocking(True)
    s.settimeout(10)
    s.sendall(b"GET /gone HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
    statuses.append(s.recv(100).split(b" ")[1].decode())
print(statuses.count("200"))
"#;
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(&api("        - rate-limit: {calls: 2, period: 1h}\n")), &[]);
    let own = delegated(&lab, "app.service");
    // Whether Egret is faster than the caller is open: at most each of the two owners has its two calls.
    let passed: usize = unprivileged(&lab, &own, VANISHES, &["30"]).parse().unwrap();
    assert!((2..=4).contains(&passed), "{passed}");
    assert_eq!(seen(&partner).matches("GET /gone").count(), passed);
}

#[test]
fn a_command_that_is_run_again_has_the_owner_that_it_had() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(&api("        - rate-limit: {calls: 2, period: 1h}\n")), &[]);
    let socket = lab.socket();
    let call = |program: &[&str]| {
        let exec = [&["exec", "--socket", socket.to_str().unwrap(), "--"], program].concat();
        lab.cli(&[&exec[..], &["-s", "-o", "/dev/null", "-w", "%{http_code}", "http://api.partner.example/"]].concat())
    };
    assert_eq!([call(&["curl"]), call(&["curl"]), call(&["/usr/bin/curl"])], ["200", "200", "429"]);
    assert_eq!(call(&["env", "curl"]), "200", "another command is another owner");
    assert_eq!(seen(&partner).matches("GET / ").count(), 3);
    assert!(!lab.workload_cgroup().with_file_name("egret.slice").exists(), "nothing stays");
}
