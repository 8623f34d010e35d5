//! Shell of the fuzz target `block_index`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::block::index(data));
