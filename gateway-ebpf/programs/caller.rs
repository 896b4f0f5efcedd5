//! The process that makes a call: who it is, and whether it is captured at all.

use aya_ebpf::helpers::bpf_get_current_comm;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    bpf_ktime_get_ns,
};
use egret_kernel::{OWNER_IS_ONE_CGROUP, OWNER_IS_USER, Origin, Owners};

use crate::connect::{Destination, Row};
use crate::maps::SETTINGS;

/// Deepest level of cgroups that the hooks look at.
pub const DEEPEST: i32 = 16;

/// Whether the calling process is in the captured sub-tree of cgroups. The hooks are attached to the root and look at
/// the process, not at the socket's cgroup: a socket that was made elsewhere and passed on is captured too.
#[inline(always)]
pub fn is_captured() -> bool {
    let Some(settings) = SETTINGS.get(0) else { return true };
    settings.cgroup == 0 || (1..=DEEPEST).any(|level| ancestor(level) == settings.cgroup)
}

/// Returns the record of this call.
#[inline(always)]
pub fn origin_of(destination: &Destination, row: Row) -> Origin {
    // SAFETY: these helpers take nothing and return numbers.
    let (time, pid) = unsafe { (bpf_ktime_get_ns(), (bpf_get_current_pid_tgid() >> 32) as u32) };
    Origin {
        cgroup: cgroup(),
        scope: row.scope,
        time,
        address: destination.address,
        port: destination.port,
        pad: [0; 2],
        generation: row.rule.generation,
        api: row.rule.api,
        pid,
        uid: user(),
        pad2: 0,
        command: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// Returns the keys of `OWNERS` for this call.
#[inline(always)]
pub fn owners(cgroup: u64) -> Owners {
    let first = ancestor(1);
    let own = if first == 0 { OWNER_IS_USER | u64::from(user()) } else { OWNER_IS_ONE_CGROUP | cgroup };
    [first, ancestor(2), ancestor(3), own]
}

/// Returns the second-level cgroup of the caller, or its own above that level.
#[inline(always)]
pub fn second_level(cgroup: u64) -> u64 {
    match ancestor(2) {
        0 => cgroup,
        id => id,
    }
}

/// Returns the caller's cgroup.
#[inline(always)]
pub fn cgroup() -> u64 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Returns the caller's cgroup at a level of the hierarchy, the root being at level 0.
#[inline(always)]
pub fn ancestor(level: i32) -> u64 {
    // SAFETY: the helper takes a number and returns one: zero where the caller's cgroup is above that level.
    unsafe { bpf_get_current_ancestor_cgroup_id(level) }
}

#[inline(always)]
fn user() -> u32 {
    // SAFETY: the helper takes nothing and returns a number.
    (unsafe { bpf_get_current_uid_gid() }) as u32
}
