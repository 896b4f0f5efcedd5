//! What the path of a cgroup says about who lives there. A workload may be allowed to make cgroups below its own, and call
//! them as it likes: the outermost that says something is meant.

use std::borrow::Cow;

/// What a path says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// The unit of the node's systemd, as `_SYSTEMD_UNIT` of its journal: a user's units are in `user@1000.service`.
    pub(super) unit: Option<&'a str>,
    /// The id of a container of Docker, containerd, CRI-O or Podman, in full.
    pub(super) container: Option<&'a str>,
    /// The uid of a Kubernetes pod.
    pub(super) pod: Option<Cow<'a, str>>,
}

/// Reads a path below the root of the hierarchy.
pub(super) fn read(path: &str) -> Said<'_> {
    let parts = || path.split('/').filter(|part| !part.is_empty());
    let unit = parts().find(|part| !part.ends_with(".slice")).map(|part| part.strip_prefix('_').unwrap_or(part));
    Said { unit: unit.filter(|part| is_unit(part)), container: parts().find_map(container), pod: kubelets(parts()) }
}

/// The pod, if the kubelet has made its cgroup. One that lies in a unit or a container was made there, by whom it may be: that
/// it is called like a pod's says nothing.
fn kubelets<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Cow<'a, str>> {
    /// Units in which containerd makes cgroups of pods where the kubelet's driver is another than its own.
    const RUNTIMES: [&str; 7] = [
        "containerd.service",
        "k0scontroller.service",
        "k0sworker.service",
        "k3s-agent.service",
        "k3s.service",
        "rke2-agent.service",
        "rke2-server.service",
    ];
    let mut in_kubernetes = false;
    for part in parts {
        in_kubernetes |= part.contains("kubepods");
        if let Some(uid) = pod(part).filter(|_| in_kubernetes) {
            return Some(uid);
        }
        if container(part).is_some() || (is_unit(part) && !RUNTIMES.contains(&part)) {
            return None;
        }
    }
    None
}

/// What a person calls it: the innermost systemd unit, container or pod in the path; else the path.
pub(super) fn name(path: &str) -> String {
    let of_part = |part: &str| {
        let container = container(part).map(|id| format!("container {}", &id[..12]));
        let pod = || pod(part).map(|uid| format!("pod {uid}"));
        let unit = || (part.ends_with(".service") || part.ends_with(".scope")).then(|| part.to_owned());
        container.or_else(pod).or_else(unit)
    };
    path.rsplit('/').find_map(of_part).unwrap_or_else(|| path.to_owned())
}

/// Whether systemd keeps processes in a unit of this name (systemd.unit(5)).
fn is_unit(part: &str) -> bool {
    let kinds = ["service", "scope", "socket", "mount", "swap"];
    part.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && kinds.contains(&kind))
}

/// `ID`, `docker-ID.scope`, `kubepods-burstable-podUID.slice:cri-containerd:ID`. A container's monitor is not in it.
fn container(part: &str) -> Option<&str> {
    const LENGTH: usize = 64;
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let (before, id) = bare.rsplit_once(['-', ':']).unwrap_or(("", bare));
    let fits = id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !before.ends_with("conmon");
    fits.then_some(id)
}

/// `podUID` of the driver cgroupfs, `kubepods-burstable-podUID.slice` of the driver systemd, which has _ for -.
fn pod(part: &str) -> Option<Cow<'_, str>> {
    let (slice, _) = part.split_once(".slice").unwrap_or((part, ""));
    let (before, uid) = slice.rsplit_once("pod")?;
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| matches!(byte, b'-' | b'_')).count();
    // One that is no UUID is of a pod from a file.
    let fits = digits == 32 && digits + dashes == uid.len() && matches!(dashes, 0 | 4);
    let uid = if uid.contains('_') { Cow::Owned(uid.replace('_', "-")) } else { Cow::Borrowed(uid) };
    (fits && (before.is_empty() || before.ends_with('-'))).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::{name, read};

    const ID: &str = "3f4a7e1c9b2d5f60817263544a5b6c7d8e9f00112233445566778899aabbccdd";
    const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000ff";
    const UID: &str = "9d3f2b1a-4c5e-4f60-8a7b-112233445566";

    /// A path with its ids written out, what it says (- for nothing) and what it is called.
    #[test]
    fn paths_of_the_world_are_understood() {
        let escaped = UID.replace('-', "_");
        let spelled =
            |text: &str| text.replace("ID", ID).replace("OTHER", OTHER).replace("U_U", &escaped).replace("U-U", UID);
        let container = format!("container {}", &ID[..12]);
        for (path, [unit, holder, pod], called) in [
            // systemd
            ("/system.slice/billing.service", ["billing.service", "-", "-"], "billing.service"),
            ("/system.slice/billing.service/worker", ["billing.service", "-", "-"], "billing.service"),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                ["getty@tty1.service", "-", "-"],
                "getty@tty1.service",
            ),
            ("/init.scope", ["init.scope", "-", "-"], "init.scope"),
            ("/user.slice/user-1000.slice/session-3.scope", ["session-3.scope", "-", "-"], "session-3.scope"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-4242.scope",
                ["user@1000.service", "-", "-"],
                "app-firefox-4242.scope",
            ),
            // A user calls his own cgroup like somebody else's unit.
            (
                "/user.slice/user-1000.slice/user@1000.service/billing.service",
                ["user@1000.service", "-", "-"],
                "billing.service",
            ),
            ("/system.slice/_cgroup.service", ["cgroup.service", "-", "-"], "_cgroup.service"),
            ("/system.slice/k3s.service", ["k3s.service", "-", "-"], "k3s.service"),
            ("/batch/nightly", ["-", "-", "-"], "/batch/nightly"),
            ("/", ["-", "-", "-"], "/"),
            // Docker, with both drivers
            ("/system.slice/docker-ID.scope", ["docker-ID.scope", "ID", "-"], "C"),
            ("/docker/ID", ["-", "ID", "-"], "C"),
            ("/docker/ID/init", ["-", "ID", "-"], "C"),
            // containerd and k3s under Kubernetes, with both drivers
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_U.slice/cri-containerd-ID.scope",
                ["cri-containerd-ID.scope", "ID", "U-U"],
                "C",
            ),
            (
                "/kubepods.slice/kubepods-podU_U.slice/cri-containerd-ID.scope",
                ["cri-containerd-ID.scope", "ID", "U-U"],
                "C",
            ),
            ("/kubepods/besteffort/podU-U/ID", ["-", "ID", "U-U"], "C"),
            ("/kubepods/podU-U", ["-", "-", "U-U"], "pod U-U"),
            (
                "/system.slice/containerd.service/kubepods-burstable-podU_U.slice:cri-containerd:ID",
                ["containerd.service", "ID", "U-U"],
                "C",
            ),
            (
                "/kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-pod3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061.slice/cri-containerd-ID.scope",
                ["cri-containerd-ID.scope", "ID", "3dbb4c0d3b2d5e2f9a0b1c2d3e4f5061"],
                "C",
            ),
            (
                "/system.slice/k3s.service/kubepods-burstable-podU_U.slice:cri-containerd:ID",
                ["k3s.service", "ID", "U-U"],
                "C",
            ),
            // Who has a unit or a container of his own plays the kubelet in it.
            (
                "/user.slice/user-1000.slice/user@1000.service/kubepods/podU-U",
                ["user@1000.service", "-", "-"],
                "pod U-U",
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/k3s.service/kubepods-podU_U.slice:cri-containerd:ID",
                ["user@1000.service", "ID", "-"],
                "C",
            ),
            ("/docker/ID/kubepods.slice/kubepods-podU_U.slice", ["-", "ID", "-"], "pod U-U"),
            // CRI-O
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_U.slice/crio-ID.scope",
                ["crio-ID.scope", "ID", "U-U"],
                "C",
            ),
            (
                "/kubepods.slice/kubepods-podU_U.slice/crio-conmon-ID.scope",
                ["crio-conmon-ID.scope", "-", "U-U"],
                "crio-conmon-ID.scope",
            ),
            // Podman
            ("/machine.slice/libpod-ID.scope/container", ["libpod-ID.scope", "ID", "-"], "C"),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                ["user@1000.service", "ID", "-"],
                "C",
            ),
            // What is in a container makes cgroups of its own.
            ("/system.slice/docker-ID.scope/docker/OTHER", ["docker-ID.scope", "ID", "-"], "container 000000000000"),
            // What is none
            ("/system.slice/podU-U", ["-", "-", "-"], "pod U-U"),
            ("/kubepods/podinfo", ["-", "-", "-"], "/kubepods/podinfo"),
        ] {
            let path = spelled(path);
            let said = read(&path);
            let words = [said.unit, said.container, said.pod.as_deref()].map(|word| word.unwrap_or("-").to_owned());
            assert_eq!(words, [unit, holder, pod].map(spelled), "{path}");
            let called = if called == "C" { container.clone() } else { spelled(called) };
            assert_eq!(name(&path), called, "{path}");
        }
    }
}
