use crate::Port;

/// The facts about the daemon that the hooks need.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`ABI_VERSION`](crate::ABI_VERSION) of the process that made the maps.
    pub abi_version: u32,
    /// Port of the listener on 127.0.0.1; zero while there is none.
    pub listener_v4: Port,
    /// Port of the listener on ::1; zero while there is none.
    pub listener_v6: Port,
    /// Cookie of the node's network namespace. In others Egret listens on the same ports.
    pub netns: u64,
    /// Age of the heartbeat, in nanoseconds, from which the daemon counts as gone.
    pub stale_after: u64,
    /// The cgroup whose processes are captured, by inode number; zero for all processes.
    pub cgroup: u64,
}

/// In `MARKS`: a socket of Egret's own, never captured.
pub const MARK_EXEMPT: u32 = 1;
/// In `MARKS`: Egret's listener; a redirect goes only to a socket with this mark.
pub const MARK_LISTENER: u32 = 2;
/// In `MARKS`: a socket of Egret's DNS forwarder; queries go only to a socket with this mark.
pub const MARK_FORWARDER: u32 = 3;

const _: () = assert!(size_of::<Settings>() == 32);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, every bit pattern valid, no padding.
unsafe impl aya::Pod for Settings {}
