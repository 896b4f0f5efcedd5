use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSockAddr, Program, ProgramInfo, SockOps, loaded_programs};

use super::container::mounts;
use super::pins::on_bpffs;
use super::{Error, Hook, bpf, chain};

/// The programs, by the names they have in the object.
const HOOKS: [&str; 9] = [
    "connect4",
    "connect6",
    "tcp_events",
    "getpeername4",
    "getpeername6",
    "recvmsg4",
    "recvmsg6",
    "sendmsg4",
    "sendmsg6",
];

/// The attached hooks. Their pins keep them attached when this process is gone.
#[derive(Debug)]
pub(super) struct Links(Mutex<Vec<Attached>>);

#[derive(Debug)]
struct Attached {
    name: &'static str,
    program_id: u32,
    pin: PathBuf,
}

impl Links {
    pub(super) fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn hooks(&self, cgroup: &Path) -> Vec<Hook> {
        let programs: Vec<_> = loaded_programs().flatten().collect();
        let hook = |attached: &Attached| {
            let program = programs.iter().find(|program| program.id() == attached.program_id);
            Hook {
                name: attached.name,
                attached_to: cgroup.to_owned(),
                pinned: Some(attached.pin.clone()),
                program_id: attached.program_id,
                runs: program.map_or(0, ProgramInfo::run_count),
                run_time: program.map_or(Duration::ZERO, ProgramInfo::run_time),
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(hook).collect()
    }
}

/// Loads every program and attaches it to the cgroup; where a pinned link is, replaces the program behind it.
pub(super) fn attach(object: &mut Ebpf, cgroup: BorrowedFd<'_>, pins: &Path) -> Result<Links, Error> {
    HOOKS
        .into_iter()
        .map(|hook| attach_one(object, hook, cgroup, pins))
        .collect::<Result<_, _>>()
        .map(Mutex::new)
        .map(Links)
}

fn attach_one(object: &mut Ebpf, hook: &'static str, cgroup: BorrowedFd<'_>, pins: &Path) -> Result<Attached, Error> {
    let failed = |cause: String| Error::Attach { hook, cause };
    let program = object.program_mut(hook).ok_or_else(|| failed("not in the object".to_owned()))?;
    let load = |result: Result<(), aya::programs::ProgramError>| {
        result.map_err(|error| Error::load(&format!("{hook}: {}", chain(&error))))
    };
    match program {
        Program::CgroupSockAddr(program) => load(program.load())?,
        Program::SockOps(program) => load(program.load())?,
        _ => return Err(failed("of an unexpected type".to_owned())),
    }
    let program_id = program.info().map_err(|error| failed(chain(&error)))?.id();
    let pin = link_pin(pins, hook);
    if pin.exists() {
        let fd = program.fd().map_err(|error| failed(chain(&error)))?;
        match bpf::replace(&pin, fd.as_fd()) {
            Ok(()) => return Ok(Attached { name: hook, program_id, pin }),
            // The cgroup it was attached to is gone: nothing is captured by it any more.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                fs::remove_file(&pin).map_err(|cause| Error::Path { what: "remove", path: pin.clone(), cause })?;
            }
            Err(error) => return Err(failed(format!("cannot replace the program of {}: {error}", pin.display()))),
        }
    }
    let link = match program {
        Program::CgroupSockAddr(program) => link_addr(program, cgroup),
        Program::SockOps(program) => link_ops(program, cgroup),
        _ => Err("of an unexpected type".to_owned()),
    }
    .map_err(failed)?;
    link.pin(&pin).map_err(|error| failed(chain(&error)))?;
    Ok(Attached { name: hook, program_id, pin })
}

/// With links the kernel runs every program of a cgroup and of its parents: the mode excludes nobody.
const TOGETHER: CgroupAttachMode = CgroupAttachMode::Single;

fn link_addr(program: &mut CgroupSockAddr, cgroup: BorrowedFd<'_>) -> Result<FdLink, String> {
    let id = program.attach(cgroup, TOGETHER).map_err(|error| chain(&error))?;
    let link = program.take_link(id).map_err(|error| chain(&error))?;
    FdLink::try_from(link).map_err(|error| chain(&error))
}

fn link_ops(program: &mut SockOps, cgroup: BorrowedFd<'_>) -> Result<FdLink, String> {
    let id = program.attach(cgroup, TOGETHER).map_err(|error| chain(&error))?;
    let link = program.take_link(id).map_err(|error| chain(&error))?;
    FdLink::try_from(link).map_err(|error| chain(&error))
}

/// How the names of pinned links begin.
const LINK: &str = "link_";

fn link_pin(pins: &Path, hook: &str) -> PathBuf {
    pins.join(format!("{LINK}{hook}"))
}

/// Whether a former process left its hooks here.
pub(super) fn is_pinned(pins: &Path) -> bool {
    HOOKS.iter().any(|hook| link_pin(pins, hook).exists())
}

/// Returns the directories of all mounted bpffs in which hooks are pinned.
pub(super) fn pinned() -> Vec<PathBuf> {
    let mounts = mounts().into_iter().filter(|mount| mount.kind == "bpf");
    let mut found: Vec<_> = mounts.flat_map(|mount| pinned_below(&mount.at, DEEPEST)).collect();
    found.sort();
    found.dedup();
    found
}

/// Levels of directories in which hooks are looked for.
const DEEPEST: u32 = 4;

fn pinned_below(directory: &Path, levels: u32) -> Vec<PathBuf> {
    if is_pinned(directory) {
        return vec![directory.to_owned()];
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.filter(|entry| levels > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.flat_map(|entry| pinned_below(&entry.path(), levels - 1)).collect()
}

/// Detaches every link below this directory, then removes all pins.
pub(super) fn detach(pins: &Path) -> Result<Vec<PathBuf>, Error> {
    let path_error =
        |what: &'static str, path: &Path, cause: io::Error| Error::Path { what, path: path.to_owned(), cause };
    let entries = match fs::read_dir(pins) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(path_error("read", pins, error)),
    };
    // What is elsewhere is nobody's pin, and must not be removed.
    if !on_bpffs(pins) {
        let why = io::Error::other("not on a bpffs: name the directory of `capture.pins`");
        return Err(path_error("detach the hooks in", pins, why));
    }
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    // Links before maps: nothing is captured any more when the table goes.
    let is_link = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(LINK.as_bytes()));
    paths.sort_by_key(|path| !is_link(path));
    for path in &paths {
        // A daemon that runs holds the link too: without its pin it would go on. One whose cgroup is gone is detached.
        if is_link(path)
            && let Err(error) = bpf::detach(path)
            && error.raw_os_error() != Some(libc::ENOLINK)
        {
            return Err(path_error("detach", path, error));
        }
        fs::remove_file(path).map_err(|cause| path_error("remove", path, cause))?;
    }
    fs::remove_dir(pins).map_err(|cause| path_error("remove", pins, cause))?;
    Ok(paths)
}
