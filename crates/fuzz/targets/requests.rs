#![no_main]

use fuzz::target::REQUESTS;

libfuzzer_sys::fuzz_target!(init: REQUESTS.begin(), |input: &[u8]| REQUESTS.take(input));
