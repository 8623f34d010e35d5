//! Shell of the fuzz target `promql`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::promql::query(data));
