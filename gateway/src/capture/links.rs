use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{CgroupAttachMode, CgroupSockAddr, Program, ProgramInfo, SockOps, loaded_programs};
use nix::mount::{MsFlags, mount};

use super::{Error, Hook, bpf, chain};

/// The programs, by the names they have in the object.
const HOOKS: [&str; 7] = ["connect4", "connect6", "before_syn", "getpeername4", "getpeername6", "sendmsg4", "sendmsg6"];

/// Keeps the hooks attached: by descriptor, or by pin.
#[derive(Debug)]
pub(super) struct Links(Mutex<Vec<Attached>>);

#[derive(Debug)]
struct Attached {
    name: &'static str,
    program_id: u32,
    pin: Option<PathBuf>,
    // Held, not read: a link without a holder or a pin is removed by the kernel.
    _link: Option<Held>,
}

#[derive(Debug)]
enum Held {
    Descriptor(#[expect(dead_code, reason = "held until the process ends")] FdLink),
    Pinned(#[expect(dead_code, reason = "held until the process ends")] PinnedLink),
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
                pinned: attached.pin.clone(),
                program_id: attached.program_id,
                runs: program.map_or(0, ProgramInfo::run_count),
                run_time: program.map_or(Duration::ZERO, ProgramInfo::run_time),
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(hook).collect()
    }
}

/// Loads every program and attaches it to the cgroup; where a pinned link is, replaces the program behind it.
pub(super) fn attach(object: &mut Ebpf, cgroup: BorrowedFd<'_>, pins: Option<&Path>) -> Result<Links, Error> {
    HOOKS
        .into_iter()
        .map(|hook| attach_one(object, hook, cgroup, pins))
        .collect::<Result<_, _>>()
        .map(Mutex::new)
        .map(Links)
}

fn attach_one(
    object: &mut Ebpf,
    hook: &'static str,
    cgroup: BorrowedFd<'_>,
    pins: Option<&Path>,
) -> Result<Attached, Error> {
    let failed = |cause: String| Error::Attach { hook, cause };
    let program = object.program_mut(hook).ok_or_else(|| failed("not in the object".to_owned()))?;
    let load = |result: Result<(), aya::programs::ProgramError>| {
        result.map_err(|error| Error::Load(format!("{hook}: {}", chain(&error))))
    };
    match program {
        Program::CgroupSockAddr(program) => load(program.load())?,
        Program::SockOps(program) => load(program.load())?,
        _ => return Err(failed("of an unexpected type".to_owned())),
    }
    let program_id = program.info().map_err(|error| failed(chain(&error)))?.id();
    let pin = pins.map(|pins| link_pin(pins, hook));
    if let Some(pin) = pin.as_deref().filter(|pin| pin.exists()) {
        let fd = program.fd().map_err(|error| failed(chain(&error)))?;
        match bpf::replace(pin, fd.as_fd()) {
            Ok(()) => return Ok(Attached { name: hook, program_id, pin: Some(pin.to_owned()), _link: None }),
            // The cgroup it was attached to is gone: nothing is captured by it any more.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                fs::remove_file(pin).map_err(|source| Error::Path { what: "remove", path: pin.to_owned(), source })?;
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
    let held = match &pin {
        None => Held::Descriptor(link),
        Some(pin) => Held::Pinned(link.pin(pin).map_err(|error| failed(chain(&error)))?),
    };
    Ok(Attached { name: hook, program_id, pin, _link: Some(held) })
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

/// Whether a persistent run left pins here.
pub(super) fn is_pinned(pins: &Path) -> bool {
    HOOKS.iter().any(|hook| link_pin(pins, hook).exists())
}

/// Makes the directory of pins, on a bpffs.
pub(super) fn prepare(pins: &Path) -> Result<(), Error> {
    const BPFFS: &str = "/sys/fs/bpf";
    let path_error =
        |what: &'static str, path: &Path, source: io::Error| Error::Path { what, path: path.to_owned(), source };
    if pins.starts_with(BPFFS) && !on_bpffs(Path::new(BPFFS)) {
        tracing::info!(path = BPFFS, "mounting a bpffs, for the pins of the hooks");
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
            .map_err(|error| path_error("mount a bpffs at", Path::new(BPFFS), error.into()))?;
    }
    fs::create_dir_all(pins).map_err(|source| path_error("make", pins, source))?;
    if on_bpffs(pins) {
        Ok(())
    } else {
        let why = io::Error::other("not on a bpffs: choose capture.pins below /sys/fs/bpf");
        Err(path_error("pin in", pins, why))
    }
}

fn on_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC)
}

pub(super) fn detach(pins: &Path) -> Result<Vec<PathBuf>, Error> {
    let path_error =
        |what: &'static str, path: &Path, source: io::Error| Error::Path { what, path: path.to_owned(), source };
    let entries = match fs::read_dir(pins) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(path_error("read", pins, error)),
    };
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
        fs::remove_file(path).map_err(|source| path_error("remove", path, source))?;
    }
    fs::remove_dir(pins).map_err(|source| path_error("remove", pins, source))?;
    Ok(paths)
}
