//! Shell of the fuzz target `block_pages`; what it does is in `fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::block::pages(data));
