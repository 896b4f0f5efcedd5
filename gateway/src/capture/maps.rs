use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::{Array, MapData, PerCpuArray, RingBuf, SkStorage};
use aya::{Ebpf, EbpfLoader};
use egret_kernel::{
    ABI_VERSION, EVENTS_LOST, KernelReason, MARK_EXEMPT, MARK_FORWARDER, MARK_LISTENER, Port, Settings, ToldKey,
    UnlistedKey, map,
};

use super::decisions::TakenOut;
use super::dns::Dns;
use super::namespaces::{Namespaces, netns_cookie};
use super::origins::Origins;
use super::sockets::{self, Connection, Transport};
use super::table::Table;
use super::unlisted::UnlistedMaps;
use super::{Decisions, Error, btf, chain, kernel, map_error};

/// Rows of Egret's own in the table: those of its listeners and of the proof.
pub(super) const OWN_ROWS: usize = 6;

const NAMES: [&str; 26] = [
    map::SETTINGS,
    map::HEARTBEAT,
    map::REDIRECTS,
    map::SCOPED,
    map::HITS,
    map::ORIGINS,
    map::OWNERS,
    map::CAPTURED,
    map::ACCEPTED,
    map::MARKS,
    map::PASSED,
    map::COUNTERS,
    map::EVENTS,
    map::TOLD,
    map::UNLISTED,
    map::CLASSES,
    map::EXCEPTIONS,
    map::UNLISTED_TOLD,
    map::HEARD,
    map::NAMESPACES,
    map::ARRIVALS,
    map::DNS,
    map::DNS_HEARTBEAT,
    map::DNS_CLIENTS,
    map::DNS_SENDERS,
    map::DNS_DIRECT,
];

/// Loads the object. Its maps are adopted from the directory of pins, or made and pinned there.
pub(super) fn load(pins: &Path) -> Result<Ebpf, Error> {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EGRET_HOOKS_OBJECT"));
    let (can_set_retval, can_find_mptcp) = (u8::from(kernel::can_set_retval()), u8::from(kernel::can_find_mptcp()));
    let mut loader = EbpfLoader::new();
    loader.override_global("CAN_SET_RETVAL", &can_set_retval, true);
    loader.override_global("CAN_FIND_MPTCP", &can_find_mptcp, true);
    let hold_ticks = kernel::hold_ticks();
    loader.override_global("HOLD_TICKS", &hold_ticks, true);
    let offsets = btf::unicast_offsets();
    if offsets.is_none() {
        tracing::warn!(
            "this kernel does not let the hooks see which sockets are bound to a device: DNS queries over UDP leave directly"
        );
    }
    let (v4, pointer_v6, v6) = offsets.map_or((0, 0, 0), |offsets| (offsets.v4, offsets.pointer_v6, offsets.v6));
    loader.override_global("UNICAST_IF", &v4, true);
    loader.override_global("SOCKET_V6", &pointer_v6, true);
    loader.override_global("UNICAST_IF_V6", &v6, true);
    for name in NAMES {
        loader.map_pin_path(name, pins.join(name));
    }
    loader.load(OBJECT).map_err(|error| Error::load(&chain(&error)))
}

/// The maps, each behind its own lock: an operation is one or two system calls.
pub(super) struct Maps {
    settings: Mutex<Array<MapData, Settings>>,
    heartbeat: Mutex<Array<MapData, u64>>,
    pub(super) table: Table,
    pub(super) origins: Origins,
    pub(super) dns: Dns,
    pub(super) unlisted: UnlistedMaps,
    pub(super) namespaces: Namespaces,
    marks: Mutex<SkStorage<MapData, u32>>,
    marks_fd: OwnedFd,
    passed_fd: OwnedFd,
    counters: Mutex<PerCpuArray<MapData, u64>>,
    events: Mutex<Option<Events>>,
}

/// The maps that report decisions, for one reader.
struct Events {
    ring: RingBuf<MapData>,
    told: TakenOut<ToldKey>,
    unlisted: TakenOut<UnlistedKey>,
}

/// Returns a descriptor of a map in the object, for what aya does not offer.
fn descriptor(object: &Ebpf, name: &'static str) -> Result<OwnedFd, Error> {
    let fd = match object.map(name) {
        Some(aya::maps::Map::HashMap(map) | aya::maps::Map::SkStorage(map)) => map.fd().as_fd().try_clone_to_owned(),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    fd.map_err(|error| Error::Map { map: name, cause: error.to_string() })
}

/// Takes a map out of the object, as a map of its type.
pub(super) fn take<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, Error> {
    let map = object.take_map(name).ok_or(Error::Map { map: name, cause: "not in the object".to_owned() })?;
    M::try_from(map).map_err(map_error(name))
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").finish_non_exhaustive()
    }
}

impl Maps {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        let told_fd = descriptor(object, map::TOLD)?;
        let unlisted_fd = descriptor(object, map::UNLISTED_TOLD)?;
        let marks_fd = descriptor(object, map::MARKS)?;
        let passed_fd = descriptor(object, map::PASSED)?;
        Ok(Self {
            settings: Mutex::new(take(object, map::SETTINGS)?),
            heartbeat: Mutex::new(take(object, map::HEARTBEAT)?),
            table: Table::take(object)?,
            origins: Origins::take(object)?,
            dns: Dns::take(object)?,
            unlisted: UnlistedMaps::take(object)?,
            namespaces: Namespaces::take(object)?,
            marks: Mutex::new(take(object, map::MARKS)?),
            marks_fd,
            passed_fd,
            counters: Mutex::new(take(object, map::COUNTERS)?),
            events: Mutex::new(Some(Events {
                ring: take(object, map::EVENTS)?,
                told: TakenOut::new(take(object, map::TOLD)?, told_fd),
                unlisted: TakenOut::new(take(object, map::UNLISTED_TOLD)?, unlisted_fd),
            })),
        })
    }

    /// Fresh maps are zero; adopted ones must be of this version.
    pub(super) fn check_abi(&self, pins: &Path) -> Result<(), Error> {
        let found = lock(&self.settings).get(&0, 0).map_err(map_error(map::SETTINGS))?.abi_version;
        match found {
            0 | ABI_VERSION => Ok(()),
            found => Err(Error::Abi { pins: pins.to_owned(), found }),
        }
    }

    /// Tells the hooks what holds for the whole run: which cgroup is captured, zero for all, and when Egret is gone.
    pub(super) fn settle(&self, cgroup: u64, stale_after: Duration) -> Result<(), Error> {
        self.change_settings(|settings| {
            settings.abi_version = ABI_VERSION;
            settings.cgroup = cgroup;
            settings.stale_after = u64::try_from(stale_after.as_nanos()).unwrap_or(u64::MAX);
        })
    }

    fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<(), Error> {
        let mut map = lock(&self.settings);
        let mut settings = map.get(&0, 0).map_err(map_error(map::SETTINGS))?;
        change(&mut settings);
        map.set(0, settings, 0).map_err(map_error(map::SETTINGS))
    }

    pub(super) fn listen(&self, v4: BorrowedFd<'_>, v6: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Map { map: map::SETTINGS, cause: source.to_string() };
        let netns = netns_cookie(v4).map_err(failed)?;
        let port_v4 = local_port(v4).map_err(failed)?;
        let port_v6 = v6.map(local_port).transpose().map_err(failed)?.unwrap_or(0);
        self.mark_listeners(v4, v6)?;
        self.table.refuse_direct_connections(port_v4, port_v6)?;
        self.change_settings(|settings| {
            settings.netns = netns;
            settings.listener_v4 = Port::from(port_v4);
            settings.listener_v6 = Port::from(port_v6);
        })
    }

    /// Marks listeners as ours: no redirect goes to any other socket.
    pub(super) fn mark_listeners(&self, v4: BorrowedFd<'_>, v6: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        for socket in [Some(v4), v6].into_iter().flatten() {
            lock(&self.marks).insert(&socket, MARK_LISTENER, 0).map_err(map_error(map::MARKS))?;
        }
        Ok(())
    }

    pub(super) fn beat(&self) -> Result<(), Error> {
        let now = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        lock(&self.heartbeat).set(0, now, 0).map_err(map_error(map::HEARTBEAT))
    }

    pub(super) fn exempt(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        lock(&self.marks).insert(&socket, MARK_EXEMPT, 0).map_err(io::Error::other)
    }

    pub(super) fn mark_forwarder(&self, socket: BorrowedFd<'_>) -> Result<(), Error> {
        lock(&self.marks).insert(&socket, MARK_FORWARDER, 0).map_err(map_error(map::MARKS))
    }

    pub(super) fn counter(&self, reason: KernelReason) -> u64 {
        lock(&self.counters).get(&(reason as u32), 0).map_or(0, |values| values.iter().sum())
    }

    /// Returns how many events were lost: the ring or the table of equal decisions was full.
    pub(super) fn events_lost(&self) -> u64 {
        lock(&self.counters).get(&EVENTS_LOST, 0).map_or(0, |values| values.iter().sum())
    }

    /// Returns what the hooks report, for one reader.
    pub(super) fn decisions(&self) -> io::Result<Decisions> {
        let Events { ring, told, unlisted } = lock(&self.events).take().ok_or(io::ErrorKind::AlreadyExists)?;
        Decisions::new(ring, told, unlisted)
    }

    /// Lists the connections of this thread's network namespace, and what the hooks and Egret have noted of each.
    pub(super) fn connections(&self, of: (Transport, u32), on_connection: impl FnMut(Connection)) -> io::Result<()> {
        sockets::connections(of, self.marks_fd.as_fd(), self.passed_fd.as_fd(), on_connection)
    }
}

pub(super) fn lock<M>(map: &Mutex<M>) -> MutexGuard<'_, M> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how long ago a moment of the hooks was.
pub(super) fn age(nanoseconds: u64) -> Duration {
    monotonic().saturating_sub(Duration::from_nanos(nanoseconds))
}

/// CLOCK_MONOTONIC, the hooks' clock (`bpf_ktime_get_ns`).
pub(super) fn monotonic() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

pub(super) fn local_port(socket: BorrowedFd<'_>) -> io::Result<u16> {
    let address = socket2::SockRef::from(&socket).local_addr()?;
    address.as_socket().map(|address| address.port()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
