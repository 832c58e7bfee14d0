//! The serial that distinguishes the ids of one queue from those of all others.
//!
//! No two queues of a process ever have the same, on whichever threads, cores or levels of interrupts they
//! are made.

use core::num::NonZeroU64;

/// A serial that no other queue has had.
///
/// # Panics
///
/// If there is none left: after 2^64 queues, or 2^32 where atomics have no 64 bits.
#[cfg(target_has_atomic = "ptr")]
pub(super) fn next_serial() -> NonZeroU64 {
    #[cfg(not(target_has_atomic = "64"))]
    use core::sync::atomic::AtomicU32 as AtomicSerial;
    #[cfg(target_has_atomic = "64")]
    use core::sync::atomic::AtomicU64 as AtomicSerial;
    use core::sync::atomic::Ordering::Relaxed;

    static LAST: AtomicSerial = AtomicSerial::new(0);
    let last = LAST.fetch_update(Relaxed, Relaxed, |last| last.checked_add(1));
    let last = last.expect("queue not made: the process has used up all 2^64 serials");
    #[expect(clippy::useless_conversion, reason = "it may have 32 bits")]
    NonZeroU64::MIN.saturating_add(last.into())
}

/// Without atomics that can count: the address of a byte which is never freed.
#[cfg(not(target_has_atomic = "ptr"))]
pub(super) fn next_serial() -> NonZeroU64 {
    let byte: &'static u8 = alloc::boxed::Box::leak(alloc::boxed::Box::new(0));
    NonZeroU64::MIN.saturating_add(core::ptr::from_ref(byte).addr() as u64)
}
