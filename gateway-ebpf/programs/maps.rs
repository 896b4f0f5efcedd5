//! The maps. Their names are the ABI's (`egret_kernel::map`).

use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use egret_kernel::{
    ARRIVAL_BYTES, CaptureKey, CaptureRule, Captured, CgroupClass, DnsClient, DnsSender, DnsSettings, EVENT_BYTES,
    EVENTS_LOST, Exception, Heard, Hits, MAX_CLASSES, MAX_DNS_DIRECT, MAX_EXCEPTIONS, MAX_NAMESPACES, MAX_ORIGINS,
    MAX_REDIRECTS, MAX_SCOPED, MAX_TOLD, MAX_UNLISTED_TOLD, Namespace, Origin, OriginKey, Passed, RowKey, Settings,
    Told, ToldKey, UnlistedKey, UnlistedSettings,
};

/// `BPF_F_NO_PREALLOC`: the table costs memory for the entries it has, not for those it may have.
const NO_PREALLOC: u32 = 1;

/// More than the limits permit: two processors may check the limits at the same time.
const ORIGINS_SIZE: u32 = MAX_ORIGINS + 4_096;

/// Twice the limit: rows are written before those that they replace are removed.
const SCOPED_SIZE: u32 = 2 * MAX_SCOPED;

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

#[map]
pub static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub static REDIRECTS: HashMap<CaptureKey, CaptureRule> = HashMap::with_max_entries(MAX_REDIRECTS, NO_PREALLOC);

#[map]
pub static SCOPED: HashMap<RowKey, CaptureRule> = HashMap::with_max_entries(SCOPED_SIZE, NO_PREALLOC);

#[map]
pub static HITS: PerCpuHashMap<RowKey, Hits> =
    PerCpuHashMap::with_max_entries(MAX_REDIRECTS + SCOPED_SIZE, NO_PREALLOC);

#[map]
pub static ORIGINS: HashMap<OriginKey, Captured> = HashMap::with_max_entries(ORIGINS_SIZE, NO_PREALLOC);

#[map]
pub static OWNERS: HashMap<u64, u64> = HashMap::with_max_entries(2 * ORIGINS_SIZE, NO_PREALLOC);

#[btf_map]
pub static CAPTURED: SkStorage<Captured> = SkStorage::new();

#[btf_map]
pub static ACCEPTED: SkStorage<Origin> = SkStorage::new();

#[btf_map]
pub static MARKS: SkStorage<u32> = SkStorage::new();

#[btf_map]
pub static PASSED: SkStorage<Passed> = SkStorage::new();

#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(EVENTS_LOST + 1, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_BYTES, 0);

#[map]
pub static TOLD: HashMap<ToldKey, Told> = HashMap::with_max_entries(MAX_TOLD, NO_PREALLOC);

#[map]
pub static UNLISTED: Array<UnlistedSettings> = Array::with_max_entries(1, 0);

#[map]
pub static CLASSES: HashMap<u64, CgroupClass> = HashMap::with_max_entries(MAX_CLASSES, NO_PREALLOC);

#[map]
pub static EXCEPTIONS: LpmTrie<Exception, u32> = LpmTrie::with_max_entries(MAX_EXCEPTIONS, NO_PREALLOC);

#[map]
pub static UNLISTED_TOLD: HashMap<UnlistedKey, Told> = HashMap::with_max_entries(MAX_UNLISTED_TOLD, NO_PREALLOC);

#[btf_map]
pub static HEARD: SkStorage<Heard> = SkStorage::new();

#[map]
/// Rows that have not been used for longest make room: callers can make namespaces without number. Where Egret listens, a row that was
/// lost comes back with the next caller.
pub static NAMESPACES: LruHashMap<u64, Namespace> = LruHashMap::with_max_entries(MAX_NAMESPACES, 0);

#[map]
pub static ARRIVALS: RingBuf = RingBuf::with_byte_size(ARRIVAL_BYTES, 0);

#[map]
pub static DNS: Array<DnsSettings> = Array::with_max_entries(1, 0);

#[map]
pub static DNS_HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

#[btf_map]
pub static DNS_CLIENTS: SkStorage<DnsClient> = SkStorage::new();

#[btf_map]
pub static DNS_SENDERS: SkStorage<DnsSender> = SkStorage::new();

#[map]
pub static DNS_DIRECT: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_DNS_DIRECT, 0);

/// Set by the loader: whether this kernel lets the hooks choose the error (`bpf_set_retval`, Linux 6.0).
#[unsafe(no_mangle)]
static CAN_SET_RETVAL: u8 = 0;

/// Set by the loader: whether this kernel finds the MPTCP socket of a TCP one (`bpf_skc_to_mptcp_sock`, Linux 5.19).
#[unsafe(no_mangle)]
static CAN_FIND_MPTCP: u8 = 0;

/// Set by the loader: the ticks of the kernel's clock (`HZ`) between two SYNs of a connection that waits for its listener; zero if this
/// kernel has no TCP MD5 signatures, without which none can wait.
#[unsafe(no_mangle)]
static HOLD_TICKS: u32 = 0;

/// Returns [`HOLD_TICKS`].
#[inline(always)]
pub fn hold_ticks() -> u32 {
    // SAFETY: as in `can_set_retval`.
    unsafe { core::ptr::read_volatile(&raw const HOLD_TICKS) }
}

/// Whether a connection can wait for its listener.
#[inline(always)]
pub fn can_hold() -> bool {
    hold_ticks() != 0
}

/// Set by the loader: where this kernel's sockets keep the device of IP_UNICAST_IF (`inet_sock.uc_index`), in bytes; zero if it is
/// not known.
#[unsafe(no_mangle)]
static UNICAST_IF: u32 = 0;

/// Set by the loader: where they keep the pointer to what they have of IPv6 (`inet_sock.pinet6`); zero if it is not known.
#[unsafe(no_mangle)]
static SOCKET_V6: u32 = 0;

/// Set by the loader: where that keeps the device of IPV6_UNICAST_IF (`ipv6_pinfo.ucast_oif`); zero if it is not known.
#[unsafe(no_mangle)]
static UNICAST_IF_V6: u32 = 0;

/// Returns [`UNICAST_IF`], [`SOCKET_V6`] and [`UNICAST_IF_V6`].
#[inline(always)]
pub fn unicast_offsets() -> (u32, u32, u32) {
    // SAFETY: as below.
    unsafe {
        (
            core::ptr::read_volatile(&raw const UNICAST_IF),
            core::ptr::read_volatile(&raw const SOCKET_V6),
            core::ptr::read_volatile(&raw const UNICAST_IF_V6),
        )
    }
}

/// Returns [`CAN_SET_RETVAL`]; the verifier prunes the branch that cannot run.
#[inline(always)]
pub fn can_set_retval() -> bool {
    // SAFETY: a read of initialised memory; volatile because the loader rewrites it behind the compiler's back.
    unsafe { core::ptr::read_volatile(&raw const CAN_SET_RETVAL) != 0 }
}

/// Returns [`CAN_FIND_MPTCP`], likewise.
#[inline(always)]
pub fn can_find_mptcp() -> bool {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const CAN_FIND_MPTCP) != 0 }
}
