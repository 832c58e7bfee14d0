#![no_main]

libfuzzer_sys::fuzz_target!(|story: &[u8]| support::worlds::SIMULATION.bytes(story));
