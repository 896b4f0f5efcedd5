use std::collections::HashMap as Table;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues, RingBuf, SkStorage};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use egret_kernel::{
    ABI_VERSION, ACTION_BIND, ACTION_DENY, ACTION_REDIRECT, Address, CaptureKey, CaptureRule, FAIL_CLOSED, FAIL_OPEN,
    Hits, KernelReason, MARK_EXEMPT, MARK_LISTENER, MAX_REDIRECTS, OriginKey, Port, Settings, map,
};

use super::{Decisions, Error, bpf, chain, map_error, proof};
use crate::model::{Action, ApiId, FailMode, Generation, HookCounters, Origin, OriginalDst, Redirect};

const TCP: u8 = 6;

const NAMES: [&str; 9] = [
    map::SETTINGS,
    map::HEARTBEAT,
    map::REDIRECTS,
    map::HITS,
    map::ORIGINS,
    map::CAPTURED,
    map::MARKS,
    map::COUNTERS,
    map::EVENTS,
];

/// Loads the object. Its maps are adopted from the directory of pins, or made and pinned there.
pub(super) fn load(pins: &Path) -> Result<Ebpf, Error> {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EGRET_HOOKS_OBJECT"));
    let can_set_retval = u8::from(can_set_retval());
    let mut loader = EbpfLoader::new();
    loader.override_global("CAN_SET_RETVAL", &can_set_retval, true);
    for name in NAMES {
        loader.map_pin_path(name, pins.join(name));
    }
    loader.load(OBJECT).map_err(|error| Error::Load(chain(&error)))
}

/// `bpf_set_retval` in connect programs: Linux 6.0 (commit b44123b4a3dc), one release of margin. A probe would have to
/// load a program of its own; where the answer is wrong the hooks do not load, and say so.
fn can_set_retval() -> bool {
    let Ok(name) = nix::sys::utsname::uname() else { return false };
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(1))
}

/// The maps, each behind its own lock: an operation is one or two system calls.
pub(super) struct Maps {
    settings: Mutex<Array<MapData, Settings>>,
    heartbeat: Mutex<Array<MapData, u64>>,
    redirects: Mutex<HashMap<MapData, CaptureKey, CaptureRule>>,
    hits: Mutex<PerCpuHashMap<MapData, CaptureKey, Hits>>,
    origins: Mutex<HashMap<MapData, OriginKey, egret_kernel::Origin>>,
    origins_fd: OwnedFd,
    marks: Mutex<SkStorage<MapData, u32>>,
    counters: Mutex<PerCpuArray<MapData, u64>>,
    events: Mutex<Option<RingBuf<MapData>>>,
    /// Cookie of the network namespace of the listeners: all are in one.
    netns: AtomicU64,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").finish_non_exhaustive()
    }
}

impl Maps {
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        fn take<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
            object: &mut Ebpf,
            name: &'static str,
        ) -> Result<M, Error> {
            let map = object.take_map(name).ok_or(Error::Map { map: name, cause: "not in the object".to_owned() })?;
            M::try_from(map).map_err(map_error(name))
        }
        let origins_fd = match object.map(map::ORIGINS) {
            Some(aya::maps::Map::HashMap(origins)) => origins.fd().as_fd().try_clone_to_owned(),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Self {
            origins_fd: origins_fd.map_err(|error| Error::Map { map: map::ORIGINS, cause: error.to_string() })?,
            settings: Mutex::new(take(object, map::SETTINGS)?),
            heartbeat: Mutex::new(take(object, map::HEARTBEAT)?),
            redirects: Mutex::new(take(object, map::REDIRECTS)?),
            hits: Mutex::new(take(object, map::HITS)?),
            origins: Mutex::new(take(object, map::ORIGINS)?),
            marks: Mutex::new(take(object, map::MARKS)?),
            counters: Mutex::new(take(object, map::COUNTERS)?),
            events: Mutex::new(Some(take(object, map::EVENTS)?)),
            netns: AtomicU64::new(0),
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

    pub(super) fn settle(&self, stale_after: Duration) -> Result<(), Error> {
        self.change_settings(|settings| {
            settings.abi_version = ABI_VERSION;
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
        self.netns.store(netns, Ordering::Relaxed);
        let port_v4 = local_port(v4).map_err(failed)?;
        let port_v6 = v6.map(local_port).transpose().map_err(failed)?.unwrap_or(0);
        for socket in [Some(v4), v6].into_iter().flatten() {
            lock(&self.marks).insert(&socket, MARK_LISTENER, 0).map_err(map_error(map::MARKS))?;
        }
        self.change_settings(|settings| {
            settings.netns = netns;
            settings.listener_v4 = Port::from(port_v4);
            settings.listener_v6 = Port::from(port_v6);
        })
    }

    pub(super) fn beat(&self) -> Result<(), Error> {
        let now = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        lock(&self.heartbeat).set(0, now, 0).map_err(map_error(map::HEARTBEAT))
    }

    pub(super) fn exempt(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        lock(&self.marks).insert(&socket, MARK_EXEMPT, 0).map_err(io::Error::other)
    }

    pub(super) fn counter(&self, reason: KernelReason) -> u64 {
        lock(&self.counters).get(&(reason as u32), 0).map_or(0, |values| values.iter().sum())
    }

    pub(super) fn publish(&self, redirects: &[Redirect]) -> Result<(), Error> {
        if redirects.len() > MAX_REDIRECTS as usize {
            return Err(Error::TooManyRedirects { wanted: redirects.len() });
        }
        let wanted: Table<CaptureKey, CaptureRule> = redirects.iter().map(row).collect();
        let mut rules = lock(&self.redirects);
        let mut hits = lock(&self.hits);
        let there = rules.iter().collect::<Result<Table<_, _>, _>>().map_err(map_error(map::REDIRECTS))?;
        for (key, rule) in &wanted {
            if !there.contains_key(key) {
                hits.insert(key, none_yet()?, 0).map_err(map_error(map::HITS))?;
            }
            if there.get(key) != Some(rule) {
                rules.insert(key, rule, 0).map_err(map_error(map::REDIRECTS))?;
            }
        }
        for (key, _) in there.iter().filter(|(key, rule)| !wanted.contains_key(key) && rule.api != proof::API.0) {
            rules.remove(key).map_err(map_error(map::REDIRECTS))?;
            // The count of a rule that is gone; a reader may have lost the race to it already.
            let _ = hits.remove(key);
        }
        Ok(())
    }

    pub(super) fn redirects(&self) -> Result<Vec<(Redirect, HookCounters)>, Error> {
        let rules = lock(&self.redirects);
        let hits = lock(&self.hits);
        rules
            .iter()
            .filter(|row| !row.as_ref().is_ok_and(|(_, rule)| rule.api == proof::API.0))
            .map(|row| {
                let (key, rule) = row.map_err(map_error(map::REDIRECTS))?;
                let counters = hits.get(&key, 0).map_or_else(|_| HookCounters::default(), |values| total(&values));
                Ok((redirect(&key, &rule), counters))
            })
            .collect()
    }

    pub(super) fn origin(&self, peer: SocketAddr) -> Option<Origin> {
        let key = OriginKey {
            netns: self.netns.load(Ordering::Relaxed),
            address: Address::from(peer.ip()),
            port: Port::from(peer.port()),
            pad: [0; 6],
        };
        // Only this accept may have it: a second connection from the same port must not inherit it.
        let record: egret_kernel::Origin = bpf::take(self.origins_fd.as_fd(), &key).ok()?;
        Some(self::origin(&record))
    }

    /// The decisions that the hooks tell of; for one reader.
    pub(super) fn decisions(&self) -> io::Result<Decisions> {
        let ring = lock(&self.events).take().ok_or(io::ErrorKind::AlreadyExists)?;
        Decisions::new(ring)
    }

    pub(super) fn origins_used(&self) -> usize {
        lock(&self.origins).keys().count()
    }

    pub(super) fn sweep(&self, older_than: Duration) -> usize {
        let Some(limit) = monotonic().checked_sub(older_than) else { return 0 };
        let mut origins = lock(&self.origins);
        let old: Vec<_> = origins
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, origin)| Duration::from_nanos(origin.time) < limit)
            .map(|(key, _)| key)
            .collect();
        old.iter().filter(|key| origins.remove(key).is_ok()).count()
    }

    /// One rule for the proof of the hooks, beside the published table.
    pub(super) fn insert_rule(&self, redirect: &Redirect) -> Result<(), Error> {
        let (key, rule) = row(redirect);
        lock(&self.redirects).insert(key, rule, 0).map_err(map_error(map::REDIRECTS))
    }

    /// Removes the proof's rule.
    pub(super) fn remove_rule(&self, redirect: &Redirect) -> Result<(), Error> {
        lock(&self.redirects).remove(&row(redirect).0).map_err(map_error(map::REDIRECTS))
    }
}

pub(super) fn origin(record: &egret_kernel::Origin) -> Origin {
    Origin {
        original_dst: OriginalDst(SocketAddr::new(record.address.into(), record.port.into())),
        cgroup: record.cgroup,
        pid: record.pid,
        uid: record.uid,
        command: String::from_utf8_lossy(&record.command).trim_end_matches('\0').to_owned(),
        time: Duration::from_nanos(record.time),
        generation: Generation(record.generation),
        api: ApiId(record.api),
    }
}

fn row(redirect: &Redirect) -> (CaptureKey, CaptureRule) {
    let key = CaptureKey {
        address: Address::from(redirect.destination.ip()),
        port: Port::from(redirect.destination.port()),
        protocol: TCP,
        pad: 0,
    };
    let (action, source) = match redirect.action {
        Action::Bind(source) => (ACTION_BIND, Address::from(source)),
        Action::Deny => (ACTION_DENY, Address::default()),
        Action::Redirect => (ACTION_REDIRECT, Address::default()),
    };
    let fail = match redirect.fail {
        FailMode::Closed => FAIL_CLOSED,
        FailMode::Open => FAIL_OPEN,
    };
    let rule =
        CaptureRule { generation: redirect.generation.0, api: redirect.api.0, action, fail, pad: [0; 2], source };
    (key, rule)
}

fn redirect(key: &CaptureKey, rule: &CaptureRule) -> Redirect {
    Redirect {
        destination: SocketAddr::new(IpAddr::from(key.address), key.port.into()),
        action: match rule.action {
            ACTION_BIND => Action::Bind(rule.source.into()),
            ACTION_DENY => Action::Deny,
            _ => Action::Redirect,
        },
        fail: if rule.fail == FAIL_OPEN { FailMode::Open } else { FailMode::Closed },
        api: ApiId(rule.api),
        generation: Generation(rule.generation),
    }
}

fn none_yet() -> Result<PerCpuValues<Hits>, Error> {
    let failed = |cause: String| Error::Map { map: map::HITS, cause };
    let cpus = nr_cpus().map_err(|(path, error)| failed(format!("{path}: {error}")))?;
    PerCpuValues::try_from(vec![Hits::default(); cpus]).map_err(|error| failed(error.to_string()))
}

fn total(values: &PerCpuValues<Hits>) -> HookCounters {
    HookCounters {
        hits: values.iter().map(|hits| hits.count).sum(),
        last: values.iter().map(|hits| hits.last).max().filter(|last| *last > 0).map(age),
    }
}

fn lock<M>(map: &Mutex<M>) -> MutexGuard<'_, M> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long ago a moment of the hooks was.
pub(super) fn age(nanoseconds: u64) -> Duration {
    monotonic().saturating_sub(Duration::from_nanos(nanoseconds))
}

/// CLOCK_MONOTONIC, the hooks' clock (`bpf_ktime_get_ns`).
fn monotonic() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// `SO_NETNS_COOKIE` (socket(7), Linux 5.14).
fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut size = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option writes at most `size` bytes into `cookie`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

fn local_port(socket: BorrowedFd<'_>) -> io::Result<u16> {
    let address = socket2::SockRef::from(&socket).local_addr()?;
    address.as_socket().map(|address| address.port()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
