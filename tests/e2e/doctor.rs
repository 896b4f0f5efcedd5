//! What a person asks when something is wrong.

use egret_tests::{EGRESS, Lab, eventually};

use crate::{PARTNER, partner};

fn doctor(lab: &Lab) -> (Option<i32>, String) {
    let socket = lab.socket();
    let config = lab.directory().join("egret.yaml");
    let arguments = ["doctor", "--socket", socket.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let output = lab.try_cli(&arguments);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn line<'a>(text: &'a str, what: &str) -> &'a str {
    text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what:?} in:\n{text}"))
}

#[test]
fn each_line_is_ok_or_has_a_remedy() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _dns = lab.dns();
    lab.configure(PARTNER);
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, "daemon").contains("Start one with `egret run"), "{text}");
    assert!(line(&text, "configuration").starts_with("ok"), "{text}");

    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok ")), "{text}");
    assert!(line(&text, "hooks work").contains("was captured"), "{text}");
    // The proof leaves nothing in the table, and its refusal is nobody's.
    assert_eq!(lab.json(&["inspect", "decisions"]).as_array().unwrap().len(), 0);
    assert!(lab.json(&["inspect", "redirects"]).as_array().unwrap().iter().all(|row| row["api"] == "partner"));

    lab.node_ip(&["address", "del", "192.0.2.10/24", "dev", "node0"]);
    eventually("the alarm", || egret.log().contains("not on the node any more"));
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, EGRESS).contains("ip address add 192.0.2.10"), "{text}");
}

#[test]
fn hooks_that_were_removed_behind_the_daemon_are_noticed() {
    let lab = Lab::new();
    let _egret = lab.egret(&lab.configure(PARTNER), &["--persist"]);
    lab.cli(&["detach", "--pins", lab.pins().to_str().unwrap()]);
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, "hooks work").contains("Restart the daemon"), "{text}");
}

/// What `egret doctor` says in a pod that lacks something: `change` is shell that takes it away, in a mount namespace of its own.
fn doctor_in_pod(lab: &Lab, unshare: &[&str], change: &str) -> String {
    let egret = egret_tests::executable();
    let doctor = format!("{change}\nexec {} doctor --socket {}", egret.display(), lab.socket().display());
    let command = [unshare, &["--mount", "sh", "-ec", &doctor]].concat();
    let mut command = lab.gateway("unshare", &command);
    let output = command.env("KUBERNETES_SERVICE_HOST", "10.96.0.1").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_pod_is_told_what_it_lacks_and_the_yaml_to_add() {
    let lab = Lab::new();
    let cgroup = egret_tests::cgroup_root();
    let mounts = "mount -t tmpfs none /run\nmount -t tmpfs none /var/lib\nmount -t tmpfs none /var/log\n\
                  mkdir -p /run/egret /run/netns /var/lib/egret /var/lib/kubelet/pods /var/log/pods";
    let whole = doctor_in_pod(&lab, &[], mounts);
    for fact in ["process ids", "cgroups", "bpffs", "/run/egret", "/var/lib/kubelet/pods", "/run/netns", "capabilities"]
    {
        assert!(line(&whole, &format!(" {fact}:")).starts_with("ok "), "{whole}");
    }

    let text = doctor_in_pod(
        &lab,
        &["--pid", "--fork", "--mount-proc"],
        &format!("umount -l /sys/fs/bpf\nmount -o remount,bind,ro {}", cgroup.display()),
    );
    assert!(line(&text, " process ids:").ends_with("Add to the pod: hostPID: true"), "{text}");
    assert!(line(&text, " cgroups:").contains("read-only"), "{text}");
    assert!(
        line(&text, " bpffs:").ends_with(
            "Add to the pod: volumes: [{name: bpf, hostPath: {path: /sys/fs/bpf}}], volumeMounts: [{name: bpf, mountPath: /sys/fs/bpf}]"
        ),
        "{text}"
    );
    let kubelet = line(&text, " /var/log/pods:");
    assert!(
        kubelet.contains("names and namespaces of pods are not known") && kubelet.contains("readOnly: true"),
        "{text}"
    );

    let egret = egret_tests::executable();
    let socket = lab.socket();
    let doctor = [egret.to_str().unwrap(), "doctor", "--socket", socket.to_str().unwrap()];
    let arguments = [&["--bounding-set=-sys_ptrace,-net_raw", "--inh-caps=-all"][..], &doctor].concat();
    let mut command = lab.gateway("setpriv", &arguments);
    let output = command.env("KUBERNETES_SERVICE_HOST", "10.96.0.1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for (name, short) in [("CAP_SYS_PTRACE", "SYS_PTRACE"), ("CAP_NET_RAW", "NET_RAW")] {
        let line = line(&text, name);
        assert!(line.ends_with(&format!("securityContext: {{capabilities: {{add: [{short}]}}}}")), "{text}");
    }
}

#[test]
fn egret_refuses_to_persist_on_a_bpffs_that_ends_with_its_container() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let egret = egret_tests::executable();
    let in_container = |options: &str| {
        let run =
            format!("umount -l /sys/fs/bpf; exec {} run --config {} {options}", egret.display(), config.display());
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", &run]);
        lab.start_egret_by(command)
    };
    let mut persistent = in_container("--persist");
    eventually("it ends", || !persistent.runs());
    let log = persistent.log();
    assert_eq!(log.matches("this is not the node's bpffs").count(), 1, "{log}");
    assert!(log.contains("--volume /sys/fs/bpf:/sys/fs/bpf"), "{log}");

    let temporary = in_container("").ready();
    assert!(temporary.log().contains("ends with it"), "{}", temporary.log());
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
}

#[test]
fn a_read_only_cgroup_is_reported_once_with_a_remedy() {
    let lab = Lab::new();
    let config = lab.configure(PARTNER);
    let egret = egret_tests::executable();
    let run = format!(
        "mount -o remount,bind,ro {}; exec {} run --config {}",
        egret_tests::cgroup_root().display(),
        egret.display(),
        config.display()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &run]);
    let mut egret = lab.start_egret_by(command);
    eventually("it ends", || !egret.runs());
    let log = egret.log();
    assert_eq!(log.matches("Read-only file system").count(), 1, "{log}");
    assert!(log.contains("mount the node's /sys/fs/cgroup without `readOnly`"), "{log}");
}
