//! What Kubernetes calls a pod of this node, as the kubelet's directories say, which root alone writes.

use std::fs::{self, DirEntry, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde_json::Value;

use crate::model::Pod;

/// The kubelet's directories.
#[derive(Debug)]
pub struct Kubelet {
    pods: PathBuf,
    logs: PathBuf,
    cgroup: Option<String>,
}

impl Kubelet {
    /// Takes the directory `pods`, which has a directory `UID` for each pod, and `logs`, which has one called
    /// `NAMESPACE_NAME_UID`. The kubelet makes the cgroup `kubepods` below `cgroup`, or below the root of the hierarchy.
    pub fn new(pods: PathBuf, logs: PathBuf, cgroup: Option<String>) -> Self {
        Self { pods, logs, cgroup }
    }

    pub(super) fn cgroup(&self) -> Option<&str> {
        self.cgroup.as_deref()
    }

    /// The pod with this uid, which is hexadecimal digits and dashes.
    pub(super) fn pod(&self, uid: &str) -> Option<Pod> {
        let (namespace, name) = directories(&self.logs).find_map(|entry| {
            let called = entry.file_name();
            // Neither name has an underscore in it.
            let (namespace, name) = called.to_str()?.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
            (is_name(namespace) && is_name(name)).then(|| (Arc::from(namespace), Arc::from(name)))
        })?;
        let service_account = self.service_account(uid, &namespace, &name);
        Some(Pod { namespace, name, service_account, described: None })
    }

    /// Who makes a pod may give it volumes called like the kubelet's own, with a token of his making in them: so the namespace
    /// is never a token's word, and tokens of two accounts are none.
    fn service_account(&self, uid: &str, namespace: &str, name: &str) -> Option<Arc<str>> {
        let volumes = self.pods.join(uid).join("volumes/kubernetes.io~projected");
        let mut accounts = directories(&volumes)
            .filter(|entry| entry.file_name().as_bytes().starts_with(b"kube-api-access-"))
            .filter_map(|entry| account(&token(&entry.path())?, uid, namespace, name));
        let first = accounts.next()?;
        accounts.all(|other| other == first).then_some(first)
    }
}

/// The directories in a directory; none if it is not there. Links to some are none.
fn directories(path: &Path) -> impl Iterator<Item = DirEntry> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// The token in a volume, where `token` is a link to `..data/token`, and `..data` one to what the kubelet wrote last: they
/// are followed as far as they stay in the volume.
fn token(volume: &Path) -> Option<Vec<u8>> {
    const LARGEST: u64 = 16 * 1024;
    let only = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let volume = File::options().read(true).custom_flags(only.bits()).open(volume).ok()?;
    let within = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    // What is no file may have nobody at its other end.
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).resolve(within);
    let file = File::from(openat2(&volume, "token", how).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut text).ok()?;
    (read as u64 <= LARGEST).then_some(text)
}

/// The service account in a token (JWT), if it is this pod's. Who may read a token may use it: nothing else of it is kept, and
/// no signature verified, for it is taken for what the kubelet has put there.
fn account(token: &[u8], uid: &str, namespace: &str, name: &str) -> Option<Arc<str>> {
    let claims = token.split(|byte| *byte == b'.').nth(1)?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let claims = claims.get("kubernetes.io")?;
    let of = |place: &str| claims.pointer(place).and_then(Value::as_str);
    let own = of("/pod/uid") == Some(uid) && of("/pod/name") == Some(name) && of("/namespace") == Some(namespace);
    of("/serviceaccount/name").filter(|account| own && is_name(account)).map(Arc::from)
}

/// Whether Kubernetes can give this name (RFC 1123).
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use serde_json::json;

    use super::*;

    const UID: &str = "9d3f2b1a-4c5e-4f60-8a7b-112233445566";
    const OTHER: &str = "00000000-4c5e-4f60-8a7b-112233445566";
    const STATIC: &str = "3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061";

    /// A node's directories, removed when dropped.
    struct Node(PathBuf);

    impl Node {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let node = Self(std::env::temp_dir().join(format!("egret-kubelet-{}-{number}", std::process::id())));
            let _ = fs::remove_dir_all(&node.0);
            fs::create_dir_all(node.0.join("pods")).unwrap();
            fs::create_dir_all(node.0.join("logs")).unwrap();
            node
        }

        fn kubelet(&self) -> Kubelet {
            Kubelet::new(self.0.join("pods"), self.0.join("logs"), None)
        }

        fn log(&self, called: &str) {
            fs::create_dir(self.0.join("logs").join(called)).unwrap();
        }

        /// An empty volume of the pod.
        fn volume(&self, name: &str) -> PathBuf {
            let path = self.0.join("pods").join(UID).join("volumes/kubernetes.io~projected").join(name);
            fs::create_dir_all(&path).unwrap();
            path
        }

        /// As the kubelet writes: a directory of this moment, a link to it, links to what is in it.
        fn token(&self, volume: &str, token: &str) {
            let path = self.volume(volume);
            fs::create_dir(path.join("..2026_07_01_10_00_00.1")).unwrap();
            fs::write(path.join("..2026_07_01_10_00_00.1/token"), token).unwrap();
            symlink("..2026_07_01_10_00_00.1", path.join("..data")).unwrap();
            symlink("..data/token", path.join("token")).unwrap();
        }

        /// What is found of the pod: its names, and its account or -.
        fn says(&self, uid: &str) -> Option<String> {
            let Pod { namespace, name, service_account, .. } = self.kubelet().pod(uid)?;
            Some(format!("{namespace} {name} {}", service_account.as_deref().unwrap_or("-")))
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn jwt(claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(claims))
    }

    fn token(namespace: &str, pod: &str, uid: &str, account: &str) -> String {
        jwt(&json!({"aud": ["https://kubernetes.default.svc"], "kubernetes.io": {
            "namespace": namespace,
            "pod": {"name": pod, "uid": uid},
            "serviceaccount": {"name": account, "uid": "11111111-2222-4333-8444-555555555555"},
        }}))
    }

    fn own(account: &str) -> String {
        token("billing", "api-0", UID, account)
    }

    #[test]
    fn a_pod_is_called_as_its_directories_say() {
        let node = Node::new();
        node.log(&format!("shop_web-7f9.v2_{OTHER}"));
        node.log(&format!("billing_api-0_{UID}"));
        node.token("kube-api-access-x7k2p", &own("invoicer"));
        assert_eq!(node.says(UID).unwrap(), "billing api-0 invoicer");
        assert_eq!(node.says(OTHER).unwrap(), "shop web-7f9.v2 -", "it has no token");
        assert_eq!(node.says("00000000-0000-4000-8000-000000000000"), None);
    }

    #[test]
    fn a_pod_from_a_file_is_found_by_its_digits() {
        let node = Node::new();
        node.log(&format!("kube-system_etcd-node1_{STATIC}"));
        assert_eq!(node.says(STATIC).unwrap(), "kube-system etcd-node1 -");
    }

    #[test]
    fn without_directories_nothing_is_known() {
        let node = Node::new();
        assert_eq!(node.says(UID), None);
        node.token("kube-api-access-x7k2p", &own("invoicer"));
        assert_eq!(node.says(UID), None, "the namespace is not a token's word");
        fs::remove_dir_all(&node.0).unwrap();
        assert_eq!(node.says(UID), None);
    }

    #[test]
    fn what_the_kubelet_does_not_write_is_no_pods_directory() {
        let node = Node::new();
        node.log(&format!("billing_{UID}"));
        node.log(&format!("_api-0_{UID}"));
        node.log(&format!("billing_api_0_{UID}"));
        node.log(&format!("Billing_api-0_{UID}"));
        node.log(&format!("billing_api-0_1{UID}"));
        fs::write(node.0.join("logs").join(format!("billing_api-1_{UID}")), "").unwrap();
        symlink("/var", node.0.join("logs").join(format!("billing_api-2_{UID}"))).unwrap();
        assert_eq!(node.says(UID), None);
    }

    #[test]
    fn a_token_counts_for_its_own_pod_only() {
        let longer = "a".repeat(16 * 1024);
        for (token, expected) in [
            (own("invoicer"), "invoicer"),
            (token("billing", "api-0", OTHER, "invoicer"), "-"),
            (token("shop", "api-0", UID, "invoicer"), "-"),
            (token("billing", "api-1", UID, "invoicer"), "-"),
            (own("invoicer\r\nx-admin: yes"), "-"),
            (own(""), "-"),
            (jwt(&json!({"kubernetes.io": {"namespace": "billing", "pod": {"name": "api-0", "uid": UID}}})), "-"),
            (jwt(&json!({"kubernetes.io": ["billing", "api-0", UID, "invoicer"]})), "-"),
            (jwt(&json!("kubernetes.io")), "-"),
            (own("invoicer").replace('.', ","), "-"),
            (format!("e30.{}.e30", "!"), "-"),
            (format!("{}{longer}", own("invoicer")), "-"),
            (String::new(), "-"),
        ] {
            let node = Node::new();
            node.log(&format!("billing_api-0_{UID}"));
            node.token("kube-api-access-x7k2p", &token);
            assert_eq!(node.says(UID).unwrap(), format!("billing api-0 {expected}"), "{token}");
        }
    }

    #[test]
    fn other_volumes_and_two_accounts_are_no_ones_word() {
        let node = Node::new();
        node.log(&format!("billing_api-0_{UID}"));
        node.token("vault-token", &own("admin"));
        assert_eq!(node.says(UID).unwrap(), "billing api-0 -");
        node.token("kube-api-access-x7k2p", &own("invoicer"));
        node.token("kube-api-access-again", &own("invoicer"));
        assert_eq!(node.says(UID).unwrap(), "billing api-0 invoicer");
        node.token("kube-api-access-forged", &own("admin"));
        assert_eq!(node.says(UID).unwrap(), "billing api-0 -");
    }

    #[test]
    fn links_out_of_a_volume_are_not_followed() {
        let node = Node::new();
        node.log(&format!("billing_api-0_{UID}"));
        let outside = node.0.join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("token"), own("admin")).unwrap();
        symlink(outside.join("token"), node.volume("kube-api-access-a").join("token")).unwrap();
        symlink("../../../../../outside/token", node.volume("kube-api-access-b").join("token")).unwrap();
        let volume = node.volume("kube-api-access-c");
        symlink(&outside, volume.join("..data")).unwrap();
        symlink("..data/token", volume.join("token")).unwrap();
        symlink(&outside, volume.parent().unwrap().join("kube-api-access-d")).unwrap();
        assert_eq!(node.says(UID).unwrap(), "billing api-0 -");
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let node = Node::new();
        node.log(&format!("billing_api-0_{UID}"));
        fs::create_dir(node.volume("kube-api-access-a").join("token")).unwrap();
        mkfifo(&node.volume("kube-api-access-b").join("token"), Mode::S_IRWXU).unwrap();
        assert_eq!(node.says(UID).unwrap(), "billing api-0 -");
    }
}
