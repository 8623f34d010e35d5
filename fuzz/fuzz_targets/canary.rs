//! Shell of the fuzz target `canary`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::canary(data));
