//! What this kernel can do beyond the floor, and the message for one that is below it.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

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

/// Time between two SYNs of a connection that waits for Egret to listen in its network namespace. The kernel doubles it
/// after some attempts, and gives up after about 130 times as long (tcp_syn_retries in ip-sysctl).
const HOLD: Duration = Duration::from_millis(20);

/// Returns [`HOLD`] in ticks of the kernel's clock; zero if this kernel has no TCP MD5 signatures (`CONFIG_TCP_MD5SIG`), by which a
/// connection is made to wait.
pub(super) fn hold_ticks() -> u32 {
    if !has_signatures() {
        return 0;
    }
    // The coarse clock advances with each tick (clock_getres(2)).
    let tick = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).map_or(HOLD, Duration::from);
    let ticks = HOLD.as_nanos().checked_div(tick.as_nanos()).unwrap_or(1);
    u32::try_from(ticks).unwrap_or(1).max(1)
}

/// Whether a socket takes the key of an MD5 signature (`TCP_MD5SIG` in linux/tcp.h).
fn has_signatures() -> bool {
    const TCP_MD5SIG: libc::c_int = 14;
    const KEY: usize = 80;

    #[repr(C)]
    struct Signature {
        peer: libc::sockaddr_storage,
        flags: u8,
        prefix: u8,
        key_length: u16,
        device: i32,
        key: [u8; KEY],
    }

    let Ok(socket) = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)) else { return false };
    // SAFETY: all fields are plain numbers, for which zero is a value.
    let mut signature: Signature = unsafe { std::mem::zeroed() };
    signature.peer.ss_family = libc::AF_INET as libc::sa_family_t;
    signature.key_length = 1;
    // SAFETY: the option is as long as the length says, and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_MD5SIG,
            (&raw const signature).cast(),
            size_of::<Signature>() as libc::socklen_t,
        )
    };
    result == 0
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
