#![no_main]

use support::fuzz;

libfuzzer_sys::fuzz_target!(|story: &[u8]| fuzz::user_code(story));
