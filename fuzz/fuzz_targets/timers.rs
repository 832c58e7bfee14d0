#![no_main]
#![allow(dead_code, reason = "each target tells one kind of stories")]

#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|story: &[u8]| fuzz::timers::run(story));
