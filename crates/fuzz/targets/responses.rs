#![no_main]

use fuzz::target::RESPONSES;

libfuzzer_sys::fuzz_target!(init: RESPONSES.begin(), |input: &[u8]| RESPONSES.take(input));
