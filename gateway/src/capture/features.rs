use std::fs;
use std::path::Path;

use aya::programs::ProgramType;
use aya::sys::is_program_supported;

/// Something the kernel must have.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The name of the feature.
    pub name: &'static str,
    /// Whether it is there.
    pub present: bool,
    /// What to do if not.
    pub remedy: &'static str,
}

/// What the hooks need of this kernel, probed.
pub fn features() -> Vec<Feature> {
    let program = |kind| is_program_supported(kind).unwrap_or(false);
    vec![
        Feature {
            name: "connect hooks (cgroup/sock_addr)",
            present: program(ProgramType::CgroupSockAddr),
            remedy: "run as root; the kernel needs CONFIG_CGROUP_BPF and Linux 5.15 or newer",
        },
        Feature {
            name: "socket events (sockops)",
            present: program(ProgramType::SockOps),
            remedy: "run as root; the kernel needs CONFIG_CGROUP_BPF and Linux 5.15 or newer",
        },
        Feature {
            name: "type information (BTF)",
            present: Path::new("/sys/kernel/btf/vmlinux").exists(),
            remedy: "a kernel with CONFIG_DEBUG_INFO_BTF is needed",
        },
        Feature {
            name: "pins (bpffs)",
            present: fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("\tbpf\n")),
            remedy: "the kernel needs CONFIG_BPF_SYSCALL",
        },
    ]
}
