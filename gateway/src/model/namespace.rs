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

/// Why Egret does not listen in a network namespace of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unserved {
    /// The process that made it known has ended, or Egret cannot see it.
    Gone,
    /// Egret has no permission to enter it.
    NotAllowed,
    /// The caller's socket is of another namespace than the caller.
    OtherNamespace,
    /// Another program there has Egret's port.
    PortTaken,
    /// Its owner, or all owners together, have too many.
    TooMany,
    /// Its loopback device is down.
    LoopbackDown,
    /// A program there closed Egret's socket by force.
    ListenerClosed,
    /// For another reason, which the error says.
    Failed,
}

impl Unserved {
    /// The causes in the order in which metrics show them.
    pub const ALL: [Self; 8] = [
        Self::Gone,
        Self::NotAllowed,
        Self::OtherNamespace,
        Self::PortTaken,
        Self::TooMany,
        Self::LoopbackDown,
        Self::ListenerClosed,
        Self::Failed,
    ];

    /// The spelling in logs, in metrics and in the CLI.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Gone => "process_gone",
            Self::NotAllowed => "not_allowed",
            Self::OtherNamespace => "other_namespace",
            Self::PortTaken => "port_taken",
            Self::TooMany => "too_many_namespaces",
            Self::LoopbackDown => "loopback_down",
            Self::ListenerClosed => "listener_closed",
            Self::Failed => "failed",
        }
    }

    /// What an owner can do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Gone => "nothing if the process has ended; else run Egret in the node's PID namespace (`hostPID`)",
            Self::NotAllowed => "grant Egret CAP_SYS_ADMIN and CAP_SYS_PTRACE",
            Self::OtherNamespace => "let the process that made the socket connect from its own network namespace first",
            Self::PortTaken => "let the other program use another port: `egret status` shows Egret's ports",
            Self::TooMany => {
                "end namespaces that are not needed; raise LimitNOFILE= if all owners together have too many"
            }
            Self::LoopbackDown => "`ip link set lo up` in the container",
            Self::ListenerClosed => {
                "find the program in the container that closes sockets (`ss --kill`): Egret listens again"
            }
            Self::Failed => "see the error",
        }
    }
}
