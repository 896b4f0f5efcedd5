//! bpf(2), for what aya 0.14 does not offer.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

/// Replaces the program behind a pinned link, in one atomic step.
pub(super) fn replace(pin: &Path, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct LinkUpdate {
        link: i32,
        program: i32,
        flags: u32,
        old_program: u32,
    }

    let link = pinned(pin)?;
    let update = LinkUpdate { link: link.as_raw_fd(), program: program.as_raw_fd(), flags: 0, old_program: 0 };
    // SAFETY: no pointers in it.
    unsafe { call(BPF_LINK_UPDATE, &update) }.map(drop)
}

/// Detaches a pinned link for good, whoever else holds it (Linux 5.9).
pub(super) fn detach(pin: &Path) -> io::Result<()> {
    let link = pinned(pin)?;
    // SAFETY: no pointers in it.
    unsafe { call(BPF_LINK_DETACH, &link.as_raw_fd()) }.map(drop)
}

fn pinned(pin: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct ObjGet {
        path: u64,
        fd: u32,
        flags: u32,
    }

    let path = CString::new(pin.as_os_str().as_bytes())?;
    let get = ObjGet { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the path outlives the call.
    let fd = unsafe { call(BPF_OBJ_GET, &get)? };
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads and deletes an element of a hash map, in one atomic step (Linux 5.14).
pub(super) fn take<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<V> {
    #[repr(C)]
    struct Element {
        map: i32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }

    let mut value = MaybeUninit::<V>::uninit();
    let element = Element {
        map: map.as_raw_fd(),
        pad: 0,
        key: std::ptr::from_ref(key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and value outlive the call; the map's keys and values are of these types.
    unsafe { call(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &element)? };
    // SAFETY: the kernel has written it.
    Ok(unsafe { value.assume_init() })
}

/// # Safety
/// The attributes are laid out as bpf(2) says for this command, and what they point to outlives the call.
unsafe fn call<A>(command: libc::c_long, attributes: &A) -> io::Result<i32> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
