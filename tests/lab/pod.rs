//! Pods, as the node's kubelet keeps them: a cgroup, a directory of logs, a token. All end with the lab.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::{Conversation, Lab, NODE_NAME, wire};

/// A pod with one container, on the node's network.
#[derive(Debug)]
pub struct Pod<'a> {
    lab: &'a Lab,
    namespace: String,
    name: String,
    uid: String,
    /// The container's, below the lab's.
    cgroup: String,
}

impl<'a> Pod<'a> {
    pub(crate) fn new(lab: &'a Lab, namespace: &str, name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let uid = format!("9d3f2b1a-4c5e-4f60-8a7b-{number:012x}");
        let slice = format!("kubepods-besteffort-pod{}.slice", uid.replace('-', "_"));
        let scope = format!("cri-containerd-{number:064x}.scope");
        let cgroup = format!("kubepods.slice/kubepods-besteffort.slice/{slice}/{scope}");
        fs::create_dir_all(lab.cgroup.join(&cgroup)).expect("the pod's cgroup");
        Self { lab, namespace: namespace.to_owned(), name: name.to_owned(), uid, cgroup }
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The pod as the API server describes it: of a ReplicaSet that this Deployment made, with these labels.
    pub fn object(&self, deployment: &str, labels: &[(&str, &str)]) -> Value {
        let hash = "6d9f";
        let mut all = json!({"pod-template-hash": hash});
        for (name, value) in labels {
            all[name] = (*value).into();
        }
        let id = self.cgroup.rsplit_once("cri-containerd-").and_then(|(_, id)| id.strip_suffix(".scope"));
        let status = json!({
            "name": "app", "image": "registry.example/api:7", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{}", id.expect("a container")),
        });
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{deployment}-{hash}"), "uid": "1", "controller": true,
        });
        json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "uid": self.uid, "labels": all, "ownerReferences": [owner],
            },
            "spec": {
                "nodeName": NODE_NAME,
                "serviceAccountName": "default",
                "containers": [{"name": "app", "image": "registry.example/api:7"}],
            },
            "status": {"phase": "Running", "containerStatuses": [status]},
        })
    }

    /// The kubelet makes the directory of its logs.
    pub fn logs(self) -> Self {
        self.has_logs();
        self
    }

    /// The kubelet makes the directory of its logs, now.
    pub fn has_logs(&self) {
        let directory = self.lab.kubelet("logs").join(format!("{}_{}_{}", self.namespace, self.name, self.uid));
        fs::create_dir_all(directory).expect("the pod's logs");
    }

    /// The kubelet gives it a token of this service account.
    pub fn token(self, account: &str) -> Self {
        let claims = json!({"kubernetes.io": {
            "namespace": self.namespace,
            "pod": {"name": self.name, "uid": self.uid},
            "serviceaccount": {"name": account, "uid": "11111111-2222-4333-8444-555555555555"},
        }});
        let [header, claims] =
            [json!({"alg": "RS256"}), claims].map(|part| wire::base64url(part.to_string().as_bytes()));
        let volume = "volumes/kubernetes.io~projected/kube-api-access-x7k2p";
        let volume = self.lab.kubelet("pods").join(&self.uid).join(volume);
        let written = volume.join("..2026_07_01_10_00_00.1");
        fs::create_dir_all(&written).expect("the pod's volume");
        fs::write(written.join("token"), format!("{header}.{claims}.{SIGNATURE}")).expect("the pod's token");
        symlink("..2026_07_01_10_00_00.1", volume.join("..data")).expect("the pod's volume");
        symlink("..data/token", volume.join("token")).expect("the pod's token");
        self
    }

    /// A command of its container.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        self.lab.place(&self.cgroup).put(&mut command);
        command
    }

    /// What curl says in its container, with the head of the answer.
    pub fn curl(&self, url: &str) -> String {
        let output = self.command("curl", &["-s", "-i", "-m", "10", url]).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    /// Starts a Python program in its container to talk to.
    pub fn converse(&self, program: &str) -> Conversation {
        Conversation::start(self.command("python3", &["-c", program]))
    }
}

/// Of every token, in Base64: it must be nowhere else.
pub const SIGNATURE: &str = "dGhlLXNpZ25hdHVyZS1vZi1hLXRva2Vu";
