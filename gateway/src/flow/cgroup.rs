//! What the path of a cgroup says about its owner.
//!
//! A workload may be allowed to make cgroups below its own and can name them freely. So only the outermost part of a path that
//! means something is believed; everything below it is what the workload claims.

mod kubepods;

use std::borrow::Cow;

/// What a path says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    /// The owner: `pod UID`, `container ID`, a systemd unit, or the path of the outermost cgroup.
    pub(super) owner: Cow<'a, str>,
    /// The unit of the node's systemd, as `_SYSTEMD_UNIT` of its journal: a user's units are in `user@1000.service`.
    pub(super) unit: Option<&'a str>,
    /// The full id of the container of Docker, containerd, CRI-O or Podman, where the caller cannot have forged it.
    pub(super) container: Option<&'a str>,
    /// The uid of the Kubernetes pod, where the kubelet made its cgroup.
    pub(super) pod: Option<Cow<'a, str>>,
    /// The unit, container or pod that the innermost part of the path is named for, where this is not the owner.
    pub(super) claimed: Option<String>,
    /// How many parts of the path, from the root, are the owner's cgroup.
    pub(super) depth: usize,
}

/// The cgroups in which container runtimes make those of their containers, where systemd does not make them.
const CONTAINERS: [&str; 4] = ["default", "docker", "k8s.io", PODMAN];

/// Returns the slices, from the root of the hierarchy, that a path begins with, each as a path.
pub(super) fn slices(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.char_indices().skip(1).filter(|(_, letter)| *letter == '/').map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end]).take_while(|path| path.ends_with(".slice"))
}

/// Reads a path below the root of the hierarchy, which begins with this many slices in which root alone makes cgroups. `kubelet`
/// is the cgroup in which the kubelet makes `kubepods`, where this is not the root.
pub(super) fn read<'a>(path: &'a str, slices: usize, kubelet: Option<&str>) -> Facts<'a> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let outermost = parts.get(slices).copied();
    let unit = outermost.map(unescaped).filter(|part| is_unit(part));
    let in_kubernetes = kubepods::find(&parts, slices, kubelet);
    let (pod, (container, depth_of_container)) = match &in_kubernetes {
        Some(found) => (Some(found.uid.clone()), (found.container, 0)),
        None => (None, outermost_container(&parts[slices..])),
    };
    let manager = user_manager(&parts[..slices]);
    let depth = match (&in_kubernetes, container, &manager) {
        (Some(found), ..) => found.depth,
        (None, Some(_), _) => slices + depth_of_container,
        (None, None, Some(_)) => USER_SLICE,
        (None, None, None) => parts.len().min(slices + 1),
    };
    let owner = match (&pod, container, manager, unit) {
        (Some(uid), ..) => Cow::Owned(format!("pod {uid}")),
        (None, Some(id), ..) => Cow::Owned(short(id)),
        (None, None, Some(manager), _) => Cow::Owned(manager),
        (None, None, None, Some(unit)) => Cow::Borrowed(unit),
        (None, None, None, None) => Cow::Owned(format!("/{}", parts[..parts.len().min(slices + 1)].join("/"))),
    };
    let known = container.map(short);
    let claimed = parts.iter().rev().find_map(|part| name(part));
    let claimed = claimed.filter(|name| *name != owner && Some(name) != known.as_ref());
    Facts { owner, unit, container, pod, claimed, depth }
}

/// The container that `parts`, which begin below the slices, lie in, if its runtime made the cgroup, and how many of them are its cgroup:
/// either it is the outermost one, or it is directly in the cgroup of a runtime, or of a pod of Podman.
fn outermost_container<'a>(parts: &[&'a str]) -> (Option<&'a str>, usize) {
    match parts {
        [PODMAN, pod, inside, ..] if container(pod) == Some(pod) && podmans(inside).is_some() => (podmans(inside), 3),
        [first, second, ..] if CONTAINERS.contains(first) => (container(second), 2),
        [first, ..] => (container(first), 1),
        [] => (None, 0),
    }
}

/// The cgroup of Podman. It names the cgroup of a container `libpod-ID`, and that of a pod after its id alone.
const PODMAN: &str = "libpod_parent";

fn podmans(part: &str) -> Option<&str> {
    container(part.strip_prefix("libpod-")?)
}

/// The parts of a user's slice: `user.slice/user-1000.slice`.
const USER_SLICE: usize = 2;

/// The service manager of the user in whose slice a path lies. A user opens as many sessions as they like, each a unit of its
/// own: all of them belong to one owner.
fn user_manager(parts: &[&str]) -> Option<String> {
    let ["user.slice", user, ..] = parts else { return None };
    let uid = user.strip_prefix("user-")?.strip_suffix(".slice")?;
    uid.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("user@{uid}.service"))
}

/// What a part of a path is named for: a container, a pod, or a systemd unit in which programs run.
fn name(part: &str) -> Option<String> {
    let pod = || kubepods::pod(part).map(|uid| format!("pod {uid}"));
    let unit = || (part.ends_with(".service") || part.ends_with(".scope")).then(|| unescaped(part).to_owned());
    container(part).map(short).or_else(pod).or_else(unit)
}

/// How a person calls a container.
fn short(id: &str) -> String {
    format!("container {}", &id[..12])
}

/// A unit's name, which systemd escapes where a file of the cgroup is called so.
fn unescaped(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

/// Whether systemd keeps processes in a unit of this name (systemd.unit(5)).
fn is_unit(part: &str) -> bool {
    let kinds = ["service", "scope", "socket", "mount", "swap"];
    part.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && kinds.contains(&kind))
}

/// The id in `ID`, `docker-ID.scope`, or `kubepods-burstable-podUID.slice:cri-containerd:ID`. The monitor of a container is not
/// in that container.
fn container(part: &str) -> Option<&str> {
    const LENGTH: usize = 64;
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let (before, id) = bare.rsplit_once(['-', ':']).unwrap_or(("", bare));
    let fits = id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !before.ends_with("conmon");
    fits.then_some(id)
}

#[cfg(test)]
mod tests;
