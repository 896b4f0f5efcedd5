//! The shares in the table of origins: counted when a record is written, counted back when it goes.

use core::arch::asm;

use egret_kernel::{EVERYBODY, MAX_ORIGINS, ORIGIN_SHARES, Owners};

use crate::maps::OWNERS;

/// `BPF_NOEXIST`.
const IF_ABSENT: u64 = 1;

/// Whether all cgroups of the caller may have one more connection on its way to the listener.
#[inline(always)]
pub fn have_room(owners: &Owners) -> bool {
    if used(EVERYBODY) >= i64::from(MAX_ORIGINS) {
        return false;
    }
    let mut room = true;
    for (owner, share) in owners.iter().zip(ORIGIN_SHARES) {
        room &= *owner == 0 || used(*owner) < i64::from(share);
    }
    room
}

/// Counts one more.
#[inline(always)]
pub fn count(owners: &Owners) {
    one_more(EVERYBODY);
    for owner in owners {
        if *owner != 0 {
            one_more(*owner);
        }
    }
}

/// Counts one less.
#[inline(always)]
pub fn release(owners: &Owners) {
    one_less(EVERYBODY);
    for owner in owners {
        if *owner != 0 {
            one_less(*owner);
        }
    }
}

/// Signed: a race between two processors at zero can only count too little.
#[inline(always)]
fn used(owner: u64) -> i64 {
    // SAFETY: a number, read at once.
    unsafe { OWNERS.get(owner) }.map_or(0, |count| *count as i64)
}

#[inline(always)]
fn one_more(owner: u64) {
    if let Some(count) = OWNERS.get_ptr_mut(owner) {
        add(count, 1);
    } else if OWNERS.insert(owner, 1, IF_ABSENT).is_err()
        && let Some(count) = OWNERS.get_ptr_mut(owner)
    {
        add(count, 1);
    }
}

#[inline(always)]
fn one_less(owner: u64) {
    let Some(count) = OWNERS.get_ptr_mut(owner) else { return };
    add(count, -1);
    // SAFETY: a number, read at once.
    if owner != EVERYBODY && unsafe { core::ptr::read_volatile(count) } as i64 <= 0 {
        let _ = OWNERS.remove(owner);
    }
}

/// Adds in one atomic step. (`core` has no such operation for this target.)
#[inline(always)]
pub fn add(count: *mut u64, amount: i64) {
    // SAFETY: the pointer is that of a map's value, eight bytes and aligned; nothing else is touched.
    unsafe { asm!("lock *(u64 *)({count} + 0) += {amount}", count = in(reg) count, amount = in(reg) amount) };
}
