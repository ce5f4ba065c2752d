#![no_main]

use fuzz::target::BATCHES;

libfuzzer_sys::fuzz_target!(init: BATCHES.begin(), |input: &[u8]| BATCHES.take(input));
