//! What the kernel's own bookkeeping adds to every figure: the run time it reports of a program that does nothing.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// bpf(2), and what its attributes are (`union bpf_attr` in linux/bpf.h).
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const CGROUP_INET4_CONNECT: u32 = 10;

/// `r0 = 1; exit`: the call goes on.
const PROCEED: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

/// A program on `connect` that does nothing, attached until dropped.
pub(crate) struct Floor {
    program: OwnedFd,
    _link: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    device: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct Link {
    program: i32,
    target: i32,
    attach_type: u32,
    flags: u32,
}

impl Floor {
    pub(crate) fn attach(cgroup: &Path) -> Self {
        let mut load = Load {
            program_type: PROG_TYPE_CGROUP_SOCK_ADDR,
            instruction_count: 2,
            instructions: PROCEED.as_ptr().expose_provenance() as u64,
            license: c"GPL".as_ptr().expose_provenance() as u64,
            expected_attach_type: CGROUP_INET4_CONNECT,
            ..Load::default()
        };
        let program = bpf(PROG_LOAD, &mut load).expect("an empty program loads");
        let cgroup = File::open(cgroup).expect("the lab's cgroup");
        let mut link = Link {
            program: program.as_raw_fd(),
            target: cgroup.as_raw_fd(),
            attach_type: CGROUP_INET4_CONNECT,
            flags: 0,
        };
        let link = bpf(LINK_CREATE, &mut link).expect("an empty program attaches");
        Self { program, _link: link }
    }

    /// Runs so far, and their nanoseconds.
    pub(crate) fn runs(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd())).expect("fdinfo");
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a statistic of the program");
            line.trim().parse().expect("a number")
        };
        (value("run_cnt:"), value("run_time_ns:"))
    }
}

fn bpf<A>(command: libc::c_long, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are laid out as the kernel reads them, its size says how many, pointers in them are alive.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) })
}
