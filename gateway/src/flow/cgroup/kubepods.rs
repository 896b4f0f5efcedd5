//! Where the kubelet makes the cgroups of pods. A cgroup that is only named like a pod's, anywhere else, is nobody's word.

use std::borrow::Cow;

use super::container;

/// The units in which containerd makes the cgroups of pods where the kubelet's cgroup driver is not its own.
const RUNTIMES: [&str; 7] = [
    "containerd.service",
    "k0scontroller.service",
    "k0sworker.service",
    "k3s-agent.service",
    "k3s.service",
    "rke2-agent.service",
    "rke2-server.service",
];

/// A pod, as the path of a cgroup tells it.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    pub(super) uid: Cow<'a, str>,
    /// The container that the cgroup is in.
    pub(super) container: Option<&'a str>,
    /// How many parts of the path, from the root, are the pod's cgroup. Where runc writes pod and container in one part, each
    /// container of the pod has a cgroup of its own there.
    pub(super) depth: usize,
}

/// The pod, and the container, in whose cgroup a path lies. The first `slices` of its `parts` are slices. `kubepods` is believed
/// as the first part, directly below a runtime's unit that is the outermost, and directly below the cgroup `kubelet`.
pub(super) fn find<'a>(parts: &[&'a str], slices: usize, kubelet: Option<&str>) -> Option<Pod<'a>> {
    let in_tree = |rest: &[&'a str], prefixed| {
        let pod = in_tree(rest, prefixed)?;
        Some(Pod { depth: parts.len() - rest.len() + pod.depth, ..pod })
    };
    let configured = kubelet.and_then(|base| below(parts, base)).and_then(|rest| in_tree(rest, true));
    let root = || in_tree(parts, false);
    let runtime = || parts.get(slices).is_some_and(|unit| RUNTIMES.contains(unit));
    configured.or_else(root).or_else(|| runtime().then(|| in_tree(&parts[slices + 1..], false)).flatten())
}

/// The parts of a path below `base`.
fn below<'p, 'a>(parts: &'p [&'a str], base: &str) -> Option<&'p [&'a str]> {
    let mut rest = parts;
    for part in base.split('/').filter(|part| !part.is_empty()) {
        rest = rest.split_first().filter(|(first, _)| **first == part)?.1;
    }
    Some(rest)
}

/// Reads `kubepods[/QUALITY]/POD[/CONTAINER]`, or all of that in one part as runc writes it. With the systemd driver a cgroup
/// below `kubelet.slice` is called `kubelet-kubepods.slice`: a `prefixed` one.
fn in_tree<'a>(parts: &[&'a str], prefixed: bool) -> Option<Pod<'a>> {
    let (first, rest) = parts.split_first()?;
    if let Some((slice, _)) = first.split_once(".slice:").filter(|(slice, _)| slice.starts_with("kubepods-")) {
        return Some(Pod { uid: pod(slice)?, container: container(first), depth: 1 });
    }
    let is_kubepods =
        matches!(*first, "kubepods" | "kubepods.slice") || (prefixed && first.ends_with("-kubepods.slice"));
    if !is_kubepods {
        return None;
    }
    let (quality, rest) = rest.split_first()?;
    let (uid, rest) = match pod(quality) {
        Some(uid) => (uid, rest),
        None => rest.split_first().and_then(|(second, rest)| Some((pod(second)?, rest)))?,
    };
    let container = rest.first().and_then(|part| container(part));
    Some(Pod { uid, container, depth: parts.len() - rest.len() })
}

/// The uid in `podUID` of the driver cgroupfs, or in `kubepods-burstable-podUID.slice` of the driver systemd, which has _ for -.
pub(super) fn pod(part: &str) -> Option<Cow<'_, str>> {
    let (slice, _) = part.split_once(".slice").unwrap_or((part, ""));
    let (before, uid) = slice.rsplit_once("pod")?;
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| matches!(byte, b'-' | b'_')).count();
    // The uid of a static pod, which comes from a file, has no dashes.
    let fits = digits == 32 && digits + dashes == uid.len() && matches!(dashes, 0 | 4);
    let uid = if uid.contains('_') { Cow::Owned(uid.replace('_', "-")) } else { Cow::Borrowed(uid) };
    (fits && (before.is_empty() || before.ends_with('-'))).then_some(uid)
}
