#![no_main]

use fuzz::target::FILES;

libfuzzer_sys::fuzz_target!(init: FILES.begin(), |input: &[u8]| FILES.take(input));
