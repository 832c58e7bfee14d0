//! Descriptors of the process, which its tests share.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, PoisonError};

/// What a process has open beside what its tests claim: output, polls, a few sockets for each of the
/// other tests.
const OTHERS: usize = 100;

/// How many are claimed.
static CLAIMED: Mutex<usize> = Mutex::new(0);
static RELEASED: Condvar = Condvar::new();

/// The descriptors that a test may open, until this is dropped.
pub struct Claim {
    count: usize,
}

impl Claim {
    /// How many there are: as many as wanted, or less.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        *CLAIMED.lock().unwrap_or_else(PoisonError::into_inner) -= self.count;
        RELEASED.notify_all();
    }
}

/// Claims `wanted` descriptors, or fewer if the limit is too low, which is printed. The soft limit
/// is raised to the hard one before. Waits until other tests have released enough.
pub fn claim(wanted: usize) -> Claim {
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = raised_limit();
    let most = limit.saturating_sub(OTHERS);
    let count = wanted.min(most);
    if count < wanted {
        // (Not by a macro, whose output the test harness keeps for itself.)
        let _ =
            writeln!(io::stderr(), "{count} descriptors instead of {wanted}: the limit is {limit}");
    }
    while *claimed > most - count {
        claimed = RELEASED.wait(claimed).unwrap_or_else(PoisonError::into_inner);
    }
    *claimed += count;
    Claim { count }
}

/// How many descriptors the process has open.
///
/// # Panics
///
/// If the system does not list them.
#[cfg(target_os = "linux")]
pub fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("the list of descriptors").count()
}

/// Raises the soft limit to the hard one, or as far as the system permits, and returns it.
#[cfg(unix)]
fn raised_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// Where the hard limit is infinite, the soft one may still not exceed this (macOS).
    const OPEN_MAX: u64 = 10_240;

    let before = getrlimit(Resource::Nofile);
    let set = |current| setrlimit(Resource::Nofile, Rlimit { current, ..before });
    // If neither is permitted, the limit stays what it was.
    let _ = set(before.maximum).or_else(|_| set(Some(OPEN_MAX)));
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
const fn raised_limit() -> usize {
    usize::MAX
}
