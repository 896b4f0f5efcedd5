//! What this kernel can do beyond the floor, and the message for one that is below it.

use std::path::Path;

/// The oldest kernel that Egret supports.
const FLOOR: (u32, u32) = (5, 15);

/// `bpf_set_retval` in connect programs: Linux 6.0 (commit b44123b4a3dc), one release of margin. A probe would have to
/// load a program of its own; where this is wrong the hooks do not load and the error says so.
pub(super) fn can_set_retval() -> bool {
    release().is_some_and(|(_, version)| version >= (6, 1))
}

/// `bpf_skc_to_mptcp_sock`: Linux 5.19 (commit 3bc253c2e652) with MPTCP built in; the same margin.
pub(super) fn can_find_mptcp() -> bool {
    can_set_retval() && Path::new("/proc/sys/net/mptcp").exists()
}

/// Says why the hooks do not load, without the verifier's log where the kernel is simply too old.
pub(super) fn explain(cause: &str) -> String {
    match release() {
        Some((name, version)) if version < FLOOR => {
            format!("this kernel is Linux {name}; Linux {}.{} is the floor", FLOOR.0, FLOOR.1)
        }
        _ => format!("{cause}. Root (CAP_BPF, CAP_NET_ADMIN) and Linux {}.{} or newer are needed", FLOOR.0, FLOOR.1),
    }
}

/// Returns the release as the kernel spells it, and its first two numbers.
fn release() -> Option<(String, (u32, u32))> {
    let name = nix::sys::utsname::uname().ok()?.release().to_string_lossy().into_owned();
    let version = version(&name)?;
    Some((name, version))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("5.10.0-30-amd64"), Some((5, 10)));
        assert_eq!(version("6.18"), Some((6, 18)));
        assert_eq!(version("6.1-rc3"), Some((6, 1)));
        assert_eq!(version("linux"), None);
        assert!(version("5.10.0") < Some(FLOOR) && version("5.9") < Some(FLOOR) && version("6.0") > Some(FLOOR));
    }
}
