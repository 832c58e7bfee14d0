#![no_main]
//! The fuzz target of heads and framing; a target of the crate `fuzz`.

#[allow(dead_code, reason = "only a part of the proxy is here")]
mod framing;
#[allow(dead_code, reason = "only a part of the proxy is here")]
mod heads;
mod story;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| story::run(bytes));
