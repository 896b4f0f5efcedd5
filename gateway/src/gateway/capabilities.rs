//! The capabilities that the gateway needs (capabilities(7)), checked before it does anything.

use anyhow::{Context, bail};

/// A capability: its name, its number, and what Egret does with it.
type Capability = (&'static str, u32, &'static str);

/// The shipped systemd unit grants exactly these.
const NEEDED: [Capability; 7] = [
    ("CAP_BPF", 39, "load the hooks"),
    ("CAP_NET_ADMIN", 12, "attach the hooks to a cgroup"),
    ("CAP_NET_RAW", 13, "tell a caller that no DNS server is there"),
    ("CAP_PERFMON", 38, "load the hooks"),
    ("CAP_SYS_ADMIN", 21, "pin the hooks on a bpffs"),
    ("CAP_DAC_READ_SEARCH", 2, "find the cgroup of a caller"),
    ("CAP_SYS_PTRACE", 19, "read the executable of a caller"),
];

/// Fails if the process lacks a capability; the error names each one.
pub(super) fn check() -> anyhow::Result<()> {
    let missing = missing_capabilities()?;
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing.iter().map(|(name, what)| format!("{name} (to {what})")).collect();
    bail!(
        "capabilities are missing: {}. Run Egret as root; in a systemd unit add them to CapabilityBoundingSet=, in a container to \
         its capabilities",
        list.join(", ")
    )
}

/// Returns the names of the capabilities that this process lacks, each with what Egret does with it.
///
/// # Errors
/// The process's own status cannot be read.
pub fn missing_capabilities() -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    const STATUS: &str = "/proc/self/status";
    let status = std::fs::read_to_string(STATUS).with_context(|| format!("cannot read {STATUS}"))?;
    Ok(missing(&status).into_iter().map(|(name, _, what)| (name, what)).collect())
}

/// Returns the capabilities that are not in the effective set of a `/proc/PID/status`. All are, if the text has no such set.
fn missing(status: &str) -> Vec<Capability> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX);
    NEEDED.into_iter().filter(|(_, number, _)| effective & (1 << number) == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named() {
        let names = |set: &str| {
            let status = format!("Name:\tegret\nCapEff:\t{set}\nCapBnd:\t0000000000000000\n");
            missing(&status).into_iter().map(|(name, _, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("000001ffffffffff"), [""; 0]);
        assert_eq!(names("0000000000000000").len(), NEEDED.len());
        assert_eq!(names("000000ffffffffff"), [""; 0]);
        assert_eq!(names("000001fffff7ffff"), ["CAP_SYS_PTRACE"]);
        assert_eq!(names("0000007fffffffff"), ["CAP_BPF"]);
    }

    #[test]
    fn the_shipped_unit_and_pod_grant_exactly_these() {
        let unit = include_str!("../../../config/deploy/egret.service");
        let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let (mut granted, mut needed): (Vec<_>, Vec<_>) =
            (set.split(' ').collect(), NEEDED.iter().map(|(name, _, _)| *name).collect());
        let component = include_str!("../../../config/deploy/kubernetes/capabilities/daemonset.yaml");
        let mut added: Vec<_> = component
            .split("add:")
            .nth(1)
            .unwrap()
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- "))
            .map(|name| format!("CAP_{name}"))
            .collect();
        added.sort_unstable();
        granted.sort_unstable();
        needed.sort_unstable();
        assert_eq!(granted, needed);
        assert_eq!(added, needed, "the pod without `privileged`");
    }
}
