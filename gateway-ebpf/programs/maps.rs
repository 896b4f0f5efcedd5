//! The maps. Their names are the ABI's (`egret_kernel::map`).

use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use egret_kernel::{
    CaptureKey, CaptureRule, EVENT_BYTES, Hits, KernelReason, MAX_ORIGINS, MAX_REDIRECTS, Origin, OriginKey, Settings,
};

/// `BPF_F_NO_PREALLOC`: the table costs memory for what is in it, not for what might be.
const NO_PREALLOC: u32 = 1;

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

#[map]
pub static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub static REDIRECTS: HashMap<CaptureKey, CaptureRule> = HashMap::with_max_entries(MAX_REDIRECTS, NO_PREALLOC);

#[map]
pub static HITS: PerCpuHashMap<CaptureKey, Hits> = PerCpuHashMap::with_max_entries(MAX_REDIRECTS, NO_PREALLOC);

#[map]
pub static ORIGINS: HashMap<OriginKey, Origin> = HashMap::with_max_entries(MAX_ORIGINS, NO_PREALLOC);

#[btf_map]
pub static CAPTURED: SkStorage<Origin> = SkStorage::new();

#[btf_map]
pub static MARKS: SkStorage<u32> = SkStorage::new();

#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(KernelReason::ALL.len() as u32, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_BYTES, 0);

/// Set by the loader: whether this kernel lets the hooks choose the error (`bpf_set_retval`, Linux 6.0).
#[unsafe(no_mangle)]
static CAN_SET_RETVAL: u8 = 0;

/// See [`CAN_SET_RETVAL`]; the verifier prunes the branch that cannot run.
#[inline(always)]
pub fn can_set_retval() -> bool {
    // SAFETY: a read of initialised memory; volatile because the loader rewrites it behind the compiler's back.
    unsafe { core::ptr::read_volatile(&raw const CAN_SET_RETVAL) != 0 }
}
