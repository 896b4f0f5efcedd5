/// A caller from a network namespace in which Egret does not listen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Cookie of the namespace (`SO_NETNS_COOKIE` in socket(7)): unlike its inode number, no later namespace has the same one.
    pub netns: u64,
    /// The caller's cgroup, by the inode number of its directory.
    pub cgroup: u64,
    /// Process id of the caller, in the root PID namespace.
    pub pid: u32,
    /// Thread id of the caller, likewise.
    pub thread: u32,
}
