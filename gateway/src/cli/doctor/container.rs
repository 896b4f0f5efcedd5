//! What a container lacks of the node: each line has what to add to the pod, or to `podman run`.

use std::path::Path;

use super::Finding;
use crate::capture::container::{
    Mount, has_nodes_cgroups, has_nodes_pids, is_container, is_nodes, is_with_the_first, mounts,
};
use crate::{capture, config, gateway};

/// Returns the findings; none outside of containers.
pub(super) fn findings() -> Vec<Finding> {
    // Pods always have this variable.
    let is_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if !is_pod && !is_container() {
        return Vec::new();
    }
    let container = Container { is_pod, mounts: mounts() };
    let mut findings = vec![container.processes()];
    findings.extend(container.network());
    findings.push(container.cgroups());
    findings.push(container.pins());
    for (path, read_only, without) in [
        ("/run/egret", false, "the next process cannot take over, because it does not find the admin socket"),
        (config::DEFAULT_STATE, false, "the CA, quotas and refresh tokens end with the container"),
    ] {
        findings.push(container.directory(path, read_only, without));
    }
    if is_pod {
        for (path, without) in [
            (config::DEFAULT_KUBELET_PODS, "service accounts of pods are not known"),
            (config::DEFAULT_KUBELET_LOGS, "names and namespaces of pods are not known"),
            ("/run/netns", "network namespaces of pods are not known before their first process"),
        ] {
            findings.push(container.directory(path, true, without));
        }
    }
    findings.extend(container.capabilities());
    findings
}

/// The container of this process.
struct Container {
    is_pod: bool,
    mounts: Vec<Mount>,
}

impl Container {
    fn processes(&self) -> Finding {
        let found = if has_nodes_pids() {
            Ok("the node's".to_owned())
        } else {
            Err(self.add(
                "Egret cannot see the node's processes: it listens in no pod's network namespace, and does not know what callers run",
                "hostPID: true",
                "--pid host",
            ))
        };
        Finding { what: "process ids".to_owned(), found }
    }

    /// Nothing where the node's network namespace cannot be told.
    fn network(&self) -> Option<Finding> {
        let is_nodes = if has_nodes_pids() { is_with_the_first("net")? } else { return None };
        let found = if is_nodes {
            Ok("the node's".to_owned())
        } else {
            Err(self.add(
                "the egress address is not here, and the node's callers are not reached",
                "hostNetwork: true",
                "--network host",
            ))
        };
        Some(Finding { what: "network".to_owned(), found })
    }

    fn cgroups(&self) -> Finding {
        const PATH: &str = "/sys/fs/cgroup";
        let root = capture::cgroup_root();
        let mount = root.ok().and_then(|root| self.mounts.iter().rfind(|mount| mount.at == root).cloned());
        let missing = match mount {
            None => Some("no cgroup v2 hierarchy is mounted"),
            Some(mount) if mount.read_only => Some("it is mounted read-only, so the hooks cannot be tested"),
            // From a cgroup namespace, what is above its root is `..`.
            Some(mount) if !has_nodes_cgroups() && !mount.root.starts_with("/..") => {
                Some("only the container's own cgroups are mounted, so the hooks see no other callers")
            }
            Some(_) => None,
        };
        let found = missing
            .map_or_else(|| Ok("the node's".to_owned()), |missing| Err(self.mount(missing, "cgroup", PATH, false)));
        Finding { what: "cgroups".to_owned(), found }
    }

    fn pins(&self) -> Finding {
        const PATH: &str = "/sys/fs/bpf";
        let is_there = self.mounts.iter().any(|mount| mount.at == Path::new(PATH) && mount.kind == "bpf");
        let missing = match (is_there, is_nodes(Path::new(PATH))) {
            (false, _) => Some("no bpffs is mounted, so the hooks end with the container"),
            (true, Some(false)) => Some("this is a bpffs of the container's own, so the hooks end with the container"),
            (true, _) => None,
        };
        let found =
            missing.map_or_else(|| Ok("the node's".to_owned()), |missing| Err(self.mount(missing, "bpf", PATH, false)));
        Finding { what: "bpffs".to_owned(), found }
    }

    fn directory(&self, path: &str, read_only: bool, without: &str) -> Finding {
        let name = path.trim_start_matches('/').replace('/', "-");
        let innermost = self
            .mounts
            .iter()
            .filter(|mount| Path::new(path).starts_with(&mount.at))
            .max_by_key(|mount| mount.at.components().count());
        let is_mounted = innermost.is_some_and(|mount| mount.at != Path::new("/")) && Path::new(path).exists();
        let found = if is_mounted {
            Ok("mounted".to_owned())
        } else {
            Err(self.mount(&format!("not mounted from the node: {without}"), &name, path, read_only))
        };
        Finding { what: path.to_owned(), found }
    }

    fn capabilities(&self) -> Vec<Finding> {
        let missing = match gateway::missing_capabilities() {
            Ok(missing) => missing,
            Err(error) => return vec![Finding { what: "capabilities".to_owned(), found: Err(error.to_string()) }],
        };
        if missing.is_empty() {
            return vec![Finding { what: "capabilities".to_owned(), found: Ok("all that Egret needs".to_owned()) }];
        }
        let finding = |(name, what): (&str, &str)| {
            let short = name.trim_start_matches("CAP_");
            Finding {
                what: name.to_owned(),
                found: Err(self.add(
                    &format!("missing: Egret needs it to {what}"),
                    &format!("securityContext: {{capabilities: {{add: [{short}]}}}}"),
                    &format!("--cap-add {short}"),
                )),
            }
        };
        missing.into_iter().map(finding).collect()
    }

    /// What is wrong, and how to mount a directory of the node.
    fn mount(&self, wrong: &str, name: &str, path: &str, read_only: bool) -> String {
        let (yaml, option) =
            if read_only { (", readOnly: true, mountPropagation: HostToContainer", ":ro,rslave") } else { ("", "") };
        self.add(
            wrong,
            &format!("volumes: [{{name: {name}, hostPath: {{path: {path}}}}}], volumeMounts: [{{name: {name}, mountPath: {path}{yaml}}}]"),
            &format!("--volume {path}:{path}{option}"),
        )
    }

    fn add(&self, wrong: &str, yaml: &str, option: &str) -> String {
        if self.is_pod {
            format!("{wrong}. Add to the pod: {yaml}")
        } else {
            format!("{wrong}. Start the container with {option}")
        }
    }
}
