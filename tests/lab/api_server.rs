//! A Kubernetes API server in the internet, which knows the pods of one node, and Leases.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Lab, Service};

/// The name of the lab's node in Kubernetes.
pub const NODE_NAME: &str = "node-7.example";

const HOST: &str = "api.cluster.example";
const ADDRESS: &str = "203.0.113.9";
const PORT: u16 = 6443;

/// The server, which ends with this.
#[derive(Debug)]
pub struct ApiServer<'a> {
    lab: &'a Lab,
    directory: PathBuf,
    identity: (PathBuf, PathBuf),
    service: Option<Service>,
}

impl<'a> ApiServer<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Self {
        let directory = lab.directory.join("api-server");
        for objects in ["pods", "leases"] {
            fs::create_dir_all(directory.join(objects)).expect("the API server's directory");
        }
        let pki = lab.pki();
        let identity = pki.identity(&[HOST], &[]).write(&directory);
        let server = Self { lab, directory, identity, service: None };
        server.accepts("first");
        server.logs_in_with("first");
        let user = json!({"name": "egret", "user": {"tokenFile": server.token()}});
        let cluster = json!({"name": "lab", "cluster": {
            "server": format!("https://{HOST}:{PORT}"), "certificate-authority": pki.ca(),
        }});
        let context =
            json!({"name": "lab", "context": {"cluster": "lab", "user": "egret", "namespace": "egret-system"}});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [cluster], "users": [user], "contexts": [context],
        });
        fs::write(server.kubeconfig(), config.to_string()).expect("a kubeconfig");
        server
    }

    /// Its address and name, for the node's /etc/hosts.
    pub fn host(&self) -> (&'static str, &'static str) {
        (ADDRESS, HOST)
    }

    /// The kubeconfig file by which Egret finds it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// Starts it.
    pub fn start(&mut self) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/kubernetes/api_server.py");
        let (certificate, key) = &self.identity;
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let arguments = [text(&program), PORT.to_string(), text(certificate), text(key), text(&self.directory)];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.service = Some(self.lab.outside_service(PORT, "python3", &arguments));
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.service = None;
    }

    /// Gives it a pod, or changes one.
    pub fn set(&self, name: &str, pod: &Value) {
        let (path, fresh) = (self.pod(name), self.directory.join("fresh"));
        fs::write(&fresh, pod.to_string()).and_then(|()| fs::rename(fresh, path)).expect("a pod");
    }

    /// Takes a pod from it.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.pod(name)).expect("a pod");
    }

    /// Returns the Lease of a node, if there is one.
    pub fn lease(&self, node: &str) -> Option<Value> {
        let text = fs::read(self.lease_of(node)).ok()?;
        Some(serde_json::from_slice(&text).expect("a Lease"))
    }

    /// Gives it the Lease of another node, or changes one.
    pub fn set_lease(&self, node: &str, lease: &Value) {
        let fresh = self.directory.join("fresh");
        fs::write(&fresh, lease.to_string()).and_then(|()| fs::rename(fresh, self.lease_of(node))).expect("a Lease");
    }

    /// Has it accept this token alone.
    pub fn accepts(&self, token: &str) {
        fs::write(self.directory.join("token"), token).expect("the API server's token");
    }

    /// Has the file with Egret's token say this.
    pub fn logs_in_with(&self, token: &str) {
        fs::write(self.token(), token).expect("Egret's token");
    }

    /// Turns a mood on or off: `gone`, in which watches end with 410 Gone, or `silent`, in which nothing is answered.
    pub fn is(&self, mood: &str, on: bool) {
        let path = self.directory.join(mood);
        if on { fs::write(path, "") } else { fs::remove_file(path) }.expect("a mood");
    }

    /// What was asked so far: each line an address and a target.
    pub fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn pod(&self, name: &str) -> PathBuf {
        self.directory.join("pods").join(format!("{name}.json"))
    }

    fn lease_of(&self, node: &str) -> PathBuf {
        self.directory.join("leases").join(format!("egret-{node}.json"))
    }

    fn token(&self) -> PathBuf {
        self.directory.join("egret-token")
    }
}
