#![no_main]

use fuzz::target::ENTRIES;

libfuzzer_sys::fuzz_target!(init: ENTRIES.begin(), |input: &[u8]| ENTRIES.take(input));
