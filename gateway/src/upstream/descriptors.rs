//! Who gets the descriptors of the process. Callers' connections get three quarters of what is not reserved, the way to third
//! parties gets the rest of it, and the reserve is for the admin socket, metrics, DNS and files, so that these answer
//! whatever callers hold.
//!
//! The kernel gives the lowest number that is free: a descriptor with the number N is there only if N others are open. So
//! the number alone says whether there is room, and nothing has to be counted.

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit};

/// The most descriptors that are reserved; of a smaller limit it is an eighth.
const RESERVE: u64 = 512;

/// Source ports of a loopback address with Linux's defaults: each captured connection takes one.
const PORTS: u64 = 28_231;

/// Returns whether a caller's connection may stay.
pub fn has_room_for_caller(socket: &impl AsFd) -> bool {
    is_below(socket, callers(limit()))
}

/// Returns whether a descriptor on the way to a third party may stay.
pub fn has_room(descriptor: &impl AsFd) -> bool {
    is_below(descriptor, usable(limit()))
}

/// Returns the number of connections that one owner may have, unless the configuration says it: an eighth of what there
/// are descriptors and ports for.
pub fn connections_of_one() -> u64 {
    (callers(limit()).min(PORTS) / 8).max(1)
}

fn is_below(descriptor: &impl AsFd, most: u64) -> bool {
    u64::try_from(descriptor.as_fd().as_raw_fd()).is_ok_and(|number| number < most)
}

/// Read each time: an administrator may change it while Egret runs (prlimit(1)).
fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

fn usable(limit: u64) -> u64 {
    limit - (limit / 8).min(RESERVE)
}

fn callers(limit: u64) -> u64 {
    usable(limit) / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_some_of_any_limit() {
        for limit in [64, 256, 1024, 20_000, 1 << 20, u64::MAX] {
            let (callers, usable) = (callers(limit), usable(limit));
            assert!(0 < callers && callers < usable && usable < limit, "{limit}");
        }
        assert_eq!((callers(20_000), usable(20_000)), (14_616, 19_488));
    }
}
