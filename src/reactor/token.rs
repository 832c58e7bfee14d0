//! Tokens of registrations: slot and generation (rule M2).

use core::sync::atomic::{AtomicU32, Ordering};

use mio::Token;

use crate::arena::ArenaKey;

/// A generation that no token had among the last 2<sup>32</sup> of reactors that share a poll.
pub(super) fn unused_generation() -> u32 {
    static USED: AtomicU32 = AtomicU32::new(0);
    // The last is that of slots that are used up.
    USED.fetch_add(1, Ordering::Relaxed) % u32::MAX
}

/// Set in the tokens of registrations; a slot has 31 bits.
const OURS: usize = 1 << 63;

/// The token of a registration.
pub(super) const fn token(key: ArenaKey) -> Token {
    Token(OURS | (key.slot as usize) << 32 | key.generation as usize)
}

/// The registration that a token names, if it is that of one.
pub(super) const fn key(Token(token): Token) -> Option<ArenaKey> {
    if token & OURS == 0 {
        return None;
    }
    Some(ArenaKey { slot: ((token & !OURS) >> 32) as u32, generation: token as u32 })
}

/// The slot and its generation that a token names, if it is that of a registration.
#[cfg(feature = "testing")]
pub(crate) fn slot(token: Token) -> Option<(u32, u32)> {
    key(token).map(|key| (key.slot, key.generation))
}
